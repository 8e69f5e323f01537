"""A student of a fifteenth of the teacher's parameters earns what the teacher does."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.agent import Acting, Agent
from agents.registry import agent_class
from benchmarks.claims.claim import Claim, Curve, Outcome, Script, Values, Verdict, in_parts
from robot_client.act import Act
from robot_client.clock import FreeRunningClock, SystemClock
from robot_client.ports import Policy
from robot_client.robot import Robot
from robot_client.robots import make_robot
from robot_client.runtime import Runtime
from robot_client.schema import space_to_json
from server.job import Job
from server.lockstep import ONLY, Lockstep, preset
from server.publisher import Publisher
from server.recording import Forget
from server.replay.store import ReplayStore
from server.replay.view import ReplayView
from server.teachers import copy_teacher
from server.teaching import TaughtSampler, Teacher
from server.torch_policy import OnePolicy, TorchGraphs, live_manifest
from server.training import to_tensors

ROBOT, STEPS = "gym:CartPole-v1", 30_000
TEACHER = {"widths": (128, 128), "n_step": 3, "discount": 0.98, "target_every": 100}
TEACHER |= {"random_updates": 5000}
STUDENT, RATE = (28, 28), 3e-3  # its layers, and how fast it learns
UPDATES, EPISODES = 24_000, 20
SHARE, MOST = 0.95, 1 / 15  # of the teacher's return at least, and of its parameters at most
LOSSES = ("kl", "mse", "nll")


@dataclass(frozen=True)
class Taught:
    """A teacher's folder, what it earns, and how many parameters it has."""

    folder: Path
    returns: float
    parameters: int


class School:
    """Trains a teacher for each seed, once for all students of that seed."""

    def __init__(self) -> None:
        self._found: dict[int, Taught] = {}
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def teacher(self, seed: int) -> Taught:
        """A DQN of its usual size, trained in lockstep and exported."""
        if self._scratch is None:  # it goes with the school
            self._scratch = tempfile.TemporaryDirectory()
        if seed not in self._found:
            self._found[seed] = self._train(seed, Path(self._scratch.name) / str(seed))
        return self._found[seed]

    def _train(self, seed: int, folder: Path) -> Taught:
        robot = make_robot(ROBOT)
        lockstep = learned(robot, TEACHER, seed, folder)
        acting, spaces = lockstep.acting(), (robot.observation_space, robot.action_space)
        publisher = Publisher(folder, "teacher", "dqn", acting, *spaces, SystemClock())
        copy_teacher(folder / "0", folder, publisher.publish(lockstep.updates).to_json(), "")
        lockstep.close()
        policy = Teacher(folder / "0", *spaces).policy("")
        return Taught(folder, earned(robot, policy, seed), size(acting))

    def student(self, seed: int, loss: str) -> Outcome:
        """Learn from the teacher's replay; the value is its return as a share of the teacher's."""
        start, taught, robot = time.process_time(), self.teacher(seed), make_robot(ROBOT)
        spaces = (robot.observation_space, robot.action_space)
        store = ReplayStore(taught.folder / "replay", readonly=True)
        view = ReplayView(store)
        view.refresh()
        parts = (view, 64, 1, 0.99, np.random.default_rng(seed))
        sampler = TaughtSampler(*parts, teachers=[Teacher(taught.folder / "0", *spaces)])
        torch.manual_seed(seed)
        cls = agent_class("distill")
        given = {"loss": loss, "widths": STUDENT, "learning_rate": RATE}
        config = cls.config_type.model_validate(given)
        student = cls(*spaces, config, torch.device("cpu"))
        curve = lesson(student, sampler)
        store.close()
        assert size(student.acting()) <= MOST * taught.parameters, "the student is too large"
        more = {"cpu_seconds": round(time.process_time() - start, 1)}
        return compared(robot, student.acting(), taught, seed, curve, more)

    def alone(self, seed: int) -> Outcome:
        """A DQN of the student's size that learns by itself from as many steps."""
        taught, robot = self.teacher(seed), make_robot(ROBOT)
        with tempfile.TemporaryDirectory() as scratch:
            lockstep = learned(robot, {**TEACHER, "widths": STUDENT}, seed, Path(scratch))
            outcome = compared(robot, lockstep.acting(), taught, seed, [], {})
            lockstep.close()
        return outcome


