"""`dreamfleet demo` ends by itself or on Ctrl-C, and leaves nothing behind."""

import json
import signal
import subprocess
import sys

import pytest

from server.replay.store import ReplayStore
from tests.system.harness import ENVIRONMENT, ROOT, Child, alive, descendants, kill, wait_until

DEMO = ("server.cli", "demo", "--robot", "pointmass", "--speed", "max")


@pytest.mark.timeout(240)
def test_it_ends_by_itself_with_a_summary(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", *DEMO, "--rows", "700", "--json", "--data", tmp_path],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["rows"] >= 700
    assert summary["episodes"] >= 1
    assert summary["policy_versions"] >= 1
    assert summary["first_mean_return"] is not None
    assert summary["last_mean_return"] is not None
    assert summary["seconds"] > 0
    (replay,) = tmp_path.glob("experiments/*/replay")
    store = ReplayStore(replay, readonly=True)
    audit = store.verify()
    store.close()
    assert audit.problems == ()
    assert audit.rows >= summary["rows"]
    assert "Watch it learn at http://127.0.0.1:" in done.stderr


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("number", "agent"), [(signal.SIGINT, "dreamer"), (signal.SIGKILL, "random")]
)
def test_it_leaves_no_process_behind(tmp_path, number, agent):
    command = (*DEMO, "--agent", agent, "--data", tmp_path / "data")
    demo = Child(command, tmp_path / "demo.log")
    family = {}

    def at_work():
        assert demo.running, demo.tail()
        family.update(dict.fromkeys(descendants(demo.pid)))
        return "episode    1" in demo.log.read_text()  # a tail has passed it soon

    try:
        wait_until(at_work, demo.tail)
        assert len(family) >= 2  # learner and robot
        code = demo.end(number)
        assert code == (0 if number == signal.SIGINT else -signal.SIGKILL)
        wait_until(lambda: not any(map(alive, family)), demo.tail)
        assert "Traceback" not in demo.tail()
    finally:
        for pid in [demo.pid, *filter(alive, family)]:
            kill(pid)
        demo.process.wait()
