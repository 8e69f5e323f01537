"""Which robots are connected, what they declared and how they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.errors import SchemaError
from robot_client.messages import ANY_EPISODE, Command, Heartbeat, Hello, Upload, Verb
from robot_client.names import robot_name
from robot_client.schema import (
    MAX_NAME_BYTES,
    Chunk,
    Field,
    Tag,
    Task,
    check_columns,
    is_name,
    row_fields,
    space_from_json,
)
from server.errors import NotFound

LOST_S = 5.0  # without a message for so long, a robot counts as disconnected


@dataclass
class Session:
    """One robot's connection, from its Hello on.

    Args:
        robot: its name, proven by its key under CURVE.
        peer: routing id of the connection.
        fields: type of every column, as its hello declared the spaces.
        camera: the column that holds its picture, empty without one.
        seen: monotonic time of its last message.
        key: the public key that it came with; None without CURVE.
        rows: rows made durable during this session.
        rejected: refused messages by offending field.
        image: the last picture (H, W, C).
    """

    robot: str
    peer: bytes
    epoch: str
    experiment: str
    fields: Mapping[str, Field]
    camera: str
    seen: float
    key: str | None = None
    rows: int = 0
    heartbeat: Heartbeat | None = None
    rejected: Counter[str] = field(default_factory=Counter)
    image: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class SessionInfo:
    """A session as it looks from outside; `age` is the seconds since its last message.

    `policy_version`, `loop_hz` and `safety` are those of the last heartbeat.
    """

    robot: str
    experiment: str
    epoch: str
    heartbeat: Heartbeat | None
    has_camera: bool
    age: float
    rows: int
    rejected: dict[str, int]

    @property
    def policy_version(self) -> int | None:
        """Version that the robot acts with; None before its first heartbeat."""
        return self.heartbeat.policy_version if self.heartbeat else None

    @property
    def loop_hz(self) -> float | None:
        """Measured rate of its control loop."""
        return self.heartbeat.loop_hz if self.heartbeat else None

    @property
    def safety(self) -> str | None:
        """Rung of the safety ladder."""
        return self.heartbeat.safety if self.heartbeat else None


def declared_fields(hello: Hello) -> dict[str, Field]:
    """The columns that a hello promises. Raises SchemaError naming what is wrong with it."""
    robot_name(hello.robot, "robot")
    if not is_name(hello.epoch):
        raise SchemaError("epoch", f"1 to {MAX_NAME_BYTES} printable bytes", repr(hello.epoch)[:80])
    if not hello.control_hz > 0:
        raise SchemaError("control_hz", "a positive number", hello.control_hz)
    task = Task.from_json(hello.task)
    observation = space_from_json(hello.observation_space, "observation_space")
    action = space_from_json(hello.action_space, "action_space")
    if not isinstance(observation, spaces.Dict):
        raise SchemaError("observation_space", "a Dict", type(observation).__name__)
    if not isinstance(action, spaces.Box | spaces.Discrete):
        raise SchemaError("action_space", "a Box or Discrete", type(action).__name__)
    task.check(observation, action)
    return row_fields(observation, action)


def chunk_of(session: Session, upload: Upload) -> Chunk:
    """The rows of an upload, if they are what the hello promised. Raises SchemaError."""
    if upload.epoch != session.epoch:
        raise SchemaError("epoch", session.epoch, upload.epoch[:80])
    for field_name, value in (("episode", upload.episode), ("first_seq", upload.first_seq)):
        if value < 0:
            raise SchemaError(field_name, "a number from 0 on", value)
    if upload.task and not is_name(upload.task):
        raise SchemaError("task", "a name of a task", repr(upload.task)[:80])
    check_columns(session.fields, upload.columns)
    place = (upload.epoch, upload.episode, upload.first_seq)
    return Chunk(*place, upload.columns, upload.task, Tag.from_json(upload.tag))


def camera_of(fields: Mapping[str, Field]) -> str:
    """The first column that is a picture (H, W, 1 or 3) of uint8; empty without one."""
    for name, kind in fields.items():
        if kind.dtype == "uint8" and len(kind.shape) == 3 and kind.shape[2] in (1, 3):
            return name
    return ""


class Sessions:
    """The table of sessions, by connection and by name.

    A robot has one session. A newer hello of the same name takes its place, and the older
    connection is refused from then on: two machines of one name cannot take turns.

    Whoever has no session any more, or gets none, waits at the door: it may move all the same.
    """

    def __init__(self) -> None:
        self._by_peer: dict[bytes, Session] = {}
        self._by_name: dict[str, Session] = {}
        self._replaced: dict[str, set[str]] = {}  # robot -> its epochs that have been taken over
        self._doors: dict[str, bytes] = {}  # robot -> the connection on which it waits

    def open(self, session: Session) -> None:
        """Register a session, in place of the robot's previous one and the connection's."""
        self.forget(session.peer)
        previous = self._by_name.get(session.robot)
        if previous:
            self.forget(previous.peer)
            if previous.epoch != session.epoch:
                self._replaced.setdefault(session.robot, set()).add(previous.epoch)
        self._replaced.get(session.robot, set()).discard(session.epoch)
        self._doors.pop(session.robot, None)
        self._by_peer[session.peer] = self._by_name[session.robot] = session

    def forget(self, peer: bytes) -> None:
        """The connection has no session any more."""
        session = self._by_peer.pop(peer, None)
        if session and self._by_name.get(session.robot) is session:
            del self._by_name[session.robot]

    def turn_away(self, robot: str, peer: bytes) -> bool:
        """The robot gets no session. Returns whether it has not waited on this connection yet."""
        before = self._doors.get(robot)
        self._doors[robot] = peer
        return before != peer

    def peers_of(self, robot: str) -> list[bytes]:
        """The connections on which the robot may hear an order, which is why it has two at most."""
        session, door = self._by_name.get(robot), self._doors.get(robot)
        found = [session.peer] if session else []
        return found if door is None or door in found else [*found, door]

    def of_peer(self, peer: bytes) -> Session | None:
        """The session of a connection."""
        return self._by_peer.get(peer)

    def of_robot(self, robot: str) -> Session | None:
        """The session of a robot."""
        return self._by_name.get(robot)

    def of_experiment(self, experiment: str) -> list[Session]:
        """The sessions of an experiment."""
        return [s for s in self._by_name.values() if s.experiment == experiment]

    def is_stale(self, robot: str, epoch: str, now: float) -> bool:
        """Whether another machine has taken this robot's place and is still there."""
        rival = self._by_name.get(robot)
        taken = epoch in self._replaced.get(robot, ())
        return taken and rival is not None and now - rival.seen < LOST_S

    def infos(self, now: float) -> list[SessionInfo]:
        """The robots heard of within LOST_S, by name."""
        return [
            SessionInfo(
                robot=name,
                experiment=s.experiment,
                epoch=s.epoch,
                heartbeat=s.heartbeat,
                has_camera=bool(s.camera),
                age=now - s.seen,
                rows=s.rows,
                rejected=dict(s.rejected),
            )
            for name, s in sorted(self._by_name.items())
            if now - s.seen < LOST_S
        ]


