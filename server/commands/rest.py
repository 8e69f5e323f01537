"""What the commands share: they ask the API, and print tables or JSON."""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from server.errors import ServerError

DEFAULT_SERVER = "http://127.0.0.1:8000"
PATIENCE_S = 120.0  # stopping waits for a checkpoint

Server = Annotated[str, typer.Option(envvar="DREAMFLEET_SERVER", help="Address of the server.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def ask(server: str, method: str, path: str, body: Any = None) -> Any:
    """Call the API with the token in DREAMFLEET_TOKEN, if any.

    Raises ServerError with what the server, or its absence, says.
    """
    token = os.environ.get("DREAMFLEET_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{server}/api/v1{path}"
    try:
        answer = httpx.request(method, url, json=body, headers=headers, timeout=PATIENCE_S)
    except httpx.TransportError as error:
        raise ServerError(
            f"no server at {server} ({error}); start one: dreamfleet serve"
        ) from error
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise ServerError(f"{_detail(answer)}; give it in DREAMFLEET_TOKEN")
    if answer.is_error:
        raise ServerError(_detail(answer))
    return answer.json()


def print_json(value: Any) -> None:
    """To stdout."""
    typer.echo(json.dumps(value, indent=1))


def print_table(columns: list[str], rows: list[list[Any]]) -> None:
    """To stdout; None is a hyphen."""
    table = Table(*columns)
    for row in rows:  # as text: a key may look like markup
        cells = ("-" if cell is None else str(cell) for cell in row)
        table.add_row(*(Text(cell, overflow="fold") for cell in cells))
    Console().print(table)


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def when(time: float | None) -> str | None:
    """A time in seconds since 1970, as people of this place read it."""
    return None if time is None else datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M")


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.url} answered {answer.status_code}: {answer.text[:200]}"
