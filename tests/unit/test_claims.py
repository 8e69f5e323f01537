"""Claims keep every run, count only those of today's settings, and say what is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.claims import __main__ as command
from benchmarks.claims.claim import Claim, Lockstep, Outcome, Script, Verdict, reaches
from benchmarks.claims.kept import Kept
from benchmarks.claims.report import REPORT, page
from benchmarks.claims.results import Runs
from benchmarks.claims.table import CLAIMS, claim


def learns(seed: int) -> Outcome:
    more = {"updates": 5, "cpu_seconds": 2.0 + seed}
    return Outcome(100.0 + seed, [(0, 0.0), (10, 100.0 + seed)], more)


def idles(seed: int) -> Outcome:
    return Outcome(float(seed))


TOY = Claim(
    says="Learning beats idling.",
    source="Nobody 2026",
    figure="twice as good",
    value="return",
    arms={"learner": Script(learns, {"steps": 10}), "idler": Script(idles, {})},
    controls=("idler",),
    judge=reaches("learner", 100, "idler"),
)


def test_what_was_beyond_this_machine_is_not_reproduced_and_says_why(tmp_path: Path) -> None:
    runs = Runs("toy", replace(TOY, beyond="it takes a year"), tmp_path)
    assert runs.verdict() == "not reproduced, because it was not run: it takes a year"
    assert "| [toy](#toy) | not reproduced: not run |" in page({"toy": runs})


def test_a_report_says_what_is_missing_then_the_verdict_with_its_spread(tmp_path: Path) -> None:
    runs = Runs("toy", TOY, tmp_path)
    assert runs.verdict() == "not run: learner, idler"
    for seed in TOY.seeds:
        for arm in TOY.arms:
            assert not runs.has(arm, seed)
            runs.add(arm, seed, TOY.arms[arm].run(seed))
            assert runs.has(arm, seed)
        if seed == 0:
            assert runs.verdict().endswith("(1 of 3 seeds)")
    assert runs.verdict().startswith("reproduced: the worst seed has 100")
    lines = page({"toy": runs})
    assert "| [toy](#toy) | reproduced (3 seeds) |" in lines
    assert "toy.png)" in lines
    assert "learner: 101 (100 to 102, 3 seeds), 3.0 s\n" in lines
    assert "idler (control): 1 (0 to 2, 3 seeds)\n" in lines
    assert "twice as good" in lines
    assert (tmp_path / "toy.png").stat().st_size > 1000
    kept = json.loads((tmp_path / "toy.json").read_text())
    assert len(kept["rows"]) == 6
    assert kept["machine"]["cores"]


def test_runs_of_other_settings_do_not_count(tmp_path: Path) -> None:
    Runs("toy", TOY, tmp_path).add("learner", 0, learns(0))
    assert Runs("toy", TOY, tmp_path).has("learner", 0)
    other = replace(TOY, arms={**TOY.arms, "learner": Script(learns, {"steps": 20})})
    assert not Runs("toy", other, tmp_path).has("learner", 0)


def test_a_claim_that_fails_says_why() -> None:
    verdict = reaches("learner", 100, "idler")({"learner": [120.0, 90.0], "idler": [3.0]})
    assert str(verdict).startswith("not reproduced, because the worst seed has 90")
    assert str(Verdict(True, "x")) == "reproduced: x"


def test_the_command_runs_what_is_not_known_yet(tmp_path: Path, monkeypatch, capsys) -> None:
    made = []

    def count(seed: int) -> Outcome:
        made.append(seed)
        return learns(seed)

    toy = replace(TOY, arms={**TOY.arms, "learner": Script(count, {})})
    monkeypatch.setattr(command, "claim", lambda name: toy)
    monkeypatch.setattr(command, "Runs", lambda name, about: Runs(name, about, tmp_path))
    monkeypatch.setattr(command, "CLAIMS", {"toy": ""})
    command.main(["toy", "--seeds", "0", "1", "--arms", "learner"])
    command.main(["toy", "--seeds", "1", "2"])
    assert made == [0, 1, 2]
    capsys.readouterr()
    monkeypatch.setattr(command, "REPORT", tmp_path / "claims.md")
    command.main(["--report", "toy"])
    assert "## toy" in capsys.readouterr().out
    assert not (tmp_path / "claims.md").exists()
    command.main(["--report"])
    assert (tmp_path / "claims.md").read_text() == capsys.readouterr().out[:-1]
    with pytest.raises(SystemExit):
        command.main(["nonsense"])


def test_the_report_is_of_the_runs_that_are_kept() -> None:
    today = page({name: Runs(name, claim(name)) for name in sorted(CLAIMS)})
    assert REPORT.read_text() == today, "make claims writes it anew"


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_is_whole(name: str) -> None:
    found = claim(name)
    assert set(found.controls) <= set(found.arms)
    assert all(json.dumps(arm.settings) for arm in found.arms.values())
    assert len(found.seeds) >= (3 if found.chance else 1)
    verdict = found.judge({arm: [0.0] for arm in found.arms})
    assert isinstance(verdict.holds, bool)


def test_numbers_that_are_counted_are_shown_in_full(tmp_path: Path) -> None:
    def count(seed: int) -> Outcome:
        return Outcome(4_348_547.0)

    found = replace(TOY, arms={**TOY.arms, "learner": Script(count, {})}, seeds=(0,), chance=False)
    runs = Runs("toy", found, tmp_path)
    for arm in found.arms:
        runs.add(arm, 0, found.arms[arm].run(0))
    lines = page({"toy": runs})
    assert "learner: 4348547 (4348547 to 4348547, 1 seed)\n" in lines
    assert "| [toy](#toy) | reproduced (1 seed) |" in lines


def test_what_another_benchmark_kept_is_found_by_its_fields_and_seed(
    tmp_path: Path, monkeypatch
) -> None:
    rows = [
        {"robot": r, "seed": s, "mean": 10.0 * s, "cpu_seconds": 2.5} for s in (0, 1) for r in "ab"
    ]
    machine.write("learned", {"rows": rows}, folder=tmp_path)
    machine.write("lived", {"rows": [{"tenth": 1, "mean": 3.0}]}, seed=7, folder=tmp_path)
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    assert Kept("learned", "mean", {"robot": "b"}).run(1).value == 10.0
    assert Kept("learned", "mean", {"robot": "b"}).run(1).more["cpu_seconds"] == 2.5
    assert Kept("lived", "mean", {"tenth": 1}).run(7) == Outcome(3.0, more={"file": "lived"})
    for arm in (Kept("learned", "mean", {"robot": "c"}), Kept("lived", "mean", {"tenth": 1})):
        with pytest.raises(LookupError, match="no row"):
            arm.run(0)


def test_an_agent_that_learns_in_lockstep_has_its_number_of_updates() -> None:
    config = {"batch_size": 8, "widths": (8,)}
    arm = Lockstep("sac", "pointmass", 200, 0.5, config, min_rows=100, episodes=1)
    outcome = arm.run(0)
    # One for every other row after the first hundred, and some of those that waited.
    assert 50 <= outcome.more["updates"] <= 50 + 40
    assert len(outcome.curve) == 4
