"""`dreamfleet serve`, `demo` and `train`: what runs until it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.errors import Invalid
from server.settings import DEFAULT_DATA, DEFAULT_GATEWAY, Settings

if TYPE_CHECKING:
    from rich.console import Console

Data = Annotated[Path, typer.Option(help="Directory that holds everything.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 finds a free one.")]


def serve(
    data: Data = DEFAULT_DATA,
    host: Annotated[str, typer.Option(help="Address of the REST API and the page.")] = "127.0.0.1",
    port: Port = 8000,
    gateway: Annotated[str, typer.Option(help="Where robots connect.")] = DEFAULT_GATEWAY,
    database: Annotated[str | None, typer.Option(help="SQLAlchemy URL; SQLite if none.")] = None,
    learner_silence: Annotated[
        float, typer.Option(min=1, help="Seconds without a word until a learner is replaced.")
    ] = Settings.learner_silence_s,
    ssl_keyfile: Annotated[Path | None, typer.Option(help="PEM key, to speak HTTPS.")] = None,
    ssl_certfile: Annotated[Path | None, typer.Option(help="PEM certificate for it.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Begin with an object: address, gateway.")
    ] = False,
) -> None:
    """Run the server until Ctrl-C; what is running then goes on at the next start.

    Other machines are let in once robots have keys (dreamfleet keys) and people tokens (dreamfleet
    tokens). Tokens need HTTPS: give a certificate, or stand behind a proxy that has one, or a VPN.
    """
    import asyncio

    if (ssl_keyfile is None) != (ssl_certfile is None):
        raise typer.BadParameter("--ssl-keyfile and --ssl-certfile go together")
    where = (data, host, port, gateway, database, learner_silence, ssl_keyfile, ssl_certfile)
    asyncio.run(_serve(Settings(*where), as_json))


def demo(
    robot: Annotated[str, typer.Option(help="A simulated robot.")] = "ball",
    agent: Annotated[str, typer.Option(help="The algorithm.")] = "dreamer",
    speed: Annotated[str, typer.Option(help="Times real time, or max.")] = "20",
    rows: Annotated[int | None, typer.Option(min=1, help="End after this many rows.")] = None,
    port: Port = 0,
    data: Annotated[Path | None, typer.Option(help="Keep everything here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with a summary in JSON.")] = False,
) -> None:
    """Watch a simulated robot learn: server, learner and robot in one command."""
    import asyncio

    from server.demo import Demo, refuse_wrong, run_demo

    try:
        refuse_wrong(robot, speed)
    except Invalid as error:
        raise typer.BadParameter(str(error)) from error
    raise typer.Exit(asyncio.run(run_demo(Demo(robot, agent, speed, rows, port, data, as_json))))


def train(context: typer.Context) -> None:
    """Train without a server: --lockstep [OPTIONS]; --help says which."""
    arguments = [argument for argument in context.args if argument != "--lockstep"]
    if not {"--lockstep", "--help"} & set(context.args):
        raise typer.BadParameter("say --lockstep; to learn from robots: dreamfleet experiments")
    os.execv(sys.executable, [sys.executable, "-m", "server.train", *arguments])


async def _serve(settings: Settings, as_json: bool) -> None:
    from rich.console import Console

    from server.app import serve_web
    from server.service import run_service
    from server.shutdown import stop_signal

    console = Console(stderr=True)
    stop = stop_signal(lambda: console.print("stopping: learners write their checkpoints …"))
    async with run_service(settings) as service, serve_web(service) as address:
        if not stop.is_set():
            _announce(console, address, settings.gateway, as_json)
        await stop.wait()


def _announce(console: Console, address: str, gateway: str, as_json: bool) -> None:
    if as_json:
        from server.commands.output import print_json

        print_json({"address": address, "gateway": gateway})
    console.print(f"page and API at {address}, robots connect to {gateway}")
