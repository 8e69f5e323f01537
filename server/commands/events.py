"""`dreamfleet events`: what an operator should know, and what happens now."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from server.commands.complete import experiment_names, robot_names
from server.commands.live import follow
from server.commands.output import Columns, Limit, Offset, at, show_page
from server.commands.rest import DEFAULT_SERVER, AsJson, Server, experiment_id

app = typer.Typer(no_args_is_help=True, help="See what an operator should know.")

COLUMNS: Columns = {
    "when": at("time"),
    "kind": "kind",
    "experiment": "experiment",
    "robot": "robot",
    "what": "text",
}
OfExperiment = Annotated[
    str | None,
    typer.Option(help="Of this one only, by id or name.", autocompletion=experiment_names),
]


@app.command("list")
def list_events(
    experiment: OfExperiment = None,
    robot: Annotated[
        str | None, typer.Option(help="Of this robot only.", autocompletion=robot_names)
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Of this kind only.")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show what an operator should know, newest first."""
    ident = None if experiment is None else experiment_id(server, experiment)
    wanted = {"experiment": ident, "robot": robot, "kind": kind, "limit": limit, "offset": offset}
    show_page(server, "/events", COLUMNS, as_json, wanted)


@app.command()
def watch(
    experiment: OfExperiment = None,
    count: Annotated[int, typer.Option(min=0, help="End after so many; 0: never.")] = 0,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show events, metrics and changes of experiments and robots as they come, until Ctrl-C."""
    for seen, (kind, data) in enumerate(follow(server, experiment), 1):
        if as_json:
            typer.echo(json.dumps({"event": kind, "data": data}))
        else:
            typer.echo(f"{kind}: {json.dumps(data)}")
        if seen == count:
            return
