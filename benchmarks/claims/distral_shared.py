"""What the tasks share is good at each of them: Distral's shared policy, sent to goals it is not
told.

The control is the shared policy of `distral`'s control, which stays uniform.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.claims.claim import Claim, Outcome, Script, Values, Verdict, blur, mean
from benchmarks.claims.distral import BATCH, EPISODES, MOST_STEPS, ROBOTS
from robot_client.act import Act
from robot_client.clock import FreeRunningClock
from robot_client.robots import make_robot
from robot_client.runtime import Runtime
from robot_client.schema import space_to_json
from server.job import Job
from server.lockstep import Lockstep, preset
from server.recording import Forget
from server.torch_policy import OnePolicy, TorchGraphs, live_manifest

GUESTS = 20  # episodes for each goal of who is not told it


def shares(seed: int, config: Mapping[str, Any]) -> Outcome:
    """Learn all goals by turns; the value is the mean steps of an episode without a task."""
    start = time.process_time()
    robots = {spec: make_robot(spec) for spec in ROBOTS}
    first = robots[ROBOTS[0]]
    job = Job(
        id="shared",
        agent="distral",
        config=dict(config),
        observation_space=space_to_json(first.observation_space),
        action_space=space_to_json(first.action_space),
        seed=seed,
        train_ratio=BATCH / 4,
        min_rows=BATCH,
        max_debt=1000,
        device="cpu",
    )
    with tempfile.TemporaryDirectory() as scratch:
        lockstep = Lockstep(job, robots, Path(scratch))
        try:
            lockstep.train(MOST_STEPS, EPISODES)
            lengths = {spec: mean(guest(lockstep, spec, seed)) for spec in ROBOTS}
        finally:
            lockstep.close()
    more = {"by_goal": lengths, "cpu_seconds": round(time.process_time() - start, 1)}
    return Outcome(mean(list(lengths.values())), more=more)


def guest(lockstep: Lockstep, spec: str, seed: int) -> list[float]:
    """The steps of episodes of a goal whose name nobody has learned: only what is shared acts."""
    robot, acting = make_robot(spec), lockstep.acting()
    manifest = live_manifest(acting, "shared", "distral")
    graphs = TorchGraphs(acting, torch.device("cpu"))
    policy = Act(task="of nobody").policy(manifest, graphs, robot.action_space)
    steps: list[float] = []
    Runtime(
        robot,
        Forget(),
        OnePolicy(policy),
        FreeRunningClock(),
        silence_s=3600.0,  # as in lockstep: nobody waits
        seed=seed + 100_000,
        max_episodes=GUESTS,
        on_episode=lambda episode: steps.append(float(episode.steps)),
    ).run()
    return steps


def arm(**config: Any) -> Script:
    """Distral on tables, as in `distral`."""
    given = {**preset("distral", "table"), "batch_size": BATCH, **config}

    def share_the_rooms(seed: int) -> Outcome:
        return shares(seed, given)

    about = {"robots": ROBOTS, "episodes": EPISODES, "guests": GUESTS, "config": given}
    return Script(share_the_rooms, about)


def judge(values: Values) -> Verdict:
    """By more than seeds differ, what is shared must be quicker than chance."""
    shared, uniform = values["shared"], values["uniform"]
    gain, chance = mean(uniform) - mean(shared), blur(shared, uniform)
    return Verdict(
        gain > chance,
        f"without a word of its goal it arrives after {mean(shared):.0f} steps, at random after"
        f" {mean(uniform):.0f}; by chance they may differ by {chance:.0f}",
    )


CLAIM = Claim(
    says="The shared policy turns out to be good at all tasks.",
    source="Teh et al. 2017; the lecture, Distral",
    figure="none; drawn in the paper are the ways that it takes through the corridor",
    value=f"mean steps of {GUESTS} episodes to each of 8 goals, by the shared policy alone",
    arms={"shared": arm(), "uniform": arm(floor=1.0)},
    controls=("uniform",),
    judge=judge,
)
