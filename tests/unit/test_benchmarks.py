import json
import re
from importlib import import_module

import numpy as np
import pytest

from agents.agent import Sequences
from benchmarks import acting, learner, machine, planning, plots, run
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
    row = acting.measure(quick=True)["rows"][0]
    assert 0 < row["p50_ms"] <= row["p99_ms"]
    assert row["weights_kb"] > 4 * 50  # over 50,000 parameters of four bytes


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_planning_has_rows_for_every_method_with_and_without_budget(monkeypatch):
    monkeypatch.setattr(planning, "BUDGET_S", 0.002)
    found = planning.tables({"small": planning.recurrent(8)}, planning.VECTORS, quick=True)
    assert [r["method"] for r in found["rows"]] == ["actor", *planning.METHODS]
    assert [r["method"] for r in found["deadline"]] == [*planning.METHODS]
    assert all(0 < r["planned_share"] < 1 for r in found["deadline"])


def test_learner_times_updates():
    case = learner.Case("tiny", "vectors", warmup=0, repeats=1)
    row = learner.time_updates(case)
    assert row["updates_per_s"] == pytest.approx(1 / row["wall_s"])
    assert row["repeats"] == 1


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
