"""The command `dreamfleet`: serve, demo, train, agents, experiments, data, keys, tokens, audit."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from robot_client.errors import DreamfleetError
from server.app import serve_web
from server.commands import audit, keys, tokens
from server.commands import data as data_commands
from server.commands.rest import DEFAULT_SERVER, AsJson, Server, ask, print_json
from server.demo import Demo, run_demo
from server.service import run_service
from server.settings import DEFAULT_DATA, DEFAULT_GATEWAY, Settings
from server.shutdown import stop_signal

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
experiments = typer.Typer(no_args_is_help=True, help="Create, look at, and steer experiments.")
app.add_typer(experiments, name="experiments")
app.add_typer(data_commands.app, name="data")
app.add_typer(keys.app, name="keys")
app.add_typer(tokens.app, name="tokens")
app.command("audit")(audit.audit)

Data = Annotated[Path, typer.Option(help="Directory that holds everything.")]


@app.callback()
def dreamfleet() -> None:
    """Robots that learn on the job."""


@app.command()
def serve(
    data: Data = DEFAULT_DATA,
    host: Annotated[str, typer.Option(help="Address of the REST API and the page.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Its port; 0 finds a free one.")] = 8000,
    gateway: Annotated[str, typer.Option(help="Where robots connect.")] = DEFAULT_GATEWAY,
    database: Annotated[str | None, typer.Option(help="SQLAlchemy URL; SQLite if none.")] = None,
    learner_silence: Annotated[
        float, typer.Option(min=1, help="Seconds without a word until a learner is replaced.")
    ] = Settings.learner_silence_s,
    ssl_keyfile: Annotated[Path | None, typer.Option(help="PEM key, to speak HTTPS.")] = None,
    ssl_certfile: Annotated[Path | None, typer.Option(help="PEM certificate for it.")] = None,
) -> None:
    """Run the server until Ctrl-C; what is running then goes on at the next start.

    Other machines are let in once robots have keys (dreamfleet keys) and people tokens (dreamfleet
    tokens). Tokens need HTTPS: give a certificate, or stand behind a proxy that has one, or a VPN.
    """
    if (ssl_keyfile is None) != (ssl_certfile is None):
        raise typer.BadParameter("--ssl-keyfile and --ssl-certfile go together")
    where = (data, host, port, gateway, database, learner_silence, ssl_keyfile, ssl_certfile)
    asyncio.run(_serve(Settings(*where)))


@app.command()
def demo(
    robot: Annotated[str, typer.Option(help="A simulated robot.")] = "ball",
    agent: Annotated[str, typer.Option(help="The algorithm.")] = "dreamer",
    speed: Annotated[str, typer.Option(help="Times real time, or max.")] = "20",
    rows: Annotated[int | None, typer.Option(min=1, help="End after this many rows.")] = None,
    port: Annotated[int, typer.Option(help="Port of the page; 0 finds a free one.")] = 0,
    data: Annotated[Path | None, typer.Option(help="Keep everything here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with a summary in JSON.")] = False,
) -> None:
    """Watch a simulated robot learn: server, learner and robot in one command."""
    raise typer.Exit(asyncio.run(run_demo(Demo(robot, agent, speed, rows, port, data, as_json))))


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def train(context: typer.Context) -> None:
    """Train without a server: --lockstep [OPTIONS]; --lockstep --help says which."""
    arguments = [argument for argument in context.args if argument != "--lockstep"]
    if "--lockstep" not in context.args:
        raise typer.BadParameter("say --lockstep; to learn from robots: dreamfleet experiments")
    os.execv(sys.executable, [sys.executable, "-m", "server.lockstep", *arguments])


@app.command()
def agents(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """List the algorithms of a running server and their settings."""
    found = ask(server, "GET", "/agents")
    if as_json:
        print_json(found)
        return
    table = Table("agent", "what it is", "settings")
    for agent in found:
        settings = (agent["config_schema"] or {}).get("properties", {})
        about = agent["error"] or agent["doc"].partition("\n")[0]
        table.add_row(agent["name"], about, ", ".join(settings))
    Console().print(table)


@experiments.command("list")
def list_experiments(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """List every experiment, oldest first."""
    found = ask(server, "GET", "/experiments?limit=1000")["items"]
    print_json(found) if as_json else _print_experiments(found)


@experiments.command()
def create(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    agent: Annotated[str, typer.Option(help="The algorithm.")] = "dreamer",
    config: Annotated[str, typer.Option(help="Its settings, as a JSON object.")] = "{}",
    robot: Annotated[list[str] | None, typer.Option(help="May join; repeatable.")] = None,
    preset: Annotated[str | None, typer.Option(help="Named settings to begin with.")] = None,
    train_ratio: Annotated[float | None, typer.Option(help="Rows replayed per row stored.")] = None,
    min_rows: Annotated[int | None, typer.Option(help="Rows before learning begins.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the learner's randomness.")] = 0,
    demonstrations: Annotated[
        list[str] | None, typer.Option(help="A dataset to begin with; repeatable.")
    ] = None,
    start: Annotated[bool, typer.Option("--start", help="Start it at once.")] = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Create an experiment."""
    try:
        settings = json.loads(config)
    except ValueError as error:
        raise typer.BadParameter(f"--config is not JSON: {error}") from error
    new = {"name": name, "agent": agent, "config": settings, "robots": robot or [], "seed": seed}
    new |= {"demonstrations": demonstrations} if demonstrations else {}
    limits = {"preset": preset, "train_ratio": train_ratio, "min_rows": min_rows}
    new |= {key: value for key, value in limits.items() if value is not None}
    made = ask(server, "POST", "/experiments", new)
    if start:
        made = ask(server, "POST", f"/experiments/{made['id']}/start")
    print_json(made) if as_json else _print_experiments([made])


@experiments.command()
def get(experiment: str, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Show one experiment."""
    found = ask(server, "GET", f"/experiments/{experiment}")
    print_json(found) if as_json else _print_experiments([found])


def _verb(verb: str, doc: str) -> None:
    @experiments.command(verb, help=doc)
    def change(experiment: str, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
        changed = ask(server, "POST", f"/experiments/{experiment}/{verb}")
        print_json(changed) if as_json else _print_experiments([changed])


_verb("start", "Let robots join and learning begin, or go on where it stopped.")
_verb("stop", "Let the learner checkpoint and end.")
_verb("pause", "Let robots and learner wait.")
_verb("resume", "Let robots and learner go on.")


async def _serve(settings: Settings) -> None:
    console = Console(stderr=True)
    stop = stop_signal()
    async with run_service(settings) as service, serve_web(service) as address:
        console.print(f"page and API at {address}, robots connect to {settings.gateway}")
        await stop.wait()
        console.print("closing: learners write their checkpoints")


def _print_experiments(found: list[dict[str, Any]]) -> None:
    table = Table("id", "name", "agent", "state", "learner", "rows", "updates", "policy")
    for e in found:
        learner = e["learner"]
        how = f"{learner['state']}: {learner['reason']}" if learner["reason"] else learner["state"]
        numbers = (e["rows"], learner["updates"], e["policy_version"])
        table.add_row(e["id"], e["name"], e["agent"], e["state"], how, *map(str, numbers))
    Console().print(table)


def main() -> None:
    """Run the command; errors of ours are one line on stderr and exit code 1."""
    try:
        app()
    except DreamfleetError as error:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
