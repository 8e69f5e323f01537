"""What a person at the robot is told of its server and its policy, in one line each.

Trouble is told once in AGAIN_S while it lasts, and its end if it was told. The lines go to the
logger of this module; `told_on` is how a command shows them.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, TextIO

from robot_client.address import knock
from robot_client.clock import Clock
from robot_client.errors import LinkError
from robot_client.messages import Heartbeat, Rejected, Welcome
from robot_client.schema import NO_POLICY

_log = logging.getLogger(__name__)
AGAIN_S: Final = 30.0
PATIENCE_S: Final = 3.0  # of silence, before anybody is told; a Hello is said every two seconds
_KNOCK_S: Final = 0.5
_NAME_S: Final = 2.0  # longer is not waited at the end for what a name stands for
_LOOK_S: Final = 0.3
_STILL: Final = ("stop", "estop", "hold")


@dataclass(frozen=True)
class Standing:
    """How a link stands.

    Args:
        welcome: the server's; None while there is none.
        silent_s: seconds since anything came from the server, or since the beginning.
        beat: how the control loop is.
        learner: state of the server's learner.
        refusal: why the server does not take this robot, as it last said; empty if it did not.
        fault: why rows are no longer delivered; empty while they are.
    """

    welcome: Welcome | None
    silent_s: float
    beat: Heartbeat
    learner: str
    refusal: str
    fault: str


class Tidings:
    """Tells how one robot stands.

    What keeps a server from answering is found in another thread: the name of a host may take long
    to look up, and the link's own thread brings emergency stops.

    Args:
        address: the server's.
        keyed: whether the robot has keys.
        look: how it stands.
        clock: real time.
    """

    def __init__(
        self, address: str, keyed: bool, look: Callable[[], Standing], clock: Clock
    ) -> None:
        self._address, self._keyed, self._look, self._clock = address, keyed, look, clock
        self._next = float("-inf")
        self._server, self._robot, self._rows = _Topic(), _Topic("fine"), _Topic()
        self._acted = clock.monotonic()  # when it last did, or could not for want of a server
        self._met = False  # whether the server was ever there
        self._asking: threading.Thread | None = None

    def tell(self) -> None:
        """Look, if it is time to, and tell what is new."""
        now = self._clock.monotonic()
        if now < self._next:
            return
        self._next = now + _LOOK_S
        found = self._look()
        self._tell_server(found, now)
        self._tell_robot(found, now)
        if found.fault:
            self._rows.trouble(now, found.fault)

    def end(self) -> None:
        """The link ends: what a person should know who starts nothing more."""
        found = self._look()
        if not self._met and not self._server.told:
            self._tell_absence(found, self._clock.monotonic(), ever=True)
        self.wait(_NAME_S)
        if found.beat.backlog_rows:
            _log.warning(
                "%d rows are on this disk and not yet delivered: they go to the server when the "
                "robot runs again (dreamfleet-robot spool lists them)",
                found.beat.backlog_rows,
            )

    def _tell_server(self, found: Standing, now: float) -> None:
        if found.welcome is not None:
            again = " again" if self._met else ""
            where = f"{self._address}, experiment {found.welcome.experiment}"
            self._server.fine(f"connected{again} to {where}", key=found.welcome.experiment)
            self._met = True
        elif found.refusal:
            self._server.trouble(now, f"{self._address}: {found.refusal}; retrying")
        elif found.silent_s >= PATIENCE_S:
            self._tell_absence(found, now)

    def wait(self, timeout_s: float) -> None:
        """Let a line come whose reason is being looked for."""
        if self._asking is not None:
            self._asking.join(timeout_s)

    def _tell_absence(self, found: Standing, now: float, ever: bool = False) -> None:
        if self._asking is not None and self._asking.is_alive():
            return
        if self._server.is_due(now):
            ask = partial(self._ask, found, ever)
            self._asking = threading.Thread(target=ask, name="knock", daemon=True)
            self._asking.start()

    def _ask(self, found: Standing, ever: bool) -> None:
        text = self._absence(found, ever)
        if self._server.told:  # else it has come meanwhile
            _log.warning("%s", text)

    def _absence(self, found: Standing, ever: bool) -> str:
        version = found.beat.policy_version
        acts = f"acting on with version {version}" if version != NO_POLICY else "there is no policy"
        answers = "has answered" if ever else "answers any more" if self._met else "answers yet"
        retrying = "" if ever else "; retrying"
        return f"no server at {self._address} {answers}: {self._why()}; {acts}{retrying}"

    def _why(self) -> str:
        try:
            knock(self._address, _KNOCK_S)
        except LinkError as error:
            return f"{error}; is it running, and is this its address?"
        if self._keyed:
            return "it does not answer to our keys: does it know this robot's key?"
        return "it does not answer; it may ask for keys, which this robot has not (enrol)"

    def _tell_robot(self, found: Standing, now: float) -> None:
        beat = found.beat
        if beat.safety not in _STILL:
            self._acted = now
            why = f": {beat.reason}" if beat.reason else ""
            self._robot.fine(f"acting with version {beat.policy_version}{why}")
        elif found.welcome is None:
            self._acted = now  # what the robot waits for is the server
        elif now - self._acted >= PATIENCE_S:
            learner = (
                f" (the learner is {found.learner})" if beat.policy_version == NO_POLICY else ""
            )
            self._robot.trouble(now, f"{beat.safety}: {beat.reason}{learner}")


class _Topic:
    """Of which either trouble is told, or that there is none.

    Args:
        fine: key of what need not be told at first.
    """

    def __init__(self, fine: str = "") -> None:
        self.told = False  # trouble, whose end has not been told
        self._at, self._fine = float("-inf"), fine

    def is_due(self, now: float) -> bool:
        """Whether trouble is to be told now, by who asks."""
        due = now - self._at >= AGAIN_S
        if due:
            self._at, self.told = now, True
        return due

    def trouble(self, now: float, text: str) -> None:
        """There is trouble."""
        if self.is_due(now):
            _log.warning("%s", text)

    def fine(self, text: str, key: str = "fine") -> None:
        """All is well; told at first, after trouble, and when the key is another."""
        if self.told or key != self._fine:
            self.told, self._fine = False, key
            _log.info("%s", text)


@contextmanager
def told_on(stream: TextIO, prefix: str, clock: Clock) -> Iterator[None]:
    """What this package logs goes to a stream, a line each; none twice within AGAIN_S."""
    logger, handler = logging.getLogger("robot_client"), logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(f"{prefix}: %(message)s"))
    handler.addFilter(_Once(clock))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


class _Once(logging.Filter):
    """Drops what was told within AGAIN_S; texts that differ in numbers only are the same."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be told."""
        if record.name == __name__:
            return True  # these know themselves when
        now, text = self._clock.monotonic(), re.sub(r"\d+", "#", record.getMessage())
        self._at = {k: at for k, at in self._at.items() if now - at < AGAIN_S}
        return self._at.setdefault(text, now) == now


def refusal_of(rejected: Rejected) -> str:
    """Why the server refuses a message."""
    if not rejected.expected:
        return f"the server: {rejected.got}"
    what = f"the server refuses {rejected.kind}: {rejected.field}"
    return f"{what}: expected {rejected.expected}, got {rejected.got}"
