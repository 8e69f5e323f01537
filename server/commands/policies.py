"""`dreamfleet policies`: versions of policies, and which of them robots are offered."""

from __future__ import annotations

from typing import Annotated

import typer

from server.commands.complete import robot_names
from server.commands.experiments import COLUMNS as EXPERIMENTS
from server.commands.output import (
    Columns,
    Limit,
    Offset,
    Out,
    at,
    fetch,
    listed,
    print_json,
    show,
    show_page,
    working,
)
from server.commands.rest import (
    DEFAULT_SERVER,
    AsJson,
    Experiment,
    Json,
    Server,
    ask,
    given,
    of_experiment,
    parsed,
    segment,
)

app = typer.Typer(no_args_is_help=True, help="See versions of policies, and offer them to robots.")

Version = Annotated[int, typer.Argument(min=0, help="Version of the policy.")]
Robot = Annotated[str, typer.Argument(help="Name of a robot.", autocompletion=robot_names)]


def _returns(policy: Json) -> str | None:
    found = policy["returns"]
    if found is None:
        return None
    return f"{found['mean']:.1f} ({found['low']:.1f} to {found['high']:.1f}, {found['episodes']})"


COLUMNS: Columns = {
    "version": "version",
    "updates": "updates",
    "made": at("created_at"),
    "kind": "kind",
    "bytes": "nbytes",
    "there": lambda policy: "yes" if policy["available"] else "no",
    "offered": lambda policy: "yes" if policy["offered"] else "no",
    "canaries": listed("robots"),
    "returns": _returns,
}


SIDES: Columns = {
    "role": "role",
    "experiment": "experiment",
    "version": "version",
    "bytes": "nbytes",
    "returns": _returns,
    "evaluation": lambda side: _returns({"returns": side["evaluation"]}),
}


@app.command("list")
def list_policies(
    experiment: Experiment,
    limit: Limit = 20,
    offset: Offset = 0,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """List the versions that were published, newest first."""
    path = of_experiment(server, experiment, "/policies")
    show_page(server, path, COLUMNS, as_json, {"limit": limit, "offset": offset})


@app.command()
def get(
    experiment: Experiment,
    version: Version,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show one version."""
    show(ask(server, "GET", of_experiment(server, experiment, f"/policies/{version}")), as_json)


@app.command()
def download(
    experiment: Experiment,
    version: Version,
    out: Out,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Download a version: manifest, graphs and weights in one zip file."""
    path = of_experiment(server, experiment, f"/policies/{version}/bundle.zip")
    fetch(server, path, out, as_json)


@app.command()
def compress(
    experiment: Experiment,
    version: Version,
    robot: Annotated[
        list[str],
        typer.Option(help="Joins, and may move at once; repeatable.", autocompletion=robot_names),
    ],
    name: Annotated[str | None, typer.Option(help="Of the new experiment.")] = None,
    config: Annotated[
        str, typer.Option(help='Settings of the agent distill, such as {"widths": [32, 32]}.')
    ] = "{}",
    rows: Annotated[int | None, typer.Option(help="Newest rows to learn from.")] = None,
    updates: Annotated[int | None, typer.Option(help="About so many are made.")] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Start an experiment in which a small network learns to act as this version does."""
    wanted: Json = {"config": parsed(config, "--config"), "robots": robot}
    wanted |= given({"name": name, "rows": rows, "updates": updates})
    path = of_experiment(server, experiment, f"/policies/{version}/compress")
    with working("copying the teacher and its rows"):
        made = ask(server, "POST", path, wanted, patience_s=None)
    show(made, as_json, EXPERIMENTS)


@app.command()
def compression(
    experiment: Experiment, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """Show a student's size and returns beside those of its teachers."""
    found = ask(server, "GET", of_experiment(server, experiment, "/compression"))
    if as_json:
        print_json(found)
        return
    students = [found["student"]] if found["student"] else []
    show(
        [{"role": "teacher", **side} for side in found["teachers"]]
        + [{"role": "student", **side} for side in students],
        as_json,
        SIDES,
    )


@app.command()
def rollout(
    experiment: Experiment, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """Show which versions the robots are offered."""
    show(ask(server, "GET", of_experiment(server, experiment, "/rollout")), as_json)


@app.command()
def pin(
    experiment: Experiment,
    version: Version,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Offer this version, and no later one, to all robots that are no canaries."""
    path = of_experiment(server, experiment, f"/policies/{version}/pin")
    show(ask(server, "POST", path), as_json)


@app.command()
def promote(
    experiment: Experiment,
    version: Version,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Pin this version for all robots; there are no canaries any more."""
    path = of_experiment(server, experiment, f"/policies/{version}/promote")
    show(ask(server, "POST", path), as_json)


@app.command()
def unpin(experiment: Experiment, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Offer the newest version again, and those to come."""
    show(ask(server, "DELETE", of_experiment(server, experiment, "/rollout/pin")), as_json)


@app.command()
def roll_back(
    experiment: Experiment, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """Pin the newest version before the one offered now whose files are still there."""
    show(ask(server, "POST", of_experiment(server, experiment, "/rollout/back")), as_json)


@app.command()
def set_canary(
    experiment: Experiment,
    robot: Robot,
    version: Version,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Offer one robot a version of its own."""
    path = of_experiment(server, experiment, f"/rollout/canaries/{segment(robot)}")
    show(ask(server, "PUT", path, {"version": version}), as_json)


@app.command()
def end_canary(
    experiment: Experiment, robot: Robot, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """Offer a robot what the others are offered."""
    path = of_experiment(server, experiment, f"/rollout/canaries/{segment(robot)}")
    show(ask(server, "DELETE", path), as_json)
