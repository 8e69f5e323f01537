"""The command `dreamfleet`: one file per resource in `server.commands`, one row per file here.

What a command needs is loaded when it runs: to complete a name, no web framework is imported.
"""

from __future__ import annotations

import typer

from robot_client.errors import DreamfleetError
from server.commands import (
    agents,
    audit,
    checkpoints,
    data,
    doctor,
    episodes,
    evaluations,
    events,
    experiments,
    health,
    keys,
    metrics,
    policies,
    replay,
    robots,
    serving,
    teleop,
    tokens,
)
from server.commands.exits import exit_code

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 fine, 1 refused or failed, 2 wrong usage, 3 no server, 4 not allowed,"
    " 5 no such thing, 130 broken off.",
)
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.callback()
def dreamfleet() -> None:
    """Robots that learn on the job."""


app.command("serve")(serving.serve)
app.command("demo")(serving.demo)
app.command("train", add_help_option=False, context_settings=PASSED_ON)(serving.train)
app.command("doctor")(doctor.doctor)
app.add_typer(agents.app, name="agents")
app.add_typer(experiments.app, name="experiments")
app.add_typer(robots.app, name="robots")
app.add_typer(teleop.app, name="teleop")
app.add_typer(policies.app, name="policies")
app.add_typer(checkpoints.app, name="checkpoints")
app.add_typer(episodes.app, name="episodes")
app.add_typer(evaluations.app, name="evaluations")
app.add_typer(metrics.app, name="metrics")
app.add_typer(events.app, name="events")
app.add_typer(replay.app, name="replay")
app.add_typer(data.app, name="data")
app.add_typer(keys.app, name="keys")
app.add_typer(tokens.app, name="tokens")
app.command("audit")(audit.audit)
app.command("health")(health.health)
app.command("ready")(health.ready)
app.command("whoami")(health.whoami)


def main() -> None:
    """Run the command; errors of ours are one line on stderr and an exit code: see `exits`.

    The script's way in is `server.__main__`, which minds Ctrl-C while this file is loaded.
    """
    try:
        app()
    except DreamfleetError as error:
        from rich.console import Console
        from rich.markup import escape

        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        raise SystemExit(exit_code(error)) from error


if __name__ == "__main__":
    main()
