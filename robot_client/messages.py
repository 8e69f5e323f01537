"""Every message between a robot and the server, and their form on the wire.

A message is a msgpack header frame and one raw frame per array. The header is
`{"v": protocol, "kind": name, "body": {field: value}, "arrays": [[name, dtype, shape], ...]}`.
Nothing is ever unpickled. `decode` accepts what the dataclasses below declare and nothing else.

Robot to server: Hello, Upload, Heartbeat, BlobRequest, PolicyReport, Event, CommandDone.
Server to robot: Welcome, Ack, Rejected, Pulse, PolicyOffer, BlobPart, Command, Drive, Evaluate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from robot_client import wire
from robot_client.schema import Columns, Json
from robot_client.wire import Frame, Limits

PROTOCOL = 4
Verb = Literal["pause", "resume", "stop", "release", "reset", "end_episode", "success", "failure"]
Wish = Literal["act", "hold", "end"]


@dataclass(frozen=True)
class Hello:
    """First message of a connection: who the robot is and what it can do.

    `robot` is a wish: under CURVE the name that the server has on file for the key counts.
    `first_seq` is the oldest row in the spool, `next_seq` the one to be recorded next.
    """

    robot: str
    epoch: str
    observation_space: Json
    action_space: Json
    control_hz: float
    task: Json
    first_seq: int
    next_seq: int
    policy_version: int
    client: str


@dataclass(frozen=True)
class Upload:
    """A chunk of rows, with the name of the task that the robot had; its columns travel as arrays.

    Rows may wait on the robot's disk while it is given another task, which its Hello then says.
    `tag` is `robot_client.schema.Tag.to_json()`.
    """

    epoch: str
    episode: int
    first_seq: int
    task: str
    columns: Columns = field(default_factory=dict)
    tag: Json = field(default_factory=dict)


UNKNOWN = -1.0  # of a number that cannot be negative


@dataclass(frozen=True)
class Heartbeat:
    """Sent by the control process every `heartbeat_s`: proof that the loop itself is alive.

    `safety` is the rung of the ladder: fresh, cached, hold, stop or estop. `surprise` is how far
    the last observation was from what the policy's model expected, in nats; UNKNOWN where no
    policy says. `latency` is the seconds that the slowest of the last hundred or so choices of an
    action took, 0 before the first. `driver` is the person who drives, empty when none does.
    `evaluation` is the number of the evaluation that the robot is to play episodes for, 0 of none.
    """

    tick: int
    policy_version: int
    safety: str
    reason: str
    backlog_rows: int
    loop_hz: float
    missed_ticks: int
    episode: int
    surprise: float
    latency: float
    driver: str
    evaluation: int


@dataclass(frozen=True)
class BlobRequest:
    """Asks for `size` bytes of a blob from `offset` on."""

    sha256: str
    offset: int
    size: int


@dataclass(frozen=True)
class PolicyReport:
    """A version has been swapped in (`error` empty), or was refused and why."""

    experiment: str
    version: int
    error: str


GOODBYE = "goodbye"  # kind of the last Event of a robot that ends as it was told to


@dataclass(frozen=True)
class Event:
    """Something an operator should know: kind such as safety_stop, robot_error, log."""

    kind: str
    text: str


@dataclass(frozen=True)
class CommandDone:
    """The command `id` has taken effect, or failed with `error`."""

    id: int
    error: str


@dataclass(frozen=True)
class Welcome:
    """Answer to Hello. `next_seq` is the first row of this epoch that the server has not stored."""

    robot: str
    experiment: str
    next_seq: int
    heartbeat_s: float


@dataclass(frozen=True)
class Ack:
    """Rows of the epoch before `next_seq` are durable; after a gap, go on from `next_seq`."""

    epoch: str
    next_seq: int


@dataclass(frozen=True)
class Rejected:
    """The last message of kind `kind` was refused: `field` was `got` instead of `expected`.

    `fatal` means that saying the same again cannot help for now: nothing is sent again as it is,
    but for a Hello, after half a minute or when the spool has been emptied. Where nothing was
    `expected`, `got` alone says why it cannot be done now.
    """

    kind: str
    field: str
    expected: str
    got: str
    fatal: bool


@dataclass(frozen=True)
class Pulse:
    """Answers every Heartbeat. `learner`: none, starting, running, paused, frozen or failed."""

    tick: int
    learner: str


@dataclass(frozen=True)
class PolicyOffer:
    """A version to fetch, as `Manifest.to_json()`."""

    manifest: Json


@dataclass(frozen=True)
class BlobPart:
    """Bytes of a blob, as the single uint8 array `data`. `total` is the blob's size."""

    sha256: str
    offset: int
    total: int
    columns: Columns = field(default_factory=dict)


ANY_EPISODE = -1  # of a command: whichever is running


@dataclass(frozen=True)
class Command:
    """What an operator wants of the robot.

    `success` and `failure` end the episode as terminal, `reset` and `end_episode` as cut. One that
    names an episode is refused once another is running.
    """

    id: int
    verb: Verb
    episode: int


@dataclass(frozen=True)
class Drive:
    """What a person who drives the robot from afar wants now, or does not: then it is to `end`.

    Sent many times per second and never repeated: only the newest counts. `turn` numbers the
    take-overs of a `lease`, each of which begins with an engagement of the person's. `sent` is in
    seconds of any one clock of the lease, whose differences show which messages are late. The
    array `action` comes with the wish to `act`.
    """

    lease: str
    turn: int
    driver: str
    wish: Wish
    sent: float
    columns: Columns = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluate:
    """The next `episodes` episodes that the robot begins with this version belong to `evaluation`.

    They keep their version to the end, take the mode of its actions and do not explore; one that is
    cut, or in which a person drives, does not count. Replaces what was ordered before; no episodes
    take it back. `learn` is passed on with the rows.
    """

    evaluation: int
    experiment: str
    version: int
    episodes: int
    learn: bool


Message = (
    Hello
    | Upload
    | Heartbeat
    | BlobRequest
    | PolicyReport
    | Event
    | CommandDone
    | Welcome
    | Ack
    | Rejected
    | Pulse
    | PolicyOffer
    | BlobPart
    | Command
    | Drive
    | Evaluate
)

KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in get_args(Message)}
DEFAULT_LIMITS = Limits()


def encode(message: Message, limits: Limits = DEFAULT_LIMITS) -> list[Frame]:
    """Frames of a message: the header, then one per array, not copied where they are contiguous.

    Raises:
        MessageError: a field is not what its annotation says, or a limit is exceeded.
    """
    return wire.encode(message, PROTOCOL, limits)


def decode(frames: Sequence[Frame], limits: Limits = DEFAULT_LIMITS) -> Message:
    """The message that `frames` encode. Its arrays are views on the frames, mostly read-only.

    Raises:
        MessageError: anything is wrong; says which field, what was expected and what came.
    """
    return wire.decode(frames, KINDS, PROTOCOL, limits)
