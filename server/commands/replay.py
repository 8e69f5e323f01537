"""`dreamfleet replay`: how much an experiment has stored, and whether it is whole."""

from __future__ import annotations

import typer

from server.commands.exits import FAILED
from server.commands.output import show, working
from server.commands.rest import DEFAULT_SERVER, AsJson, Experiment, Server, ask, of_experiment

app = typer.Typer(no_args_is_help=True, help="See what is stored, and whether it is whole.")


@app.command()
def get(experiment: Experiment, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Show rows, chunks and streams, and the bytes that they take on the disk."""
    show(ask(server, "GET", of_experiment(server, experiment, "/replay")), as_json)


@app.command()
def verify(
    experiment: Experiment, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """Walk all rows: is each there once? Exit code 1 if not. Takes seconds per gigabyte."""
    path = of_experiment(server, experiment, "/replay/verify")
    with working("walking all rows"):
        found = ask(server, "POST", path, patience_s=None)
    show(found, as_json)
    if found["problems"]:
        raise typer.Exit(FAILED)
