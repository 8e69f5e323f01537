import json
import re
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from agents.agent import Sequences
from agents.registry import AGENTS, agent_class
from agents.world.agent import WorldAgent
from benchmarks import acting, cases, learner, machine, planning, plots, run
from benchmarks.agents import build
from server.job import Job
from server.training import make_limiter


def test_a_result_is_kept_with_its_seed_and_machine(tmp_path):
    path = machine.write("speed", {"rows": [{"rate": 2.5}]}, seed=3, folder=tmp_path)
    result = json.loads(path.read_text())
    assert path.name == "speed.json"
    assert result["rows"] == [{"rate": 2.5}]
    assert (result["name"], result["seed"]) == ("speed", 3)


def test_the_machine_says_what_a_reader_needs():
    found = machine.describe()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["memory_gb"] > 0
    assert found["packages"]["numpy"] == np.__version__
    assert re.fullmatch(r"[0-9a-f]{40}\+?", found["commit"] or "0" * 40)
    json.dumps(found, allow_nan=False)


def test_a_table_is_aligned():
    text = machine.table([{"robot": "ball", "rate": 1234.5}, {"robot": "b", "rate": 0.25}])
    assert text.splitlines() == ["robot    rate", " ball  1234.5", "    b    0.25"]


@pytest.mark.parametrize("name", run.BENCHMARKS)
def test_every_benchmark_resolves(name):
    assert callable(import_module(run.BENCHMARKS[name]).measure)


@pytest.mark.parametrize("name", ["robots", "spool", "ingest"])
def test_a_cheap_benchmark_measures_something(name, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    rows = run.run(name, quick=True)["rows"]
    assert rows
    for row in rows:
        numbers = [value for value in row.values() if isinstance(value, int | float)]
        assert numbers
        assert all(np.isfinite(numbers))
    assert all(str(column) in capsys.readouterr().out for column in list(rows[0])[:1])


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_acting_says_what_a_step_costs():
    found = acting.measure(quick=True)
    row = found["rows"][0]
    assert 0 < row["p50_ms"] <= row["p99_ms"]
    assert row["weights_kb"] > 4 * 50  # over 50,000 parameters of four bytes
    (planet,) = found["agents"]
    assert (planet["agent"], planet["acts"]) == ("planet", "cem 200x15x3")
    assert planet["decisions_per_s"] == pytest.approx(1e3 / planet["p50_ms"])


def test_planner_and_actor_are_compared_in_models_of_one_size():
    cores = [build(name, "vectors").world.rssm for name in ("planet", "dreamer-v1")]
    planet, dreamer = ({k: p.shape for k, p in core.named_parameters()} for core in cores)
    for shapes in (planet, dreamer):
        del shapes["posterior_in.weight"]  # also takes what the encoder yields, which is wider
    assert planet == dreamer
    assert planet["prior_out.weight"] == (2 * 30, 200)


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_an_actor_is_compared_with_plans_in_two_models():
    found = planning.measure(quick=True)
    assert [row["plans_in"] for row in found["ratio"]] == ["planet", "dreamer-v1"]
    for row in found["ratio"]:
        assert row["ratio"] == pytest.approx(row["planner_p50_ms"] / row["actor_p50_ms"])
    assert found["rows"][0]["candidates"] == 32
    assert [row["method"] for row in found["deadline"]] == ["shooting", "cem", "mppi", "icem"]
    for row in found["deadline"]:
        drawn = planning.PAPER.candidates * planning.PAPER.iterations
        assert 0 <= row["least_candidates"] <= row["planned_share"] * drawn
        assert 0 < row["p50_ms"] <= row["p99_ms"] <= row["max_ms"]


def test_learner_times_updates():
    case = cases.Case("tiny", "vectors", warmup=0, repeats=1)
    row = learner.time_updates(case)
    assert row["updates_per_s"] == pytest.approx(1 / row["wall_s"])
    assert row["repeats"] == 1
    assert (row["size"], row["batch"], row["device"]) == ("tiny", "16x64", "cpu")


def test_every_case_can_be_built_and_says_what_it_is():
    found = [*cases.sizes(False, True), *cases.agents(False, True)]
    assert len(found) == len({replace(case, warmup=0, repeats=0) for case in found})
    for case in found:
        config = agent_class(case.agent).config_type
        config.model_validate(
            {**(config.presets[case.preset] if case.preset else {}), **case.config}
        )
        assert case.device == "cuda" or not (case.captured or case.precision == "bfloat16")
    of_worlds = {name for name in AGENTS if issubclass(agent_class(name), WorldAgent)}
    assert {case.agent for case in found if case.named} == of_worlds
    assert {case.device for case in cases.sizes(False, False)} == {"cpu"}


def test_figures_of_others_stand_beside_the_same_work_only():
    same = cases.reference(cases.Case("1M", "vectors", threads=2))
    assert (same["peer"], same["peer_wall_s"]) == ("danijar/dreamerv3", 1.00)
    for other in (
        cases.Case("1M", "vectors", threads=2, compiled=True),
        cases.Case("1M", "vectors", threads=2, preset="laptop"),
        cases.Case("1M", "vectors", threads=2, agent="planet"),
        cases.Case("1M", "vectors", threads=2, device="cuda"),
    ):
        assert cases.reference(other)["peer"] is None
    fast = cases.Case(
        "12M", "image", device="cuda", compiled=True, captured=True, precision="bfloat16"
    )
    assert cases.reference(fast)["peer_wall_s"] == 0.022
    assert cases.reference(fast)["target_wall_s"] == 0.030


def test_nothing_holds_the_learner_back_while_it_is_watched(tmp_path):
    learner.describe(tmp_path, "tiny", "image")
    limiter = make_limiter(Sequences(16, 64), Job.read(tmp_path))
    assert limiter.allowed(learner.REPLAY_ROWS) > 100_000


def test_an_unknown_benchmark_is_refused(capsys):
    with pytest.raises(SystemExit):
        run.main(["robot"])
    assert "no benchmark 'robot'; there are: " in capsys.readouterr().err


def test_curves_are_compared_where_all_have_data():
    steps, values = plots.on_one_grid([[(0, 0), (10, 10)], [(2, 4), (6, 4), (8, 0)]])
    assert (steps[0], steps[-1]) == (2, 8)
    assert values[:, 0].tolist() == [2, 4]
    assert values[:, -1].tolist() == [8, 0]


def test_a_learning_curve_is_drawn(tmp_path):
    curves = {"dreamer": [[(0, 0), (10, 1)], [(0, 0), (10, 2)]], "random": [[(0, 0), (10, 0)]]}
    path = plots.learning_curve(
        "curve", curves, title="ball", levels={"spring": 1.5}, folder=tmp_path
    )
    assert path.read_bytes().startswith(b"\x89PNG")
