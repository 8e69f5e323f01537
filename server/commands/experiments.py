"""`dreamfleet experiments`: create, look at, and steer experiments."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from server.commands.complete import agent_names, dataset_names, robot_names
from server.commands.events import COLUMNS as EVENT_COLUMNS
from server.commands.output import (
    Columns,
    Limit,
    Offset,
    Out,
    Yes,
    confirm,
    fetch,
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
    experiment_id,
    given,
    of_experiment,
    parsed,
)

app = typer.Typer(no_args_is_help=True, help="Create, look at, and steer experiments.")

Notes = Annotated[str | None, typer.Option(help="Whatever people want to add.")]


def _learner(experiment: Json) -> str:
    learner = experiment["learner"]
    why = learner["reason"] or learner["waits"]
    return f"{learner['state']}: {why}" if why else learner["state"]


COLUMNS: Columns = {
    "id": "id",
    "name": "name",
    "agent": "agent",
    "state": "state",
    "rows": "rows",
    "updates": lambda experiment: experiment["learner"]["updates"],
    "policy": "policy_version",
    "learner": _learner,
}


@app.command("list")
def list_experiments(
    limit: Limit = 1000,
    offset: Offset = 0,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """List every experiment, oldest first."""
    show_page(server, "/experiments", COLUMNS, as_json, {"limit": limit, "offset": offset})


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    agent: Annotated[
        str, typer.Option(help="The algorithm.", autocompletion=agent_names)
    ] = "dreamer",
    config: Annotated[str, typer.Option(help="Its settings, as a JSON object.")] = "{}",
    robot: Annotated[
        list[str] | None,
        typer.Option(help="May join; repeatable.", autocompletion=robot_names),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Named settings to begin with.")] = None,
    train_ratio: Annotated[float | None, typer.Option(help="Rows replayed per row stored.")] = None,
    min_rows: Annotated[int | None, typer.Option(help="Rows before learning begins.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the learner's randomness.")] = 0,
    learner: Annotated[
        str, typer.Option(help="Further settings of the learner, as a JSON object.")
    ] = "{}",
    demonstrations: Annotated[
        list[str] | None,
        typer.Option(help="A dataset to begin with; repeatable.", autocompletion=dataset_names),
    ] = None,
    notes: Notes = None,
    start: Annotated[bool, typer.Option("--start", help="Start it at once.")] = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Create an experiment."""
    new: Json = {"name": name, "agent": agent, "config": parsed(config, "--config")}
    new |= parsed(learner, "--learner") | {"robots": robot or [], "seed": seed}
    limits = {"preset": preset, "train_ratio": train_ratio, "min_rows": min_rows, "notes": notes}
    new |= given(limits | {"demonstrations": demonstrations or None})
    with working("creating the experiment"):
        made = ask(server, "POST", "/experiments", new)
    if start:
        made = ask(server, "POST", f"/experiments/{made['id']}/start")
    show(made, as_json, COLUMNS)


@app.command()
def get(experiment: Experiment, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Show one experiment, with its settings and the datasets that it began with."""
    show(ask(server, "GET", of_experiment(server, experiment)), as_json)


@app.command()
def edit(
    experiment: Experiment,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    notes: Notes = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Change an experiment's name or notes, in any state."""
    if name is None and notes is None:
        raise typer.BadParameter("say --name or --notes")
    change = given({"name": name, "notes": notes})
    show(ask(server, "PATCH", of_experiment(server, experiment), change), as_json, COLUMNS)


@app.command()
def delete(
    experiment: Experiment,
    yes: Yes = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Remove an experiment with its rows, policies and checkpoints, for good."""
    ident = experiment_id(server, experiment)
    confirm(f"Remove experiment {ident} with all its rows, policies and checkpoints?", yes)
    gone = ask(server, "DELETE", f"/experiments/{ident}", query={"confirm": ident})
    show(gone, as_json)


@app.command()
def duplicate(
    experiment: Experiment, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """Create another with the same settings, robots and demonstrations, and no other data."""
    with working("creating the experiment"):
        made = ask(server, "POST", of_experiment(server, experiment, "/duplicate"))
    show(made, as_json, COLUMNS)


@app.command()
def events(
    experiment: Experiment,
    limit: Limit = 50,
    offset: Offset = 0,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show what an operator should know of one experiment, newest first."""
    path = of_experiment(server, experiment, "/events")
    show_page(server, path, EVENT_COLUMNS, as_json, {"limit": limit, "offset": offset})


@app.command()
def report(
    experiment: Experiment, out: Out, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """Download the newest picture (PNG) of what the learner knows."""
    fetch(server, of_experiment(server, experiment, "/reports/latest"), out, as_json)


def _verb(verb: str, doc: str, doing: str) -> None:
    @app.command(verb, help=doc)
    def change(
        experiment: Experiment, server: Server = DEFAULT_SERVER, as_json: AsJson = False
    ) -> None:
        path = of_experiment(server, experiment, f"/{verb}")
        with working(doing):
            changed: Any = ask(server, "POST", path)
        show(changed, as_json, COLUMNS)


_verb("start", "Let robots join and learning begin, or go on where it stopped.", "starting")
_verb("stop", "Let the learner checkpoint and end.", "the learner writes its checkpoint")
_verb("pause", "Let robots and learner wait.", "pausing")
_verb("resume", "Let robots and learner go on.", "resuming")
