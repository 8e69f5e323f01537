"""The lockstep runner is deterministic: one seed, one result, to the byte."""

import json
import subprocess
import sys

import pytest

from tests.system.harness import ENVIRONMENT, ROOT, TINY


def metrics(directory, seed):
    """What a short run of the command writes."""
    command = [
        *(sys.executable, "-m", "server.train", "--agent", "dreamer", "--robot", "pointmass"),
        *("--steps", "300", "--min-rows", "100", "--train-ratio", "2", "--eval-episodes", "0"),
        *("--config", json.dumps(TINY), "--device", "cpu"),
        *("--seed", str(seed), "--out", str(directory)),
    ]
    subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    return (directory / "metrics.jsonl").read_bytes()


@pytest.mark.timeout(240)
def test_equal_seeds_give_equal_metrics(tmp_path):
    first, again, other = (
        metrics(tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert json.loads(first.splitlines()[-1])["updates"] > 20
    assert first == again
    assert first != other


def test_the_folder_of_another_run_is_refused(tmp_path):
    (tmp_path / "replay").mkdir()
    command = [sys.executable, "-m", "server.train", "--agent", "random", "--out", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "holds another run: choose an empty folder" in done.stderr
