"""Work on datasets in a process of its own, so that it takes no time from the server's loop.

    python -m server.datasets.work

It reads one JSON line from stdin that says what to do, writes JSON lines to stdout, `progress`
several times and `result` or `error` in the end, and ends at once when stdin does.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from robot_client.clock import SystemClock
from robot_client.errors import DreamfleetError, FieldError
from robot_client.schema import Json
from server.datasets.archive import unpack_file
from server.datasets.episodes import About
from server.datasets.export import Export, export
from server.datasets.manifest import about_of
from server.datasets.shelf import begin, import_dataset, verify
from server.teachers import take_teachers


class Teller:
    """Writes to stdout what has become of the work."""

    def __init__(self) -> None:
        self._percent = -1

    def say(self, **what: Any) -> None:
        """One line."""
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()

    def progress(self, done: int, total: int) -> None:
        """Say how far it is, a hundred times at most."""
        percent = 100 * done // max(1, total)
        if percent != self._percent:
            self._percent = percent
            self.say(progress=[done, total])


def do(order: Json, teller: Teller) -> Json:
    """Do what is asked. Raises DreamfleetError."""
    match order.pop("do"):
        case "export":
            return export(Export.model_validate(order), teller.progress)
        case "import":
            return _import(order, teller)
        case "verify":
            return verify(Path(order["home"]), order["name"], teller.progress)
        case "begin":
            rows = begin(Path(order["home"]), order["names"], Path(order["replay"]))
            return {"rows": rows}
        case "teach":
            home = Path(order["directory"])
            return {"rows": take_teachers(home, order["teachers"], order["rows"])}
        case other:
            raise AssertionError(other)


def _import(order: Json, teller: Teller) -> Json:
    archive, home = Path(order["archive"]), Path(order["home"])
    about: About | None = about_of(**order["like"]) if order["like"] else None
    try:
        with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=home) as folder:
            unpack_file(archive, Path(folder))
            archive.unlink()
            now = SystemClock().wall()
            made = import_dataset(Path(folder), home, order["name"], about, now, teller.progress)
    finally:
        archive.unlink(missing_ok=True)
    return made.model_dump()


def _told(error: Exception) -> Json:
    told = {"kind": type(error).__name__, "message": str(error)}
    if isinstance(error, FieldError):
        told |= {"field": error.field, "expected": error.expected, "got": error.got}
    return told


def main() -> int:
    """Do one thing. Exit code 0: done; 1: it could not be, and `error` says why."""
    order = json.loads(sys.stdin.readline())
    os.nice(10)  # robots and learners come first
    threading.Thread(target=_end_with_parent, daemon=True).start()
    teller = Teller()
    try:
        teller.say(result=do(order, teller))
    except DreamfleetError as error:
        teller.say(error=_told(error))
        return 1
    except Exception as error:  # noqa: BLE001 - readers of files of others raise whatever they like
        told = {"kind": "ServerError", "message": f"{type(error).__name__}: {error}"[:1000]}
        teller.say(error=told)
        return 1
    return 0


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)  # what is half done has a name that the server clears away


if __name__ == "__main__":
    sys.exit(main())