@dataclass(frozen=True)
class Order:
    """A command and what became of it: `error` is None until the robot has answered."""

    robot: str
    command: Command
    error: str | None = None


_UNDOES: Mapping[str, str] = {
    "stop": "release",
    "release": "stop",
    "pause": "resume",
    "resume": "pause",
}


HALTS = ("stop", "pause")  # what a robot does for a server that has not welcomed it, too


class Orders:
    """The commands of operators; those that wait, and the newest of KEPT, are remembered.

    One that a later one undoes is never repeated: a robot that comes back must not be released by
    an old command after a newer one has stopped it.

    Args:
        start: the time in seconds, the first command's number: the answer to a command of the
            server that was here before must not be taken for that to one of this server's.
    """

    KEPT = 1000

    def __init__(self, start: float) -> None:
        self._orders: dict[int, Order] = {}
        self._ids = count(int(start))

    def add(self, robot: str, verb: Verb, episode: int = ANY_EPISODE) -> Command:
        """A new command."""
        command = Command(next(self._ids), verb, episode)
        for old in self.pending(robot):
            if old.verb == _UNDOES.get(verb):
                self._orders[old.id] = Order(robot, old, f"undone by command {command.id}")
        self._orders[command.id] = Order(robot, command)
        if len(self._orders) > self.KEPT:  # one that waits for its robot is not let go
            answered = (n for n, order in self._orders.items() if order.error is not None)
            self._orders.pop(next(answered, 0), None)
        return command

    def done(self, robot: str, number: int, error: str) -> None:
        """The robot has answered. What it was never asked is ignored."""
        order = self._orders.get(number)
        if order and order.robot == robot:
            self._orders[number] = Order(robot, order.command, error)

    def pending(self, robot: str) -> list[Command]:
        """Commands that the robot has not answered, oldest first."""
        orders = self._orders.values()
        return [o.command for o in orders if o.robot == robot and o.error is None]

    def halting(self, robot: str) -> list[Command]:
        """Those of `pending` that a robot obeys before it is welcomed."""
        return [command for command in self.pending(robot) if command.verb in HALTS]

    def get(self, number: int) -> Order:
        """What became of a command. Raises NotFound."""
        if number not in self._orders:
            raise NotFound(f"no command {number}")
        return self._orders[number]


def row_bytes(columns: Mapping[str, NDArray[Any]]) -> int:
    """Bytes of all columns together."""
    return sum(array.nbytes for array in columns.values())