def learned(robot: Robot, config: Mapping[str, Any], seed: int, folder: Path) -> Lockstep:
    """A DQN after all its steps."""
    folder.mkdir(parents=True, exist_ok=True)
    job = Job(
        id="teacher",
        agent="dqn",
        config={**preset("dqn", "laptop"), **config},
        observation_space=space_to_json(robot.observation_space),
        action_space=space_to_json(robot.action_space),
        seed=seed,
        train_ratio=64.0,
        device="cpu",
    )
    lockstep = Lockstep(job, {ONLY: robot}, folder)
    lockstep.train(STEPS)
    return lockstep


def lesson(student: Agent, sampler: TaughtSampler) -> Curve:
    """Updates, and how often the student agrees with its teacher as they are made."""
    curve: Curve = []
    for update in range(UPDATES):
        batch = sampler.sample()
        assert batch is not None, "the teacher has rows"
        agreement = student.train(to_tensors(batch)).metrics["agreement"]
        if update % 200 == 199:
            curve.append((update + 1.0, float(agreement)))
    return curve


def compared(
    robot: Robot, acting: Acting, taught: Taught, seed: int, curve: Curve, more: Mapping[str, Any]
) -> Outcome:
    """What acts, beside the teacher."""
    manifest = live_manifest(acting, "student", "distill")
    graphs = TorchGraphs(acting, torch.device("cpu"))
    returns = earned(robot, Act().policy(manifest, graphs, robot.action_space), seed)
    found = {"returns": returns, "teacher": taught.returns}
    found |= {"parameters": size(acting) / taught.parameters}
    return Outcome(returns / taught.returns, curve, {**found, **more})


def earned(robot: Robot, policy: Policy, seed: int) -> float:
    """The mean return of episodes without exploration."""
    returns: list[float] = []
    Runtime(
        robot,
        Forget(),
        OnePolicy(policy),
        FreeRunningClock(),
        silence_s=3600.0,
        explore=False,
        seed=seed + 100_000,
        max_episodes=EPISODES,
        on_episode=lambda episode: returns.append(episode.total_reward),
    ).run()
    return float(np.mean(returns))


def size(acting: Acting) -> int:
    """Parameters of what acts."""
    return sum(p.numel() for p in acting.graphs["policy"].parameters())


def arms() -> dict[str, Script]:
    """A student of each loss, and one that learns alone; all of a seed have one teacher."""
    school = School()
    about = {"robot": ROBOT, "steps": STEPS, "teacher": TEACHER, "student": STUDENT}

    def arm(loss: str) -> Script:
        def learn_from_the_teacher(seed: int) -> Outcome:
            return school.student(seed, loss)

        told = {"updates": UPDATES, "learning_rate": RATE, "loss": loss}
        return Script(learn_from_the_teacher, {**about, **told})

    def learn_alone(seed: int) -> Outcome:
        return school.alone(seed)

    return {**{loss: arm(loss) for loss in LOSSES}, "alone": Script(learn_alone, about)}


def judge(values: Values) -> Verdict:
    """Every student of a loss must come near its teacher."""
    worst = {name: min(found) for name, found in values.items()}
    why = ", ".join(f"{name} {100 * share:.0f} %" for name, share in worst.items())
    return in_parts(
        {f"by {loss}": worst[loss] >= SHARE for loss in LOSSES},
        f"the worst seed's share of the teacher's return (gate {100 * SHARE:.0f} %): {why}",
    )


CLAIM = Claim(
    says="A student with a fifteenth of the parameters earns at least 95 % of what its teacher"
    " does, by each of the three losses.",
    source="Rusu et al. 2016",
    figure="up to 15 times smaller without loss on Atari games, the KL with sharpening best",
    value="return as a share of the teacher's",
    axes=("updates", "share of actions on which the student agrees with its teacher"),
    arms=arms(),
    controls=("alone",),
    judge=judge,
)
