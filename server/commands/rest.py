"""How the commands ask the API: with the token in DREAMFLEET_TOKEN, if any."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from server.commands.complete import DEFAULT_SERVER as DEFAULT_SERVER
from server.commands.complete import experiment_names, headers, trust
from server.errors import (
    Conflict,
    Forbidden,
    NotFound,
    ServerError,
    TooManyAttempts,
    Unauthorized,
    Unreachable,
)

if TYPE_CHECKING:
    import httpx

PATIENCE_S = 120.0  # stopping waits for a checkpoint
_CONNECT_S = 10.0
PAGE = 1000  # items; the most that the API gives at once

Json = dict[str, Any]
Query = Mapping[str, Any]
Server = Annotated[str, typer.Option(envvar="DREAMFLEET_SERVER", help="Address of the server.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Experiment = Annotated[
    str, typer.Argument(help="Id or name of an experiment.", autocompletion=experiment_names)
]
_ERRORS: dict[int, type[ServerError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    429: TooManyAttempts,
}


def ask(
    server: str,
    method: str,
    path: str,
    body: Any = None,
    query: Query | None = None,
    patience_s: float | None = PATIENCE_S,
) -> Any:
    """Call the API; the JSON that it answers, None where it answers nothing.

    Args:
        server: its address.
        method, path: of the operation, below /api/v1.
        body: JSON.
        query: parameters; those that are None are left out.
        patience_s: seconds without a word until the server counts as gone; None waits for ever.

    Raises ServerError with what the server, or its absence, says; `exits` tells its kinds apart.
    """
    with calling(server, patience_s) as api:
        answer = api.request(method, path, json=body, params=given(query))
        raise_for(answer)
        return answer.json() if answer.content else None


@contextmanager
def calling(server: str, patience_s: float | None = PATIENCE_S) -> Iterator[httpx.Client]:
    """A client of the API. Raises Unreachable when there is no server, BadParameter when its
    address is none."""
    import httpx

    if not server.startswith(("http://", "https://")):
        host = server.rpartition("://")[2] or "127.0.0.1:8000"
        raise typer.BadParameter(
            f"--server: expected http:// or https:// before {host}, got {server!r}"
        )

    about: Json = {"headers": headers(os.environ), "verify": trust(server)}
    patience = httpx.Timeout(patience_s, connect=_CONNECT_S)
    try:
        with httpx.Client(base_url=f"{server}/api/v1", timeout=patience, **about) as client:
            yield client
    except (httpx.TransportError, httpx.InvalidURL) as error:
        why = f"no server at {server} ({error}); start one: dreamfleet serve"
        raise Unreachable(why) from error


def raise_for(answer: httpx.Response) -> None:
    """Raise ServerError with what the server says is wrong, if anything is."""
    if not answer.is_error:
        return
    answer.read()
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"{answer.url} answered {answer.status_code}: {answer.text[:200]}"
    if answer.status_code == 401:
        detail += "; give it in DREAMFLEET_TOKEN"
    raise _ERRORS.get(answer.status_code, ServerError)(detail)


def every(server: str, path: str) -> list[Json]:
    """All items of a list that comes in pages."""
    found: list[Json] = []
    while True:
        page = ask(server, "GET", path, query={"limit": PAGE, "offset": len(found)})
        found += page["items"]
        if len(found) >= page["total"] or not page["items"]:
            return found


def experiment_id(server: str, wanted: str) -> str:
    """The id of the experiment that has this id or, alone, this name.

    Raises:
        NotFound: there is none.
        Conflict: several have the name.
    """
    known = every(server, "/experiments")
    if any(each["id"] == wanted for each in known):
        return wanted
    named = [each["id"] for each in known if each["name"] == wanted]
    if len(named) > 1:
        raise Conflict(f"{len(named)} experiments are called {wanted!r}: {', '.join(named)}")
    if not named:
        raise NotFound(f"no experiment {wanted!r}")
    return str(named[0])


def of_experiment(server: str, wanted: str, rest: str = "") -> str:
    """The path of an experiment, or of something of it."""
    return f"/experiments/{segment(experiment_id(server, wanted))}{rest}"


def given(query: Query | None) -> dict[str, Any]:
    """The parameters that are not None."""
    return {name: value for name, value in (query or {}).items() if value is not None}


def parsed(text: str, option: str) -> Json:
    """A JSON object given as text. Raises BadParameter."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{option} is not a JSON object")
    return value


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")
