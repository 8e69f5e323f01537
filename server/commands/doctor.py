"""`dreamfleet doctor`: whether a server would work here, or works."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from server.commands.exits import FAILED
from server.commands.output import print_json
from server.settings import DEFAULT_DATA, DEFAULT_GATEWAY, Settings

_COLOURS = {"OK": "green", "WARN": "yellow", "FAIL": "red"}


def doctor(
    data: Annotated[Path, typer.Option(help="Directory that holds everything.")] = DEFAULT_DATA,
    host: Annotated[str, typer.Option(help="Address of the REST API and the page.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its port.")] = 8000,
    gateway: Annotated[str, typer.Option(help="Where robots connect.")] = DEFAULT_GATEWAY,
    database: Annotated[
        str | None,
        typer.Option(envvar="DREAMFLEET_DATABASE", help="SQLAlchemy URL; SQLite if none."),
    ] = None,
    ssl_keyfile: Annotated[Path | None, typer.Option(help="PEM key of the server.")] = None,
    ssl_certfile: Annotated[Path | None, typer.Option(help="PEM certificate for it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Check what `serve` with the same options needs; exit code 1 when something is broken.

    Changes nothing. A server may be running on the data, or not.
    """
    from robot_client.findings import broken, lines
    from server.doctor import examine

    settings = Settings(
        data, host, port, gateway, database, tls_key=ssl_keyfile, tls_certificate=ssl_certfile
    )
    found = []
    for finding in examine(settings):
        found.append(finding)
        for line in [] if as_json else lines(finding):
            level, rest = line[:4], line[4:]
            colour = _COLOURS.get(level.strip())
            typer.echo(typer.style(level, fg=colour) + rest)
    if as_json:
        print_json([asdict(finding) for finding in found])
    if broken(found):
        raise typer.Exit(FAILED)
