"""A runtime's surroundings: a robot that logs its calls, policies, rows and messages in memory."""

from __future__ import annotations

import queue
from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np

from robot_client.bundle import Manifest
from robot_client.clock import ManualClock
from robot_client.errors import SpoolFull
from robot_client.messages import ANY_EPISODE, Command, PolicyReport, Verb
from robot_client.ports import Carry
from robot_client.robot import Reading
from robot_client.runtime import Runtime
from robot_client.schema import NO_TAG, Source, Tag, Task
from tests.unit.policies import ACTIONS, OBSERVED, bundle


class Recorder:
    """Keeps rows in memory, at most `quota`."""

    def __init__(self, quota: int = 10**6) -> None:
        self.rows: list[dict[str, np.ndarray]] = []
        self.tags: list[Tag] = []
        self.quota, self.next_episode, self.backlog = quota, 0, 0

    def append(self, episode: int, row: dict[str, np.ndarray], tag: Tag = NO_TAG) -> int:
        if len(self.rows) >= self.quota:
            raise SpoolFull("full")
        self.next_episode = episode + 1
        self.rows.append({"episode": np.asarray(episode), **row})
        self.tags.append(tag)
        return len(self.rows) - 1

    def column(self, name: str) -> list[Any]:
        return [row[name].tolist() for row in self.rows]


class Policies:
    """Hands over what is queued, one per look; None lets a look pass."""

    def __init__(self, *queued: Any) -> None:
        self.queued = deque(queued)

    def take(self) -> Any:
        return self.queued.popleft() if self.queued else None

    def reports(self) -> list[PolicyReport]:
        return []


class Server:
    """A link that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.server_age = 0.0

    def send(self, message: Any) -> None:
        self.sent.append(message)

    def of(self, kind: type) -> list[Any]:
        return [m for m in self.sent if isinstance(m, kind)]


class Arm:
    """A robot that logs what is asked of it; fails or does something else where a test says so."""

    control_hz = 10.0
    blend_steps = 0

    def __init__(self, steps: int | None = 5, **hooks: Any) -> None:
        self.observation_space, self.action_space = OBSERVED, ACTIONS
        self.task = Task("arm", steps)
        self.calls: list[str] = []
        self.applied: list[list[float]] = []
        self.hooks = hooks

    def _call(self, name: str, default: Any = None, *args: Any) -> Any:
        self.calls.append(name)
        hook = self.hooks.get(name)
        return default if hook is None else hook(*args)

    def connect(self) -> None:
        self._call("connect")

    def reset(self, seed: int | None = None) -> None:
        self._call("reset", None, seed)

    def apply(self, action: np.ndarray) -> np.ndarray:
        self.applied.append(action.tolist())
        return self._call("apply", action, action)

    def observe(self) -> Reading:
        return self._call("observe", Reading({"vector": np.ones(3, np.float32)}, 1.0))

    def stop(self) -> None:
        self._call("stop")

    def close(self) -> None:
        self._call("close")


class Chooser:
    """A policy whose action is a function of how often it was asked."""

    source = Source.POLICY

    def __init__(self, choose: Any, version: int = 0, experiment: str = "e1") -> None:
        base = bundle().manifest
        self.manifest: Manifest = replace(base, version=version, experiment=experiment)
        self.choose, self.asked = choose, 0
        self.firsts: list[bool] = []
        self.previous: list[list[float]] = []

    def init(self) -> Carry:
        return Carry({}, np.zeros(2, np.float32))

    def step(self, carry: Carry, obs: Any, is_first: bool, rng: Any, explore: bool) -> Any:
        self.firsts.append(is_first)
        self.previous.append(carry.prev_action.tolist())
        self.asked += 1
        action = np.asarray(self.choose(self.asked), np.float32)
        return action, Carry({}, action), {"asked": np.asarray(self.asked, np.float32)}

    def blank_extras(self) -> dict[str, np.ndarray]:
        return {"asked": np.zeros((), np.float32)}


def steady(_: int) -> list[float]:
    return [0.5, -0.5]


def start(robot: Any, *policies: Any, **options: Any) -> tuple[Runtime, Recorder, Server]:
    recorder, server = options.pop("recorder", None) or Recorder(), Server()
    options = {"idle_s": 0.0, "max_episodes": 1, "silence_s": 60.0, **options}
    clock = options.pop("clock", None) or ManualClock()
    source = Policies(*policies)
    return Runtime(robot, recorder, source, clock, link=server, **options), recorder, server


def commands(*verbs: Verb) -> queue.SimpleQueue[Command]:
    made: queue.SimpleQueue[Command] = queue.SimpleQueue()
    for ident, verb in enumerate(verbs):
        made.put(Command(ident, verb, ANY_EPISODE))
    return made
