"""`dreamfleet data`: export episodes, and keep datasets that experiments can begin with."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from robot_client.clock import SystemClock
from robot_client.durable import sync_directory
from server.commands.rest import DEFAULT_SERVER, AsJson, Server, print_json
from server.datasets.archive import Parts, pack, unpack
from server.datasets.export import make_durable
from server.datasets.lerobot import Images
from server.datasets.manifest import FILE, FormatName, check_files, read_manifest
from server.errors import Invalid, ServerError

app = typer.Typer(no_args_is_help=True, help="Export episodes, and keep datasets of them.")

_POLL_S = 0.2
_MARKS = (FILE, "meta/info.json", "data/metadata.json", "metadata.json")

Json = dict[str, Any]


@app.command()
def export(
    experiment: Annotated[str, typer.Argument(help="Id of the experiment.")],
    format_name: Annotated[FormatName, typer.Option("--format", help="What to write.")],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    images: Annotated[
        Images, typer.Option(help="png keeps every bit; video is H.264 and loses some.")
    ] = "png",
    episodes: Annotated[str, typer.Option(help="Such as 0-9,12; all if none.")] = "",
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Export an experiment's episodes as a LeRobotDataset v3.0 or as a Minari dataset."""
    if out.exists():
        raise typer.BadParameter(f"{out} exists: choose another folder")
    wanted = {"experiment": experiment, "format": format_name, "images": images}
    with _api(server) as api:
        job = _wait(api, _json(api.post("/exports", json=wanted | {"episodes": episodes})))
        _fetch(api, job["id"], out)
        _raise(api.delete(f"/exports/{job['id']}"))
    made = job["result"]
    if as_json:
        print_json(made | {"out": str(out)})
        return
    Console().print(f"{made['episodes']} episodes, {made['rows']} rows in {out}", markup=False)
    for text in made["left_out"]:
        Console(stderr=True).print(f"not in it: {text}", markup=False)


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="A LeRobotDataset v3.0, or a Minari dataset.")],
    name: Annotated[str, typer.Option(help="What the dataset is to be called.")],
    robot: Annotated[
        str | None, typer.Option(help="Whose spaces a dataset of others should have.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Import a dataset that experiments can begin with: all of it, or nothing."""
    if not any((folder / mark).is_file() for mark in _MARKS):
        raise typer.BadParameter(f"{folder} has none of {', '.join(_MARKS)}")
    with _api(server) as api:
        asked = {"robot": robot} if robot else {}
        begun = api.put(f"/datasets/{_segment(name)}", params=asked, content=pack(folder))
        made = _wait(api, _json(begun))["result"]
    _show([made], as_json)
    for text in [] if as_json else made["notes"]:
        Console(stderr=True).print(f"note: {text}", markup=False)


@app.command("list")
def list_(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """List every dataset."""
    with _api(server) as api:
        found = _json(api.get("/datasets"))
    print_json(found) if as_json else _show(found, as_json)


@app.command()
def verify(name: str, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Check that a dataset is whole and as it was imported; exit code 1 if it is not."""
    with _api(server) as api:
        found = _wait(api, _json(api.post(f"/datasets/{_segment(name)}/verify")))["result"]
    if as_json:
        print_json(found)
    else:
        Console().print(f"{found['rows']} rows, {len(found['problems'])} problems")
        for problem in found["problems"]:
            Console(stderr=True).print(problem, markup=False)
    if found["problems"]:
        raise typer.Exit(1)


@app.command()
def delete(name: str, server: Server = DEFAULT_SERVER) -> None:
    """Delete a dataset. Experiments that began with it keep their copy."""
    with _api(server) as api:
        _raise(api.delete(f"/datasets/{_segment(name)}"))


@contextmanager
def _api(server: str) -> Iterator[httpx.Client]:
    """A client of the API. Raises ServerError when there is no server."""
    token = os.environ.get("DREAMFLEET_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.Client(base_url=f"{server}/api/v1", headers=headers, timeout=None) as client:
            yield client
    except httpx.TransportError as error:
        raise ServerError(
            f"no server at {server} ({error}); start one: dreamfleet serve"
        ) from error


def _raise(answer: httpx.Response) -> None:
    """Raise ServerError with what the server says is wrong."""
    if answer.is_error:
        answer.read()
        try:
            detail = str(answer.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = f"{answer.url} answered {answer.status_code}: {answer.text[:200]}"
        raise ServerError(detail)


def _json(answer: httpx.Response) -> Any:
    _raise(answer)
    return answer.json()


def _wait(api: httpx.Client, job: Json) -> Json:
    """The job once it is done, with a bar on stderr. Raises ServerError when it has failed."""
    clock = SystemClock()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(job["kind"], total=None)
        while job["state"] == "running":
            clock.sleep_until(clock.monotonic() + _POLL_S)
            job = _json(api.get(f"/jobs/{job['id']}"))
            bar.update(task, completed=job["done"], total=job["total"] or None)
    if job["state"] == "failed":
        raise ServerError(job["error"])
    return job


def _fetch(api: httpx.Client, export_id: str, out: Path) -> None:
    """Download an export, which gets its name when it is whole."""
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        with api.stream("GET", f"/exports/{export_id}/archive") as answer:
            _raise(answer)
            unpack(io.BufferedReader(Parts(answer.iter_bytes())), part)
        manifest = read_manifest(part)
        if manifest is None:
            raise Invalid("archive", f"a {FILE}", "none")
        check_files(part, manifest)
        make_durable(part)
        part.rename(out)
        sync_directory(out.absolute().parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _segment(name: str) -> str:
    return quote(name, safe="")


def _show(found: list[Json], as_json: bool) -> None:
    if as_json:
        print_json(found[0])
        return
    table = Table("name", "format", "episodes", "rows", "robots", "tasks")
    for one in found:
        names = (", ".join(one["robots"]), ", ".join(one["tasks"]))
        table.add_row(one["name"], one["format"], str(one["episodes"]), str(one["rows"]), *names)
    Console().print(table)
