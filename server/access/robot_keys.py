"""The server's CURVE pair, and the robots that it knows by their public keys.

A robot's name follows from the key that its connection has proven, never from what it says. It may
have several keys at a time: while one is rotated, the old and the new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from robot_client import keys
from robot_client.clock import Clock, SystemClock
from robot_client.errors import SchemaError
from robot_client.keys import KeyPair
from robot_client.names import robot_name
from server.access.register import Entry, Register, Uses, changing_folder
from server.curve import Curve
from server.errors import AccessError, Conflict, Invalid, NotFound

FOLDER = "keys"  # in the data directory
OVERLAP_S = 24 * 3600.0
_SERVER = "server"


class RobotKey(Entry):
    """A public key that was enrolled for a robot.

    Args:
        robot: its name.
        key: 40 characters of Z85.
        added_at, added_by: when and by whom.
        until: when it ends; None while it does not.
        revoked_by: who ended it before its time; None if nobody did.
    """

    robot: str
    key: str
    added_at: float
    added_by: str
    until: float | None = None
    revoked_by: str | None = None

    def is_valid(self, now: float) -> bool:
        """Whether the robot may still use it."""
        return self.until is None or now < self.until


class RobotKeys:
    """The keys of the robots. Thread-safe, and safe against other processes.

    Args:
        data: the server's data directory.
        clock: tells the time.
    """

    def __init__(self, data: Path, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._register = Register(data / FOLDER / "robots.json", RobotKey)
        self._uses = Uses(data / FOLDER / "robots.uses.json", self._clock)

    def all(self) -> list[RobotKey]:
        """Every key that was ever enrolled, oldest first. Raises AccessError."""
        return list(self._register.entries().values())

    def used_at(self, key: str) -> float | None:
        """When a robot last came with the key, in seconds since 1970, to the minute."""
        return self._uses.read().get(key)

    def name_of(self, key: str) -> str | None:
        """The robot that a public key belongs to; None when it is unknown, revoked or too old.

        Meant to be asked for every message: what another process has changed counts at once.
        Raises AccessError.
        """
        found = self._register.entries().get(key)
        return found.robot if found and found.is_valid(self._clock.wall()) else None

    def note_use(self, key: str) -> None:
        """A robot has come with the key."""
        self._uses.note(key)

    def enrol(self, robot: str, key: str, by: str) -> RobotKey:
        """Let a new robot in.

        Raises:
            Invalid: this is no name, or no public key.
            Conflict: the robot has a key, or the key has been enrolled before.
        """
        with self._register.changing() as entries:
            now = self._clock.wall()
            if any(e.robot == robot and e.is_valid(now) for e in entries.values()):
                raise Conflict(f"robot {robot!r} has a key; to replace it: dreamfleet keys rotate")
            return _add(entries, robot, key, by, now)

    def rotate(self, robot: str, key: str, by: str, overlap_s: float = OVERLAP_S) -> RobotKey:
        """Give a robot a new key; those it has end in `overlap_s` seconds.

        Raises:
            Invalid: this is no public key.
            NotFound: there is no such robot.
            Conflict: the key has been enrolled before.
        """
        with self._register.changing() as entries:
            now = self._clock.wall()
            old = _valid_of(entries, robot, now)
            new = _add(entries, robot, key, by, now)
            for each in old:
                until = min(now + overlap_s, each.until or float("inf"))
                entries[each.key] = each.model_copy(update={"until": until})
            return new

    def revoke(self, robot: str, by: str, key: str | None = None) -> list[RobotKey]:
        """End one key of a robot, or all of them, at once and for good.

        Raises NotFound when the robot has no such key that is valid.
        """
        with self._register.changing() as entries:
            now = self._clock.wall()
            ended = [k for k in _valid_of(entries, robot, now) if key is None or k.key == key]
            if not ended:
                raise NotFound(f"robot {robot!r} has no key {key!r}")
            gone = {k.key: k.model_copy(update={"until": now, "revoked_by": by}) for k in ended}
            entries.update(gone)
            return list(gone.values())


def _valid_of(entries: Mapping[str, RobotKey], robot: str, now: float) -> list[RobotKey]:
    found = [each for each in entries.values() if each.robot == robot and each.is_valid(now)]
    if not found:
        raise NotFound(f"robot {robot!r} has no key; to let it in: dreamfleet keys enrol")
    return found


def _add(entries: dict[str, RobotKey], robot: str, key: str, by: str, now: float) -> RobotKey:
    try:
        robot_name(robot, "robot")
    except SchemaError as error:
        raise Invalid(error.field, error.expected, error.got) from error
    if not keys.is_public(key):
        raise Invalid(
            "key", "40 characters of Z85, as dreamfleet-robot enrol prints", repr(key[:80])
        )
    if key in entries:
        known = entries[key]
        raise Conflict(
            f"this key was enrolled for robot {known.robot!r} before; let the robot make a new one:"
            " dreamfleet-robot enrol --replace"
        )
    entries[key] = new = RobotKey(robot=robot, key=key, added_at=now, added_by=by)
    return new


# The server's own pair.


def server_pair(data: Path) -> KeyPair | None:
    """The server's pair; None before it is made. Raises LinkError when the file is damaged."""
    path = data / FOLDER / f"{_SERVER}.key"
    return keys.read(path) if path.exists() else None


def make_server_pair(data: Path, replace: bool = False) -> KeyPair:
    """The server's pair, made when there is none.

    A server that runs goes on with the one that it has read at its start.

    Args:
        replace: make a new one in any case.

    Raises:
        AccessError: the folder cannot be written.
        LinkError: the pair cannot be written, or is damaged.
    """
    with changing_folder(data / FOLDER):
        found = server_pair(data)
        if found is None or replace:
            found = keys.generate()
            keys.write(data / FOLDER, _SERVER, found, replace=True)
        return found


def curve_of(data: Path, locked: bool = False) -> Curve | None:
    """What locks the gateway; None while no robot has ever been enrolled.

    Args:
        data: the server's data directory.
        locked: also when no robot has been: others can reach the gateway.

    Raises:
        AccessError: the keys cannot be read, or the server's own is missing.
        LinkError: the server's own is damaged.
    """
    robots = RobotKeys(data)
    if not (locked or robots.all()):
        return None
    pair = server_pair(data)
    if pair is None:
        raise AccessError(f"{data / FOLDER}: keys are needed, but the server's own is missing")
    return Curve(pair.public.encode(), pair.secret.encode(), robots.name_of, robots.note_use)
