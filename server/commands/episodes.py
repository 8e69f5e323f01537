"""`dreamfleet episodes`: which there are, what happened in one, and what people say of it."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from server.commands.complete import robot_names
from server.commands.output import (
    Columns,
    Limit,
    Offset,
    Out,
    at,
    fetch,
    print_json,
    print_table,
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
    of_experiment,
    segment,
)

app = typer.Typer(no_args_is_help=True, help="Look at episodes, and say what they were.")

Episode = Annotated[str, typer.Argument(help="Id of an episode, as the list says it.")]
Camera = Annotated[str, typer.Argument(help="Column that holds pictures.")]
Seconds = Annotated[float | None, typer.Option(help="Seconds since 1970-01-01 UTC.")]

COLUMNS: Columns = {
    "id": "id",
    "return": lambda episode: f"{episode['total_reward']:.2f}",
    "steps": "steps",
    "ending": "ending",
    "outcome": "outcome",
    "ended": at("ended_at"),
    "policy": lambda episode: f"{episode['policy_first']}-{episode['policy_last']}",
    "by": "source",
    "discarded": lambda episode: "yes" if episode["discarded"] else "no",
    "robot": "robot",
    "task": "task",
}


@app.command("list")
def list_episodes(
    experiment: Experiment,
    robot: Annotated[str | None, typer.Option(autocompletion=robot_names)] = None,
    task: str | None = None,
    source: Annotated[str | None, typer.Option(help="Who chose most of the actions.")] = None,
    outcome: Literal["success", "failure"] | None = None,
    since: Seconds = None,
    until: Seconds = None,
    min_return: float | None = None,
    max_return: float | None = None,
    discarded: Annotated[bool | None, typer.Option("--discarded/--kept")] = None,
    order: Annotated[
        Literal["oldest", "newest"], typer.Option(help="Which come first.")
    ] = "oldest",
    limit: Limit = 100,
    offset: Offset = 0,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """List the finished episodes that no option excludes."""
    wanted: Json = {"robot": robot, "task": task, "source": source, "outcome": outcome}
    wanted |= {"since": since, "until": until, "min_return": min_return, "max_return": max_return}
    wanted |= {"discarded": discarded, "order": order, "limit": limit, "offset": offset}
    path = of_experiment(server, experiment, "/episodes")
    show_page(server, path, COLUMNS, as_json, wanted)


@app.command()
def get(
    experiment: Experiment,
    episode: Episode,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show one finished episode."""
    show(ask(server, "GET", _path(server, experiment, episode)), as_json)


@app.command()
def mark(
    experiment: Experiment,
    episode: Episode,
    outcome: Annotated[
        Literal["success", "failure", "none"] | None, typer.Option(help="none takes it back.")
    ] = None,
    discarded: Annotated[
        bool | None, typer.Option("--discarded/--kept", help="Whether it is not learned from.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Say whether the task was done, or that the episode is not to be learned from."""
    said: Json = {}
    if outcome is not None:
        said["outcome"] = None if outcome == "none" else outcome
    if discarded is not None:
        said["discarded"] = discarded
    if not said:
        raise typer.BadParameter("say --outcome, --discarded or --kept")
    show(ask(server, "PATCH", _path(server, experiment, episode), said), as_json, COLUMNS)


@app.command()
def signals(
    experiment: Experiment,
    episode: Episode,
    name: Annotated[
        list[str] | None, typer.Option(help="A column; repeatable; all but pictures if none.")
    ] = None,
    points: Annotated[int, typer.Option(min=2, max=10_000, help="Rows at most.")] = 1000,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show the numbers of an episode over its rows; without --json, the first and the last."""
    path = f"{_path(server, experiment, episode)}/signals"
    found = ask(server, "GET", path, query={"name": name or None, "points": points})
    if as_json:
        print_json(found)
        return
    rows = [[column, each[0], each[-1]] for column, each in found["columns"].items() if each]
    print_table(["column", "first", f"last of {found['rows']} rows"], rows)


@app.command()
def video(
    experiment: Experiment,
    episode: Episode,
    camera: Camera,
    out: Out,
    frames: Annotated[int, typer.Option(min=1, max=600, help="Pictures at most.")] = 200,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Download what a camera saw, as an animated PNG that lasts as long as the episode did."""
    path = f"{_path(server, experiment, episode)}/video/{segment(camera)}.png"
    with working("the server makes the film"):
        fetch(server, path, out, as_json, {"frames": frames})


@app.command()
def frame(
    experiment: Experiment,
    episode: Episode,
    camera: Camera,
    row: Annotated[int, typer.Argument(min=0, help="Row of the episode, from 0.")],
    out: Out,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Download what a camera saw at one row, as PNG."""
    path = f"{_path(server, experiment, episode)}/frames/{segment(camera)}/{row}.png"
    fetch(server, path, out, as_json)


def _path(server: str, experiment: str, episode: str) -> str:
    return of_experiment(server, experiment, f"/episodes/{segment(episode)}")
