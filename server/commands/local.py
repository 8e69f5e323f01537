"""Commands that work on a data directory itself, whether a server works on it or not.

Who can write there may do anything already, so no token is asked for; what is done goes to the
audit log all the same.
"""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robot_client.clock import SystemClock
from server.settings import DEFAULT_DATA, Settings

if TYPE_CHECKING:
    from server.storage import Audit

Data = Annotated[
    Path | None,
    typer.Option(help=f"Work on this data directory; {DEFAULT_DATA} if there is no --server."),
]
ServerIfAny = Annotated[
    str | None,
    typer.Option(envvar="DREAMFLEET_SERVER", help="Ask this server, with DREAMFLEET_TOKEN."),
]
Database = Annotated[
    str | None,
    typer.Option(envvar="DREAMFLEET_DATABASE", help="The server's SQLAlchemy URL, for the audit."),
]


@dataclass(frozen=True)
class Local:
    """A data directory, and where its audit log is."""

    data: Path
    database: str | None = None

    @property
    def who(self) -> str:
        """As the audit log and the registers name who works here."""
        return f"shell:{getpass.getuser()}"

    def note(self, operation: str, **parameters: Any) -> None:
        """Write what was done to the audit log."""
        from server.storage import Storage

        storage = Storage(Settings(self.data, database=self.database).database_url)
        try:
            storage.migrate()
            storage.save([self._line(operation, parameters)])
        finally:
            storage.close()

    def _line(self, operation: str, parameters: dict[str, Any]) -> Audit:
        from server.storage import Audit

        return Audit(
            time=SystemClock().wall(),
            who=self.who,
            method="shell",
            operation=operation,
            parameters=parameters,
            outcome="done",
            status=None,
            address="",
        )


def where(data: Path | None, server: str | None, database: str | None) -> Local | str:
    """The data directory to work on, or the address of the server to ask."""
    if data is None and server is not None:
        return server
    return Local(data or DEFAULT_DATA, database)
