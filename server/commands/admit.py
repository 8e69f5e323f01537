"""`dreamfleet keys admit`: let in the robots that leave their public keys in a folder.

For robots whose disks the server's machine can see, such as containers of one host. Who may write
to the folder can take a name that no robot has yet, and nothing else: a name that has a key keeps
it, and a key that was revoked stays out.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from robot_client import keys
from robot_client.clock import SystemClock
from robot_client.errors import DreamfleetError, LinkError
from server.commands.local import Data, Database, Local
from server.settings import DEFAULT_DATA

LOOK_S = 1.0
_MOST_BYTES = 200  # of a file; a key has 40


def admit(
    folder: Annotated[Path, typer.Argument(help="Where robots leave NAME.pub.")],
    only: Annotated[str, typer.Option(help="What a NAME must match, as a regular expression.")],
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    data: Data = None,
    database: Database = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print an object for each key that is new.")
    ] = False,
) -> None:
    """Enrol every robot whose public key appears in a folder, until Ctrl-C.

    On the server's machine. Let nobody write to the folder who may not add robots.
    """
    doorway = Doorway(Local(data or DEFAULT_DATA, database), folder, re.compile(only))
    clock = SystemClock()
    while True:
        for news in doorway.look():
            typer.echo(json.dumps(asdict(news)) if as_json else str(news))
        if once:
            return
        clock.sleep_until(clock.monotonic() + LOOK_S)


@dataclass(frozen=True)
class Admission:
    """What became of a robot's key: `problem` says why it may not connect, empty if it may."""

    robot: str
    problem: str

    def __str__(self) -> str:
        return f"refused: {self.problem}" if self.problem else f"{self.robot!r} may connect"


class Doorway:
    """Enrols whom it finds, and says of each key once what became of it.

    Args:
        local: the server's data.
        folder: where robots leave NAME.pub.
        only: what a name must match.
    """

    def __init__(self, local: Local, folder: Path, only: re.Pattern[str]) -> None:
        from server.access import RobotKeys

        self._local, self._folder, self._only = local, folder, only
        self._keys = RobotKeys(local.data)
        self._seen: set[tuple[str, str]] = set()

    def look(self) -> Iterator[Admission]:
        """Look through the folder once, for keys that are new."""
        for path in sorted(self._folder.glob("*.pub")):
            try:
                key = _read(path)
            except (OSError, LinkError) as error:
                key, problem = "", str(error)
            else:
                problem = self._refusal(path.stem, key)
            if (path.stem, key or problem) not in self._seen:
                self._seen.add((path.stem, key or problem))
                yield Admission(path.stem, problem)

    def _refusal(self, robot: str, key: str) -> str:
        """Enrol a robot, unless it is; why not, or nothing."""
        from server.access import make_server_pair

        if not self._only.fullmatch(robot):
            return f"{robot!r} is no name for a robot of this folder"
        if self._keys.name_of(key) == robot:
            return ""
        try:
            make_server_pair(self._local.data)
            self._keys.enrol(robot, key, self._local.who)
        except DreamfleetError as error:
            return str(error)
        self._local.note("enrol_key", robot=robot, key=key)
        return ""


def _read(path: Path) -> str:
    """The key in a file, which a stranger may have put there. Raises OSError or LinkError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise LinkError(f"{path}: not a file")
        key = os.read(handle, _MOST_BYTES).decode(errors="replace").strip()
    finally:
        os.close(handle)
    if not keys.is_public(key):
        raise LinkError(f"{path}: not a public key")
    return key
