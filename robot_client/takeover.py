"""Who drives the robot: its policy, a person at the robot, or one far away.

A take-over begins when a person engages and ends when they hand back, fall silent for too long, or
the emergency stop is pulled; after that it takes a new engagement. A person at the robot comes
before one far away, who sees less. All times are the robot's own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from robot_client.clock import Clock, SystemClock
from robot_client.errors import RobotError
from robot_client.messages import Drive, Event, Verb
from robot_client.messages import Wish as Kind
from robot_client.robot import Action, as_action
from robot_client.schema import ACTION, ActionSpace
from robot_client.teleop import DeadMan, Input, Obs, Teleop

LOCAL = ""  # the lease of whoever is at the robot
_INBOX = 64
_LEASES = 16  # remembered, of which turns are over
_DRIFT = 1e-3  # by how much two clocks may differ, in seconds per second


@dataclass(frozen=True)
class Wish:
    """What the person who drives wants at this step.

    Args:
        turn: lease and number of the take-over; None when nobody drives.
        driver: who drives, empty when nobody does.
        action: to be taken; None to hold.
        reason: why the robot holds or stops, where that is not the person's wish.
        stop: the robot is to stand still until an operator resumes.
    """

    turn: tuple[str, int] | None = None
    driver: str = ""
    action: Action | None = None
    reason: str = ""
    stop: bool = False


NOBODY = Wish()


@dataclass(frozen=True)
class _Heard:
    """Fresh input, at a time of the robot's clock."""

    at: float
    lease: str
    turn: int
    driver: str
    kind: Kind
    action: Action | None

    @property
    def name(self) -> tuple[str, int]:
        return self.lease, self.turn


