"""Who may drive which robot from afar: one person at a time, by a lease that lasts while used.

The lease says who may drive; whether they do is the robot's to say. It, and not the server, judges
whether a person is still there: the server passes on what comes and adds nothing of its own.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, field

from robot_client.clock import Clock
from robot_client.messages import Drive, Wish
from robot_client.robot import Action
from robot_client.schema import ACTION
from server.errors import Conflict, NotFound
from server.fleet import Fleet

LEASE_S = 10.0  # without a word from its holder, a lease is over


@dataclass
class Lease:
    """A robot lent to a person.

    Args:
        robot: its name.
        holder: who has it.
        id: names it to the robot.
        secret: whoever shows it is the holder.
        since: seconds since 1970-01-01 UTC.
        used: monotonic time of the holder's last word.
        sent: time of that word by the holder's own clock.
        turn: number of their last engagement.
    """

    robot: str
    holder: str
    id: str
    secret: str
    since: float
    used: float
    sent: float = 0.0
    turn: int = 0
    _engaged: bool = field(default=False, repr=False)

    def number(self, engaged: bool) -> int:
        """The turn that an input belongs to: each engagement begins a new one."""
        self.turn += engaged and not self._engaged
        self._engaged = engaged
        return self.turn


class Helm:
    """The leases. Lives on the event loop.

    Args:
        fleet: reaches the robots.
        clock: tells the time.
    """

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self._fleet, self._clock = fleet, clock
        self._leases: dict[str, Lease] = {}

    def holder(self, robot: str) -> Lease | None:
        """The lease of a robot that somebody has."""
        lease = self._leases.get(robot)
        if lease is None or self._clock.monotonic() - lease.used > LEASE_S:
            return None
        return lease

    def take(self, robot: str, who: str, instead: bool = False) -> Lease:
        """Lend a connected robot to a person; `instead` of to themselves, in some other window.

        Nothing is said to the robot in between: its policy gets no turn.

        Raises:
            Conflict: somebody has it, who is named, or it is not connected.
        """
        if all(session.robot != robot for session in self._fleet.sessions()):
            raise Conflict(f"robot {robot} is not connected")
        held = self.holder(robot)
        if held is not None and not (instead and held.holder == who):
            raise Conflict(f"{held.holder} drives robot {robot}")
        now = self._clock.monotonic()
        names = (secrets.token_hex(8), secrets.token_urlsafe(16))
        lease = Lease(robot, who, *names, self._clock.wall(), now)
        self._leases[robot] = lease
        return lease

    def check(self, robot: str, who: str, secret: str | None) -> Lease:
        """The lease that a person claims to have; without the secret, in some other window.

        Raises Conflict when they have it not.
        """
        lease = self.holder(robot)
        if lease is None:
            raise Conflict(f"nobody has the lease of robot {robot}; take it first")
        shown = lease.secret if secret is None else secret
        same = secrets.compare_digest(lease.secret.encode(), shown.encode())  # text may be anything
        if lease.holder != who or not same:
            raise Conflict(f"{lease.holder} drives robot {robot}")
        return lease

    def release(self, lease: Lease) -> None:
        """Hand the robot back to its policy, and the lease to nobody."""
        self._leases.pop(lease.robot, None)
        with suppress(NotFound):  # a robot that is gone knows by itself
            self._pass_on(lease, False, None)

    def drive(self, lease: Lease, engaged: bool, action: Action | None, sent: float) -> None:
        """Pass on what the holder wants.

        Args:
            lease: from `check`.
            engaged: they drive; else the policy is to.
            action: in the robot's action space; None to hold.
            sent: when they wanted it, in seconds of a clock of their own.

        Raises:
            NotFound: the robot is not connected.
        """
        lease.used, lease.sent = self._clock.monotonic(), sent
        self._pass_on(lease, engaged, action)

    def _pass_on(self, lease: Lease, engaged: bool, action: Action | None) -> None:
        wish: Wish = "end" if not engaged else "hold" if action is None else "act"
        columns = {} if action is None or not engaged else {ACTION: action}
        turn = lease.number(engaged)
        message = Drive(lease.id, turn, lease.holder, wish, lease.sent, columns)
        self._fleet.drive(lease.robot, message)
