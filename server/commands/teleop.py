"""`dreamfleet teleop`: who drives a robot, and driving one by the keys of this terminal."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Annotated, Any

import typer

from server.commands.complete import headers, trust
from server.commands.output import print_json, print_table, show, when
from server.commands.rest import DEFAULT_SERVER, AsJson, Json, Server, ask, segment
from server.commands.robots import Robot
from server.errors import ServerError

app = typer.Typer(no_args_is_help=True, help="Drive a robot, or see who does.")
FIELDS = ("robot", "holder", "since", "driver", "safety", "reason")


@app.command()
def get(robot: Robot, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Say who has the lease of a robot, who drives it, and which key does what."""
    found = ask(server, "GET", _path(robot))
    if as_json:
        print_json(found)
        return
    print_table([*FIELDS], [[when(found[f]) if f == "since" else found[f] for f in FIELDS]])
    print_table(["key", "what it does"], [list(pair) for pair in found["keys"].items()])


@app.command()
def release(robot: Robot, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Give back a robot that you have the lease of, as from a window that is lost."""
    found: Json = ask(server, "DELETE", _path(robot))
    show(found, as_json, {name: name for name in FIELDS})


@app.command()
def drive(
    robot: Robot,
    speed: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of the way to the bounds.")
    ] = 0.5,
    server: Server = DEFAULT_SERVER,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with what `get` says, in JSON.")
    ] = False,
) -> None:
    """Drive a robot by the keys of this terminal until Ctrl-C; `get` says which does what.

    A key takes over; letting go for a second, or Enter, hands back to the policy. Space is the
    emergency stop.
    """
    from robot_client.teleops.keyboard import Terminal

    with Terminal() as terminal:
        lease = ask(server, "PUT", _path(robot))
        try:
            _drive(server, robot, lease, terminal.keys, speed)
        except KeyboardInterrupt:
            typer.echo(err=True)
        finally:
            left = ask(server, "DELETE", _path(robot), query={"secret": lease["secret"]})
    if as_json:
        print_json(left)


def _drive(
    server: str, robot: str, lease: Json, keys: Callable[[], list[str]], speed: float
) -> None:
    from websockets.exceptions import WebSocketException

    from robot_client.clock import SystemClock
    from robot_client.schema import space_from_json
    from server.commands.driving import Driver

    space: Any = space_from_json(lease["action_space"])
    typer.echo(", ".join(f"{key} {what}" for key, what in lease["keys"].items()), err=True)
    typer.echo("Enter hands back, space is the emergency stop, Ctrl-C ends", err=True)
    try:
        with _opened(server, robot) as socket:

            def exchange(given: Json) -> Json:
                socket.send(json.dumps({"secret": lease["secret"], **given}))
                return dict(json.loads(socket.recv()))

            def stop() -> None:
                ask(server, "POST", f"/robots/{segment(robot)}/stop")

            driver = Driver(space, exchange, stop, SystemClock(), speed)
            driver.run(keys, lambda text: typer.echo(f"\r{text}", nl=False, err=True))
    except WebSocketException as error:
        raise ServerError(f"driving has ended: {error}") from error


def _opened(server: str, robot: str) -> Any:
    from websockets.sync.client import connect

    url = f"{server}/api/v1{_path(robot)}/input".replace("http", "ws", 1)
    trusted = trust(server) if server.startswith("https:") else None
    secure = None if trusted is True else trusted  # True: whom this machine trusts
    try:
        return connect(url, additional_headers=headers(os.environ), ssl=secure)  # type: ignore[arg-type]
    except OSError as error:
        raise ServerError(f"no way to drive through {server}: {error}") from error


def _path(robot: str) -> str:
    return f"/robots/{segment(robot)}/teleop"
