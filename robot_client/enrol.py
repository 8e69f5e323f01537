"""A robot's own key pair, and the keys of the server that it trusts.

They lie in the robot's folder: `robot.key` (secret, mode 0600), `robot.pub`, and `server.pub`. That
has the newest key of the server in its first line and the one before in its second, so that the
server can change its key while the robot is out of sight.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from robot_client import keys
from robot_client.durable import write_durably
from robot_client.errors import LinkError

ROBOT_KEY = "robot.key"
SERVER_KEY = "server.pub"


@dataclass(frozen=True)
class Enrolment:
    """What is to be told to the server.

    Args:
        robot: its name.
        key: its public key.
        command: what to run on the server.
        server: the server's public key, as far as it is known.
        enrolled: whether the server has the robot's key, as far as that can be told: its own was
            given to a robot that had a pair, and `keys enrol` prints it for those that it takes.
    """

    robot: str
    key: str
    command: str
    server: str | None
    enrolled: bool

    @property
    def quoted(self) -> str:
        """The robot's name for a shell."""
        return shlex.quote(self.robot)


def enrol(folder: Path, robot: str, server_key: str | None, replace: bool) -> Enrolment:
    """Make the robot's pair if it has none, and remember the server's key if it is given.

    Args:
        folder: the robot's.
        robot: its name.
        server_key: the server's public key, or a file that holds it.
        replace: make a new pair in any case. A robot that runs goes on with the one before.

    Raises:
        LinkError: a key is none, or a file cannot be read or written.
    """
    path = folder / ROBOT_KEY
    known = path.exists()
    if replace or not known:
        keys.write(folder, path.stem, keys.generate(), replace=replace)
    if server_key is not None:
        _trust(folder / SERVER_KEY, server_key)
    pair = keys.read(path)
    verb = "rotate" if replace and known else "enrol"
    command = f"dreamfleet keys {verb} {shlex.quote(robot)} --key={shlex.quote(pair.public)}"
    trusted = trusted_keys(folder / SERVER_KEY)
    enrolled = known and not replace and server_key is not None
    return Enrolment(robot, pair.public, command, trusted[0] if trusted else None, enrolled)


def trusted_keys(path: Path) -> tuple[str, ...]:
    """The keys in `server.pub`, newest first; none when there is no such file. Raises LinkError."""
    return keys.read_publics(path) if path.exists() else ()


def _trust(path: Path, given: str) -> None:
    """Put a key first, and keep the newest one of before behind it."""
    new = given if keys.is_public(given) else keys.read_public(Path(given).expanduser())
    others = [key for key in trusted_keys(path) if key != new]
    try:
        write_durably(path, "\n".join([new, *others[:1], ""]).encode())
    except OSError as error:
        raise LinkError(f"{path}: {error}") from error
