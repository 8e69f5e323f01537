"""`dreamfleet data`: export episodes, and keep datasets that experiments can begin with."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from robot_client.clock import SystemClock
from robot_client.durable import sync_directory
from server.commands.complete import dataset_names, experiment_names, robot_names
from server.commands.exits import FAILED
from server.commands.output import Columns, Yes, confirm, listed, print_json, show
from server.commands.rest import (
    DEFAULT_SERVER,
    AsJson,
    Json,
    Server,
    ask,
    calling,
    experiment_id,
    given,
    raise_for,
    segment,
)
from server.errors import Invalid, ServerError

if TYPE_CHECKING:
    import httpx

app = typer.Typer(no_args_is_help=True, help="Export episodes, and keep datasets of them.")

# As in server.datasets, which takes a second to load.
FormatName = Literal["lerobot", "minari"]
Images = Literal["png", "video"]
MARKS = ("dreamfleet.json", "meta/info.json", "data/metadata.json", "metadata.json")

Dataset = Annotated[str, typer.Argument(help="Name of a dataset.", autocompletion=dataset_names)]
Job = Annotated[str, typer.Argument(help="Id of a job.")]
Export = Annotated[str, typer.Argument(help="Id of an export, which is its job's.")]
_POLL_S = 0.2

COLUMNS: Columns = {
    "name": "name",
    "format": "format",
    "episodes": "episodes",
    "rows": "rows",
    "robots": listed("robots"),
    "tasks": listed("tasks"),
}
JOBS: Columns = {
    "job": "id",
    "kind": "kind",
    "of": "name",
    "state": "state",
    "done": lambda job: f"{job['done']}/{job['total']}" if job["total"] else job["done"],
    "error": "error",
}


@app.command()
def export(
    experiment: Annotated[
        str,
        typer.Argument(help="Id or name of the experiment.", autocompletion=experiment_names),
    ],
    format_name: Annotated[FormatName, typer.Option("--format", help="What to write.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to make; none: the export stays on the server.")
    ] = None,
    images: Annotated[
        Images, typer.Option(help="png keeps every bit; video is H.264 and loses some.")
    ] = "png",
    episodes: Annotated[str, typer.Option(help="Such as 0-9,12; all if none.")] = "",
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Export an experiment's episodes as a LeRobotDataset v3.0 or as a Minari dataset."""
    _refuse_existing(out)
    ident = experiment_id(server, experiment)
    wanted = {"experiment": ident, "format": format_name, "images": images, "episodes": episodes}
    job = _wait(server, ask(server, "POST", "/exports", wanted))
    made = job["result"] | {"id": job["id"], "out": str(out) if out else None}
    if out is not None:
        _fetch(server, job["id"], out)
        ask(server, "DELETE", f"/exports/{job['id']}")
    if as_json:
        print_json(made)
        return
    where = out or f"export {job['id']} of the server; fetch it: dreamfleet data download"
    typer.echo(f"{made['episodes']} episodes, {made['rows']} rows in {where}")
    for text in made["left_out"]:
        typer.echo(f"not in it: {text}", err=True)


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="A LeRobotDataset v3.0, or a Minari dataset.")],
    name: Annotated[str, typer.Option(help="What the dataset is to be called.")],
    robot: Annotated[
        str | None,
        typer.Option(
            help="Whose spaces a dataset of others should have.", autocompletion=robot_names
        ),
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Import a dataset that experiments can begin with: all of it, or nothing."""
    from server.datasets.archive import pack

    if not any((folder / mark).is_file() for mark in MARKS):
        raise typer.BadParameter(f"{folder} has none of {', '.join(MARKS)}")
    with calling(server, None) as api:
        path, asked = f"/datasets/{segment(name)}", given({"robot": robot})
        begun = api.put(path, params=asked, content=pack(folder))
        raise_for(begun)
    made = _wait(server, begun.json())["result"]
    show(made, as_json, COLUMNS)
    for text in [] if as_json else made["notes"]:
        typer.echo(f"note: {text}", err=True)


@app.command("list")
def list_(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """List every dataset."""
    show(ask(server, "GET", "/datasets"), as_json, COLUMNS)


@app.command()
def get(name: Dataset, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Show one dataset, with its spaces and the hash of its contents."""
    show(ask(server, "GET", f"/datasets/{segment(name)}"), as_json)


@app.command()
def verify(name: Dataset, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Check that a dataset is whole and as it was imported; exit code 1 if it is not."""
    job = ask(server, "POST", f"/datasets/{segment(name)}/verify")
    found = _wait(server, job)["result"]
    if as_json:
        print_json(found)
    else:
        typer.echo(f"{found['rows']} rows, {len(found['problems'])} problems")
        for problem in found["problems"]:
            typer.echo(problem, err=True)
    if found["problems"]:
        raise typer.Exit(FAILED)


@app.command()
def delete(
    name: Dataset, yes: Yes = False, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """Delete a dataset. Experiments that began with it keep their copy."""
    confirm(f"Delete the dataset {name}?", yes)
    show(ask(server, "DELETE", f"/datasets/{segment(name)}"), as_json)


@app.command()
def exports(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """List the ids of the finished exports that are still on the server."""
    found = ask(server, "GET", "/exports")
    print_json(found) if as_json else typer.echo("\n".join(found))


@app.command()
def download(
    ident: Export,
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Download a finished export, and check that every bit has arrived."""
    _refuse_existing(out)
    _fetch(server, ident, out)
    show({"id": ident, "out": str(out)}, as_json)


@app.command()
def delete_export(ident: Export, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Delete a finished export from the server."""
    show(ask(server, "DELETE", f"/exports/{segment(ident)}"), as_json)


@app.command()
def jobs(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """List the newest exports, imports and checks since the server started, oldest first."""
    show(ask(server, "GET", "/jobs"), as_json, JOBS)


@app.command()
def job(ident: Job, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Show how far a job is."""
    show(ask(server, "GET", f"/jobs/{segment(ident)}"), as_json)


def _refuse_existing(out: Path | None) -> None:
    if out is not None and out.exists():
        raise typer.BadParameter(f"{out} exists: choose another folder")


def _wait(server: str, job: Json) -> Any:
    """The job once it is done, with a bar on stderr. Raises ServerError when it has failed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    clock = SystemClock()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(job["kind"], total=None)
        while job["state"] == "running":
            clock.sleep_until(clock.monotonic() + _POLL_S)
            job = ask(server, "GET", f"/jobs/{job['id']}")
            bar.update(task, completed=job["done"], total=job["total"] or None)
    if job["state"] == "failed":
        raise ServerError(job["error"])
    return job


def _fetch(server: str, ident: str, out: Path) -> None:
    """Download an export, which gets its name when it is whole."""
    from server.datasets.export import make_durable
    from server.datasets.manifest import FILE, check_files, read_manifest

    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        with (
            calling(server, None) as api,
            api.stream("GET", f"/exports/{segment(ident)}/archive") as answer,
        ):
            raise_for(answer)
            _unpack(answer, part, out.name)
        manifest = read_manifest(part)
        if manifest is None:
            raise Invalid("archive", f"a {FILE}", "none")
        check_files(part, manifest)
        make_durable(part)
        part.rename(out)
        sync_directory(out.absolute().parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _unpack(answer: httpx.Response, folder: Path, name: str) -> None:
    """Unpack a stream as it comes, with a bar on stderr that counts bytes."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from server.datasets.archive import Parts, unpack

    columns = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None)

        def counted(data: bytes) -> bytes:
            bar.advance(task, len(data))
            return data

        unpack(io.BufferedReader(Parts(map(counted, answer.iter_bytes()))), folder)