class Takeover:
    """Decides at every step who drives.

    Args:
        space: of the robot's actions.
        dead_man: when a silent person is held, and when let go.
        teleop: a connected device at the robot, if there is one.
        clock: real time.
    """

    def __init__(
        self,
        space: ActionSpace,
        dead_man: DeadMan | None = None,
        teleop: Teleop | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._dead_man, self._clock = dead_man or DeadMan(), clock or SystemClock()
        self._remote = Remote(space, self._clock, self._dead_man.hold_s)
        self._local = Local(space, teleop) if teleop else None
        self._current: _Heard | None = None
        self._over: dict[str, int] = {}  # lease -> last turn that is over
        self._silent = False
        self._events: deque[Event] = deque(maxlen=_INBOX)

    def drive(self, message: Drive) -> None:
        """Input has come from afar. May be called from another thread than the loop's."""
        self._remote.take(message)

    @property
    def driver(self) -> str:
        """Who drives, empty when nobody does. For any thread."""
        current = self._current
        return current.driver if current else ""

    def look(self, obs: Obs | None) -> Wish:
        """Who drives at this step, and what they want. Never waits.

        Args:
            obs: what the robot sees; None between episodes.
        """
        now = self._clock.monotonic()
        for heard in self._heard(obs, now):
            self._consider(heard)
        return self._wish(now)

    def drop(self, why: str) -> None:
        """Whoever drives, or wants to, has to engage anew."""
        for heard in self._heard(None, self._clock.monotonic()):
            self._close(heard)
        self._end(why)

    def events(self) -> list[Event]:
        """What an operator should know, since the last call."""
        found = [*self._events, *self._remote.events()]
        self._events.clear()
        return found + (self._local.events() if self._local else [])

    def verbs(self) -> list[Verb]:
        """What the person at the robot has told it, since the last call."""
        return self._local.verbs() if self._local else []

    def _heard(self, obs: Obs | None, now: float) -> list[_Heard]:
        local = self._local.look(obs, now) if self._local else []
        return [*self._remote.heard(), *local]

    def _consider(self, heard: _Heard) -> None:
        current = self._current
        if current is not None and heard.name == current.name:
            self._go_on(heard)
        elif heard.kind == "end" or heard.turn <= self._over.get(heard.lease, -1):
            return
        elif current is not None and current.lease == LOCAL:
            self._close(heard)
            self._say("teleop_refused", f"{heard.driver}: {current.driver} drives")
        else:
            self._end(f"{heard.driver} takes over")
            self._current, self._silent = heard, False
            self._say("take_over", f"{heard.driver} drives")

    def _go_on(self, heard: _Heard) -> None:
        if heard.kind == "end":
            self._end("handed back")
        else:
            self._current, self._silent = heard, False

    def _wish(self, now: float) -> Wish:
        current, limits = self._current, self._dead_man
        if current is None:
            return NOBODY
        silence = now - current.at
        if silence > limits.yield_s:
            why = f"{current.driver} has been silent for more than {limits.yield_s:g} s"
            self._end(f"{why}: {'policy' if limits.then == 'policy' else 'stop'}")
            return Wish(reason=why, stop=limits.then == "stop")
        if silence <= limits.hold_s:
            return Wish(current.name, current.driver, current.action)
        why = f"{current.driver} has been silent for more than {limits.hold_s:g} s"
        if not self._silent:
            self._say("teleop_silent", f"{why}: hold")
        self._silent = True
        return Wish(current.name, current.driver, None, why)

    def _end(self, why: str) -> None:
        """The take-over is over, if there is one; what still comes of it is not heeded."""
        current, self._current = self._current, None
        if current is not None:
            self._close(current)
            self._say("hand_back", f"{current.driver}: {why}")

    def _close(self, heard: _Heard) -> None:
        """This turn and those before it are over."""
        self._over[heard.lease] = max(heard.turn, self._over.pop(heard.lease, -1))
        if len(self._over) > _LEASES:
            del self._over[next(lease for lease in self._over if lease != LOCAL)]

    def _say(self, kind: str, text: str) -> None:
        self._events.append(Event(kind, text))


class Remote:
    """Input from afar: what is late or malformed is left out.

    That a message is late shows by comparison with the quickest one of its lease: after a cut,
    a burst of old input must not pass for a person who is there.

    Args:
        space: of the robot's actions.
        clock: real time.
        late_s: seconds that a message may have been on its way for longer than the quickest.
    """

    def __init__(self, space: ActionSpace, clock: Clock, late_s: float) -> None:
        self._space, self._clock, self._late_s = space, clock, late_s
        self._inbox: deque[_Heard] = deque(maxlen=_INBOX)
        self._events: deque[Event] = deque(maxlen=_INBOX)
        self._lease, self._sent, self._at, self._quickest = LOCAL, 0.0, 0.0, 0.0

    def take(self, message: Drive) -> None:
        """Stamp and keep a message. In the link's thread."""
        now = self._clock.monotonic()
        if message.lease == LOCAL or not self._is_fresh(message, now):
            return
        action = None
        if message.wish == "act":
            action = _valid(self._space, message.columns.get(ACTION))
            if action is None:
                text = f"{message.driver}: no action of the robot's: {message.columns.get(ACTION)}"
                self._events.append(Event("teleop_refused", text[:1000]))
                return
        self._inbox.append(
            _Heard(now, message.lease, message.turn, message.driver, message.wish, action)
        )

    def heard(self) -> list[_Heard]:
        """What has come since the last call, oldest first."""
        return [self._inbox.popleft() for _ in range(len(self._inbox))]

    def events(self) -> list[Event]:
        """What an operator should know, since the last call."""
        return [self._events.popleft() for _ in range(len(self._events))]

    def _is_fresh(self, message: Drive, now: float) -> bool:
        way = now - message.sent  # but for a constant
        if message.lease != self._lease:
            self._lease, self._sent, self._quickest = message.lease, -np.inf, way
        if message.sent < self._sent:
            return False
        drift = _DRIFT * (now - self._at)
        self._quickest = min(way, self._quickest + drift)
        self._sent, self._at = message.sent, now
        return way - self._quickest <= self._late_s or message.wish == "end"


class Local:
    """Input of a device at the robot. A device that fails is not asked again.

    Args:
        space: of the robot's actions.
        teleop: the device, connected.
    """

    def __init__(self, space: ActionSpace, teleop: Teleop) -> None:
        self._space, self._teleop = space, teleop
        self._turn, self._engaged, self._lost = 0, False, False
        self._verbs: list[Verb] = []
        self._events: list[Event] = []

    def look(self, obs: Obs | None, now: float) -> list[_Heard]:
        """At most one input; none when the device is silent or lost."""
        if self._lost:
            return []
        try:
            found = self._teleop.poll(obs)
        except RobotError as error:
            self._lost = True
            self._events.append(Event("teleop_lost", f"{self._teleop.name}: {error}"[:1000]))
            return []
        return [] if found is None else self._read(found, now)

    def events(self) -> list[Event]:
        """What an operator should know, since the last call."""
        found, self._events = self._events, []
        return found

    def verbs(self) -> list[Verb]:
        """What the person has told the robot, since the last call."""
        found, self._verbs = self._verbs, []
        return found

    def _read(self, found: Input, now: float) -> list[_Heard]:
        self._verbs += found.verbs
        self._turn += found.engaged and not self._engaged
        self._engaged = found.engaged
        kind: Kind = "end" if not found.engaged else "hold" if found.action is None else "act"
        action = None if kind != "act" else _valid(self._space, found.action)
        if kind == "act" and action is None:
            kind = "hold"  # the hands are there, but want nothing that can be done
        return [_Heard(now, LOCAL, self._turn, self._teleop.name, kind, action)]


def _valid(space: ActionSpace, value: object) -> Action | None:
    """As an action of the space, perhaps out of bounds where these are the filter's; or None."""
    try:
        action = as_action(space, value)
    except (TypeError, ValueError):
        return None
    n = getattr(space, "n", None)
    good = np.isfinite(action).all() if n is None else 0 <= int(action) < int(n)
    return action if good else None
