"""`dreamfleet metrics`: numbers of an experiment over time, and those for Prometheus."""

from __future__ import annotations

from typing import Annotated

import typer

from server.commands.output import Out, fetch, print_json, print_table, when
from server.commands.rest import (
    DEFAULT_SERVER,
    AsJson,
    Experiment,
    Json,
    Server,
    ask,
    calling,
    experiment_id,
    raise_for,
)

app = typer.Typer(no_args_is_help=True, help="Look at metrics and episode returns over time.")

Names = Annotated[list[str] | None, typer.Option("--name", help="A metric; repeatable.")]
Seconds = Annotated[float | None, typer.Option(help="Seconds since 1970-01-01 UTC.")]


@app.command()
def query(
    experiment: Experiment,
    name: Names = None,
    since: Seconds = None,
    until: Seconds = None,
    points: Annotated[int, typer.Option(min=1, max=10_000, help="Points at most.")] = 500,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show the newest value of every metric, or the series that are named."""
    wanted: Json = {"experiment": experiment_id(server, experiment), "name": name or None}
    wanted |= {"since": since, "until": until, "points": points}
    found = ask(server, "GET", "/metrics", query=wanted)
    if as_json:
        print_json(found)
    elif name:
        _print_series(found["series"])
    else:
        print_table(["metric", "newest"], [[k, f"{v:.6g}"] for k, v in found["latest"].items()])


@app.command()
def names(experiment: Experiment, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """List every metric that the experiment has."""
    wanted = {"experiment": experiment_id(server, experiment)}
    found = ask(server, "GET", "/metrics/names", query=wanted)
    print_json(found) if as_json else typer.echo("\n".join(found))


@app.command()
def export(
    experiment: Experiment,
    out: Out,
    name: Names = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Download all values of these metrics, or of all, as CSV."""
    wanted = {"experiment": experiment_id(server, experiment), "name": name or None}
    fetch(server, "/metrics/export.csv", out, as_json, wanted)


@app.command()
def prometheus(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Print what Prometheus reads: the server, its experiments and robots."""
    with calling(server) as api:
        answer = api.get(f"{server}/metrics")
        raise_for(answer)
    print_json(answer.text) if as_json else typer.echo(answer.text, nl=False)


def _print_series(series: Json) -> None:
    rows = [
        [name, when(time), updates, f"{value:.6g}", f"{low:.6g}", f"{high:.6g}"]
        for name, points in series.items()
        for time, updates, value, low, high in zip(
            *(points[each] for each in ("time", "updates", "value", "low", "high")), strict=True
        )
    ]
    print_table(["metric", "when", "updates", "mean", "low", "high"], rows)
