"""Several robots by turns: one network, every robot's rows, one result per seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_client.errors import SchemaError
from server.lockstep import run
from server.replay.store import ReplayStore
from server.replay.view import ReplayView
from tests.system.harness import TINY

FLEET = ("pointmass", "gym:Pendulum-v1")


def lived(directory: Path, agent: str, robots: tuple[str, ...] = FLEET, **options: Any) -> Any:
    """The summary of a short run, and its records."""
    options = {"steps": 320, "eval_episodes": 1, "device": "cpu"} | options
    summary = run(agent, robots=robots, directory=directory, **options)
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return summary, [json.loads(line) for line in lines]


def test_robots_take_turns_and_their_rows_keep_robot_and_task(tmp_path: Path) -> None:
    summary, records = lived(tmp_path, "random")
    # 50 steps of the point, 200 of the pendulum, 50 of the point, the 20 that are left.
    assert [(r["robot"], r["task"], r["rows"]) for r in records] == [
        ("pointmass", "push-to-centre", 51),
        ("gym:Pendulum-v1", "Pendulum-v1", 252),
        ("pointmass", "push-to-centre", 303),
        ("gym:Pendulum-v1", "Pendulum-v1", 324),
    ]
    assert records[2]["recent"] == (records[0]["reward"] + records[2]["reward"]) / 2
    store = ReplayStore(tmp_path / "replay", readonly=True)
    view = ReplayView(store)
    view.refresh()
    for row, robot in ((0, 0), (51, 1), (251, 1), (252, 0), (303, 1)):
        episode, _ = view.episode_of(row)
        assert episode.stream[0] == FLEET[robot]
        assert episode.task == ("push-to-centre", "Pendulum-v1")[robot]
    actions = view.gather(np.arange(51, 252), ["action"])["action"]
    assert actions[:, 0].any()
    assert actions[:, 1].any()  # a pendulum has one motor, and the model learns that
    store.close()
    assert set(summary["robots"]) == set(FLEET)
    point, pendulum = (summary["robots"][name] for name in FLEET)
    assert (point["task"], pendulum["task"]) == ("push-to-centre", "Pendulum-v1")
    assert point["curve"] == [(r["rows"], r["reward"]) for r in records[::2]]
    assert 0 < point["evaluation_mean"] < 50
    assert pendulum["evaluation_mean"] < -100
    assert len(pendulum["last_rewards"]) == len(pendulum["evaluation"])
    assert all(-17 < reward <= 0 for reward in pendulum["last_rewards"])
    starts = [episode["reward"] for episode in records[::2]]
    assert starts[0] != starts[1]


@pytest.mark.timeout(240)
def test_one_network_learns_from_all_and_a_seed_says_how(tmp_path: Path) -> None:
    learning = {"config": TINY, "min_rows": 100, "train_ratio": 2.0, "eval_episodes": 0}
    first, again, other = (
        lived(tmp_path / name, "dreamer", seed=seed, **learning)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first[0]["updates"] > 20
    assert first[1] == again[1]
    assert first[1] != other[1]
    assert first[1][-1]["loss/observation/obs"] > 0


def test_equal_robots_have_streams_of_their_own(tmp_path: Path) -> None:
    names = ("pointmass", 'pointmass {"dims": 1}', "pointmass")
    summary, records = lived(tmp_path, "random", names, steps=150, eval_episodes=0)
    expected = ["pointmass", 'pointmass {"dims": 1}', "pointmass (2)"]
    assert [record["robot"] for record in records] == list(summary["robots"]) == expected
    assert len({record["reward"] for record in records}) == 3


def test_what_one_robot_gives_has_no_robots(tmp_path: Path) -> None:
    summary, records = lived(tmp_path, "random", ("pointmass",), steps=60)
    assert [set(record) for record in records] == [
        {"rows", "updates", "episode", "reward", "recent"}
    ] * 2
    assert "robots" not in summary
    assert summary["robot"] == "pointmass"
    assert summary["curve"] == [(record["rows"], record["reward"]) for record in records]
    assert len(summary["evaluation"]) == 1


def test_robots_that_have_no_common_spaces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="action_space"):
        lived(tmp_path, "random", ("gym:Pendulum-v1", "gym:CartPole-v1"))
