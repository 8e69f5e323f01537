"""`dreamfleet audit`: who did what."""

from __future__ import annotations

from server.commands.output import Columns, Limit, Offset, at, show_page
from server.commands.rest import DEFAULT_SERVER, AsJson, Json, Server


def _parameters(line: Json) -> str:
    return ", ".join(f"{name}={value}" for name, value in line["parameters"].items())


COLUMNS: Columns = {
    "id": "id",
    "when": at("time"),
    "who": "who",
    "operation": "operation",
    "of": _parameters,
    "outcome": "outcome",
    "from": "address",
}


def audit(
    limit: Limit = 50,
    offset: Offset = 0,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show every change and every wrong token, newest first."""
    show_page(server, "/audit", COLUMNS, as_json, {"limit": limit, "offset": offset})
