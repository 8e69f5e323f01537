"""Every registered agent goes the whole way of the service: what a robot of its kind recorded is
learned from, checkpointed and published; a robot's cache builds the new version, the robot acts by
it, and a learner that is started again goes on from where the last one stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.registry import AGENTS
from robot_client.act import Act
from robot_client.bundle import Manifest
from robot_client.clock import FreeRunningClock, SystemClock
from robot_client.policy_cache import PolicyCache
from robot_client.robots import make_robot
from robot_client.runtime import Runtime
from robot_client.schema import space_to_json
from server.job import FILE, Job
from server.learner import Learner
from server.lockstep import run
from server.recording import Forget
from server.replay.sampler import OnPolicyQueue
from server.torch_policy import OnePolicy
from tests.contracts.test_agents import SMALL

ROWS, UPDATES, STEPS = 120, 3, 12
QUICKLY = Act(plan={"candidates": 8, "elites": 2, "iterations": 1, "horizon": 3})
LINE, POLE = 'pointmass {"dims": 1}', "gym:CartPole-v1"
ROBOTS = {
    **dict.fromkeys(("dqn", "dyna", "dyna-q"), POLE),
    "distral": POLE,
    **dict.fromkeys(("her", "tdm"), "tests.unit.points:Points"),
    "world-models": "gym:dreamfleet/PixelCartPole-v0",
    "i2a": 'gym:dreamfleet/Sokoban-v0 {"observe": "planes", "noop": false}',
}


class Line:
    """The learner's line to its parent, which tells it to stop once it has done enough."""

    def __init__(self, updates: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._updates = updates

    def say(self, event: str, **fields: Any) -> None:
        self.events.append({"event": event, **fields})

    def of(self, event: str) -> list[dict[str, Any]]:
        return [found for found in self.events if found["event"] == event]

    def orphaned_s(self, clock: object) -> float:
        return 0.0

    def command(self) -> str | None:
        """Enough: updates, and a version that has learned from some of them."""
        published = self.of("policy")[-1:]
        enough = published and published[0]["updates"] >= self._updates
        return "stop" if enough else None


def learn(folder: Path, updates: int) -> Line:
    line = Line(updates)
    Learner(folder, line, SystemClock()).run()  # type: ignore[arg-type]
    return line


def recorded(folder: Path, name: str, spec: str) -> None:
    """A robot's rows as the agent's first version made them, and the job that is to learn them."""
    run(
        name,
        spec,
        steps=ROWS,
        config=SMALL[name],
        directory=folder,
        eval_episodes=0,
        act=QUICKLY,
        min_rows=9999,
    )
    robot = make_robot(spec)
    job = Job(
        id="experiment",
        agent=name,
        config=SMALL[name],
        observation_space=space_to_json(robot.observation_space),
        action_space=space_to_json(robot.action_space),
        task=robot.task.to_json(),
        min_rows=64,
        publish_s=0.05,
    )
    (folder / FILE).write_text(job.model_dump_json())


def act_by(manifest: Manifest, blobs: Path, spec: str, folder: Path) -> int:
    """How many steps a robot took by a published version that it fetched."""
    robot = make_robot(spec)
    cache = PolicyCache(folder, robot.observation_space, robot.action_space, QUICKLY)
    for digest, size in cache.offered(manifest):
        data = (blobs / digest).read_bytes()
        assert len(data) == size
        cache.received(digest, data)
    cache.complete(manifest)
    cache.build_newest()
    policy = cache.take()
    assert policy is not None, cache.reports()
    runtime = Runtime(
        robot, Forget(), OnePolicy(policy), FreeRunningClock(), silence_s=3600.0, max_steps=STEPS
    )
    return runtime.run().steps


# One learns nothing, and one takes a teacher's policy: `test_distill` gives it one.
@pytest.mark.parametrize("name", sorted(set(AGENTS) - {"random", "distill"}))
def test_an_agent_goes_the_whole_way_of_the_service(name: str, tmp_path: Path) -> None:
    spec, folder = ROBOTS.get(name, LINE), tmp_path / "experiment"
    recorded(folder, name, spec)
    line = learn(folder, UPDATES)
    versions = [Manifest.from_json(found["manifest"]) for found in line.of("policy")]
    assert versions[0].version < versions[-1].version
    assert versions[0].weights != versions[-1].weights
    assert act_by(versions[-1], folder / "blobs", spec, tmp_path / "cache") == STEPS
    learned = line.of("checkpoint")[-1]["updates"]
    assert learned >= UPDATES
    again = Learner(folder, line, SystemClock())  # type: ignore[arg-type]
    assert again.updates == learned
    if isinstance(again._sampler, OnPolicyQueue):  # by which it tells what is too old
        assert again._sampler.version == versions[-1].version
