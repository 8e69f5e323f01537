"""`dreamfleet robots`: how robots are, and what they are told."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from typing import Annotated, Any

import typer

from robot_client.clock import SystemClock
from server.commands.complete import experiment_names, robot_names
from server.commands.live import follow
from server.commands.output import (
    Columns,
    Limit,
    Offset,
    Out,
    Yes,
    cells_of,
    confirm,
    fetch,
    print_json,
    show,
    show_page,
    table_of,
)
from server.commands.rest import (
    DEFAULT_SERVER,
    AsJson,
    Json,
    Server,
    ask,
    experiment_id,
    segment,
)
from server.errors import ServerError

app = typer.Typer(no_args_is_help=True, help="See how robots are, and tell them what to do.")

Robot = Annotated[str, typer.Argument(help="Name of a robot.", autocompletion=robot_names)]
OfExperiment = Annotated[
    str | None,
    typer.Option(help="Of this one only, by id or name.", autocompletion=experiment_names),
]
_LOOK_S = 0.1


def _loop(robot: Json) -> str | None:
    """Hz of its loop, and asked for."""
    return None if robot["loop_hz"] is None else f"{robot['loop_hz']:.1f}/{robot['control_hz']:g}"


COLUMNS: Columns = {
    "robot": "name",
    "state": "state",
    "safety": "safety",
    "why": "reason",
    "Hz": _loop,
    "experiment": "experiment",
    "policy": "policy_version",
    "missed": "missed_ticks",
    "waiting rows": "backlog_rows",
    "episode": "episode",
}


@app.command("list")
def list_robots(
    limit: Limit = 100, offset: Offset = 0, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """List every robot that ever connected."""
    show_page(server, "/robots", COLUMNS, as_json, {"limit": limit, "offset": offset})


@app.command()
def get(robot: Robot, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Show one robot, with what its last heartbeat said."""
    show(ask(server, "GET", f"/robots/{segment(robot)}"), as_json)


@app.command()
def assign(
    robot: Robot,
    experiment: Annotated[
        str | None,
        typer.Argument(
            help="Id or name; none: any that has a place.", autocompletion=experiment_names
        ),
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Let a robot join one experiment only; it ends its episode, delivers its rows and moves."""
    ident = None if experiment is None else experiment_id(server, experiment)
    path = f"/robots/{segment(robot)}/experiment"
    show(ask(server, "PUT", path, {"experiment": ident}), as_json, COLUMNS)


@app.command()
def delete(
    robot: Robot,
    yes: Yes = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Forget a robot that is away; its rows and keys stay, and it is back when it says hello."""
    confirm(f"Remove robot {robot} from the list?", yes)
    show(ask(server, "DELETE", f"/robots/{segment(robot)}"), as_json)


@app.command()
def camera(
    robot: Robot, out: Out, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """Download what the robot saw last, as PNG."""
    fetch(server, f"/robots/{segment(robot)}/camera.png", out, as_json)


@app.command()
def command(
    number: Annotated[int, typer.Argument(help="Number that the command was given.")],
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show what became of a command."""
    show(ask(server, "GET", f"/commands/{number}"), as_json)


@app.command()
def watch(
    experiment: OfExperiment = None,
    count: Annotated[int, typer.Option(min=0, help="End after so many looks; 0: never.")] = 0,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show the robots live until Ctrl-C; with --json, a line for each change."""
    news = (data["robots"] for kind, data in follow(server, experiment) if kind == "robots")
    looks = news if count == 0 else islice(news, count)
    if as_json:
        for robots in looks:
            typer.echo(json.dumps(robots))
    else:
        _watch(looks)


def _watch(looks: Iterable[list[Json]]) -> None:
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(), auto_refresh=False) as live:
        for robots in looks:
            live.update(
                table_of(list(COLUMNS), cells_of(robots, COLUMNS), live.console.width), refresh=True
            )


def _verb(verb: str, doc: str) -> None:
    @app.command(verb.replace("_", "-"), help=doc)
    def tell(
        robot: Robot,
        wait: Annotated[
            float, typer.Option(min=0, help="Seconds to wait until the robot has obeyed.")
        ] = 0.0,
        server: Server = DEFAULT_SERVER,
        as_json: AsJson = False,
    ) -> None:
        told = ask(server, "POST", f"/robots/{segment(robot)}/{verb}")
        if wait:
            told = _obeyed(server, told, wait)
        print_json(told) if as_json else typer.echo(f"{robot}: {verb}, command {told['id']}")


def _obeyed(server: str, told: Json, patience_s: float) -> Any:
    """The command once the robot has obeyed it. Raises ServerError when it has not, or not yet."""
    clock = SystemClock()
    end = clock.monotonic() + patience_s
    while True:
        order = ask(server, "GET", f"/commands/{told['id']}")
        if order["done"]:
            break
        if clock.monotonic() >= end:
            who = f"{order['robot']} has not answered {order['verb']}"
            raise ServerError(f"{who} within {patience_s:g} s; command {order['id']} stands")
        clock.sleep_until(clock.monotonic() + _LOOK_S)
    if order["error"]:
        raise ServerError(f"{order['robot']} did not {order['verb']}: {order['error']}")
    return order


_verb("stop", "Emergency stop: at once, latched until release.")
_verb("release", "Let go of the emergency stop.")
_verb("pause", "End the episode and stand still until resume.")
_verb("resume", "Go on after a pause.")
_verb("reset", "End the episode, reset the robot, and begin another.")
_verb("end_episode", "End the episode and begin another.")
_verb("success", "End the episode as one whose task was done, and mark it.")
_verb("failure", "End the episode as one whose task was not done, and mark it.")
_verb("discard", "End the episode and keep its rows from being learned from.")
