"""The robots that have ever said hello: what they declared, where they belong, when last heard."""

from __future__ import annotations

import asyncio

from robot_client.clock import Clock
from robot_client.messages import Hello
from robot_client.schema import NO_POLICY, Json
from server.errors import NotFound
from server.storage import Robot, Storage, Writer
from server.storage.storage import AWAY

_SEEN_S = 10.0  # how often the database hears that a robot is alive


class Roster:
    """Robots by name.

    Args:
        storage, writer: the database.
        clock: tells the time.
    """

    def __init__(self, storage: Storage, writer: Writer, clock: Clock) -> None:
        self._storage, self._writer, self._clock = storage, writer, clock
        self._robots: dict[str, Robot] = {}
        self._saved: dict[str, float] = {}

    async def load(self) -> None:
        """Read what is stored."""
        self._robots = {r.name: r for r in await asyncio.to_thread(self._storage.robots)}

    def all(self) -> list[Robot]:
        """Every robot, by name."""
        return [self._robots[name] for name in sorted(self._robots)]

    def get(self, robot: str) -> Robot:
        """Raises NotFound."""
        if robot not in self._robots:
            raise NotFound(f"no robot {robot!r}")
        return self._robots[robot]

    def assigned(self, robot: str) -> str | None:
        """The only experiment that a robot may join, if there is one."""
        known = self._robots.get(robot)
        return known.assigned if known else None

    def task(self, experiment: str) -> Json:
        """What the robots of an experiment are to do; of several, the first by name has the say.
        Empty when it has none yet."""
        joined = (r for _, r in sorted(self._robots.items()) if r.experiment == experiment)
        return next((robot.task for robot in joined), {})

    def presence(self, robot: str) -> str:
        """Whether it is there; `server.attendance.Presence`."""
        known = self._robots.get(robot)
        return known.presence if known else "left"

    def mark(self, robot: str, presence: str) -> None:
        """Write down whether a robot is there."""
        known = self._robots.get(robot)
        if known is not None and known.presence != presence:
            known.presence = presence
            self._writer.put(known)

    def met(self, hello: Hello, robot: str, observation: Json, action: Json) -> None:
        """A robot has said hello and joins nothing. One that is known stays as it was."""
        if robot not in self._robots:
            self.greet(hello, robot, observation, action, None)
        self.heard(robot)

    def greet(
        self, hello: Hello, robot: str, observation: Json, action: Json, joins: str | None
    ) -> None:
        """A robot has said hello, and joins an experiment, or none."""
        now, known = self._clock.wall(), self._robots.get(robot)
        self._saved[robot] = now
        self._put(
            Robot(
                name=robot,
                experiment=joins,
                observation_space=observation,
                action_space=action,
                control_hz=hello.control_hz,
                task=hello.task,
                client=hello.client,
                seen_at=now,
                assigned=self.assigned(robot),
                presence=self.presence(robot),
                policy_version=known.policy_version if known else None,
            )
        )

    def heard(self, robot: str, version: int = NO_POLICY) -> None:
        """A robot is alive, and acts with this version of a policy."""
        known, now = self._robots.get(robot), self._clock.wall()
        if known is None:
            return
        known.seen_at = now
        known.policy_version = known.policy_version if version == NO_POLICY else version
        if now - self._saved.get(robot, 0.0) >= _SEEN_S:
            self._saved[robot] = now
            self._writer.put(known)

    async def assign(self, robot: str, experiment: str | None) -> Robot:
        """Let a robot join this experiment only; None: any that has a place. Raises NotFound."""
        known = self.get(robot)
        known.assigned = experiment
        self._writer.put(known)
        await self._writer.flush()
        return known

    async def remove(self, robot: str) -> None:
        """A robot is no longer known. Raises one of `AWAY` where it cannot be forgotten."""
        known = self._robots.pop(robot)  # first: nothing more is written of it
        try:
            await self._writer.flush()  # else what waits to be written would bring it back
            await asyncio.to_thread(self._storage.remove_robot, robot)
        except AWAY:
            self._robots.setdefault(robot, known)  # it may have said hello meanwhile
            raise

    def forget(self, experiment: str) -> None:
        """The experiment is gone, and no robot belongs to it any more."""
        for robot in self._robots.values():
            robot.experiment = None if robot.experiment == experiment else robot.experiment
            robot.assigned = None if robot.assigned == experiment else robot.assigned

    def _put(self, robot: Robot) -> None:
        self._robots[robot.name] = robot
        self._writer.put(robot)
