"""`dreamfleet evaluations`: play episodes of one version without exploring, and see how it did."""

from __future__ import annotations

from typing import Annotated

import typer

from server.commands.output import Columns, Limit, Offset, at, show, show_page
from server.commands.rest import (
    DEFAULT_SERVER,
    AsJson,
    Experiment,
    Json,
    Server,
    ask,
    of_experiment,
    parsed,
)

app = typer.Typer(no_args_is_help=True, help="Evaluate versions of a policy.")

Number = Annotated[int, typer.Argument(min=1, help="Number of the evaluation.")]


def _interval(evaluation: Json) -> str | None:
    if evaluation["lower"] is None:
        return None
    return f"{evaluation['lower']:.4g} to {evaluation['upper']:.4g}"


COLUMNS: Columns = {
    "number": "id",
    "version": "version",
    "state": "state",
    "played": lambda e: f"{e['played']} of {e['episodes']}",
    "mean": lambda e: None if e["mean"] is None else f"{e['mean']:.4g}",
    "95 %": _interval,
    "robots": lambda e: ", ".join(e["robots"]),
    "begun": at("created_at"),
}


@app.command()
def start(
    experiment: Experiment,
    version: Annotated[
        int | None, typer.Option(min=0, help="Of the policy; none: what robots are offered.")
    ] = None,
    robot: Annotated[list[str] | None, typer.Option(help="Who plays; repeatable.")] = None,
    episodes: Annotated[int, typer.Option(min=1, max=1000, help="Episodes in all.")] = 5,
    replay: Annotated[bool, typer.Option(help="Learn from their rows.")] = True,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Let robots play episodes with one version's most likely actions."""
    wanted = {"version": version, "robots": robot or [], "episodes": episodes, "replay": replay}
    path = of_experiment(server, experiment, "/evaluations")
    show(ask(server, "POST", path, wanted), as_json, COLUMNS)


@app.command("list")
def list_evaluations(
    experiment: Experiment,
    limit: Limit = 100,
    offset: Offset = 0,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """List the evaluations of an experiment, newest first."""
    path = of_experiment(server, experiment, "/evaluations")
    show_page(server, path, COLUMNS, as_json, {"limit": limit, "offset": offset})


@app.command()
def get(
    experiment: Experiment, number: Number, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """Show one evaluation."""
    path = of_experiment(server, experiment, f"/evaluations/{number}")
    show(ask(server, "GET", path), as_json, COLUMNS)


@app.command()
def cancel(
    experiment: Experiment, number: Number, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """Play no more of it; what was played stays."""
    path = of_experiment(server, experiment, f"/evaluations/{number}/cancel")
    show(ask(server, "POST", path), as_json, COLUMNS)


@app.command()
def settings(
    experiment: Experiment,
    evaluation: Annotated[
        str | None, typer.Option(help='As JSON, such as {"every_rows": 5000, "episodes": 5}.')
    ] = None,
    rollout: Annotated[
        str | None, typer.Option(help='As JSON, such as {"automatic": true, "episodes": 10}.')
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show, or change, how often versions are evaluated and how they reach the robots."""
    given = {"evaluation": evaluation, "rollout": rollout}
    change = {name: parsed(text, f"--{name}") for name, text in given.items() if text is not None}
    path = of_experiment(server, experiment)
    found = ask(server, "PATCH", path, change) if change else ask(server, "GET", path)
    show({name: found[name] for name in given}, as_json)
