"""`dreamfleet audit`: who did what."""

from __future__ import annotations

from typing import Annotated

import typer

from server.commands.rest import DEFAULT_SERVER, AsJson, Server, ask, print_json, print_table, when


def audit(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many lines.")] = 50,
    offset: Annotated[int, typer.Option(min=0, help="How many newer ones to leave out.")] = 0,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show every change and every wrong token, newest first."""
    found = ask(server, "GET", f"/audit?limit={limit}&offset={offset}")["items"]
    if as_json:
        print_json(found)
        return
    rows = [
        [
            each["id"],
            when(each["time"]),
            each["who"],
            each["operation"],
            ", ".join(f"{name}={value}" for name, value in each["parameters"].items()),
            each["outcome"],
            each["address"],
        ]
        for each in found
    ]
    print_table(["id", "when", "who", "operation", "of", "outcome", "from"], rows)
