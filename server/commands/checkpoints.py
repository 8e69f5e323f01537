"""`dreamfleet checkpoints`: what a learner can go on from."""

from __future__ import annotations

from typing import Annotated

import typer

from server.commands.output import Columns, Limit, Offset, at, show, show_page, working
from server.commands.rest import DEFAULT_SERVER, AsJson, Experiment, Server, ask, of_experiment

app = typer.Typer(no_args_is_help=True, help="See a learner's checkpoints, and go back to one.")

COLUMNS: Columns = {
    "checkpoint": "number",
    "bytes": "nbytes",
    "saved": at("saved_at"),
    "set aside": lambda checkpoint: "yes" if checkpoint["aside"] else "no",
}


@app.command("list")
def list_checkpoints(
    experiment: Experiment,
    limit: Limit = 100,
    offset: Offset = 0,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """List the whole checkpoints, newest first."""
    path = of_experiment(server, experiment, "/checkpoints")
    show_page(server, path, COLUMNS, as_json, {"limit": limit, "offset": offset})


@app.command()
def restore(
    experiment: Experiment,
    number: Annotated[int, typer.Argument(min=0, help="Updates at the checkpoint.")],
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Let the next start go on from this checkpoint; newer ones are set aside, not deleted."""
    path = of_experiment(server, experiment, f"/checkpoints/{number}/restore")
    with working(f"restoring checkpoint {number}"):
        found = ask(server, "POST", path)
    show(found, as_json, COLUMNS)
