"""`dreamfleet agents`: the algorithms of a running server."""

from __future__ import annotations

from typing import Annotated

import typer

from server.commands.complete import agent_names
from server.commands.output import Columns, show
from server.commands.rest import DEFAULT_SERVER, AsJson, Json, Server, ask, segment

app = typer.Typer(help="List the algorithms of a running server and their settings.")


def _settings(agent: Json) -> str:
    return ", ".join((agent["config_schema"] or {}).get("properties", {}))


COLUMNS: Columns = {
    "agent": "name",
    "what it is": lambda agent: agent["error"] or agent["doc"].partition("\n")[0],
    "settings": _settings,
}


@app.callback(invoke_without_command=True)
def agents(
    context: typer.Context, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """List the algorithms of a running server and their settings."""
    if context.invoked_subcommand is None:
        show(ask(server, "GET", "/agents"), as_json, COLUMNS)


@app.command("list")
def list_agents(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """List every algorithm."""
    show(ask(server, "GET", "/agents"), as_json, COLUMNS)


@app.command()
def get(
    agent: Annotated[
        str, typer.Argument(help="Name of the algorithm.", autocompletion=agent_names)
    ],
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show one algorithm, with the JSON schema of its settings."""
    show(ask(server, "GET", f"/agents/{segment(agent)}"), as_json)
