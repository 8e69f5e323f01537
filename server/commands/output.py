"""What the commands print: JSON or tables to stdout, progress and remarks to stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.commands.rest import Json, Query, ask, calling, given, raise_for
from server.errors import ServerError

if TYPE_CHECKING:
    from rich.table import Table

Columns = Mapping[str, str | Callable[[Json], Any]]  # header -> field, or what makes the cell of it
_LEAST = 16  # characters of a cell that are never broken: a time has so many
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many, at most.")]
Offset = Annotated[int, typer.Option(min=0, help="How many to leave out before them.")]
Out = Annotated[Path, typer.Option(help="File to write; it must not be there yet.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def print_json(value: Any) -> None:
    """To stdout."""
    typer.echo(json.dumps(value, indent=1))


def print_table(columns: list[str], rows: list[list[Any]]) -> None:
    """To stdout; None is a hyphen. A terminal that is narrow gets the first columns, and a remark;
    what goes elsewhere is as wide as it needs to be."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, sum(_widths(columns, rows)) + 3 * len(columns) + 1)
    table = table_of(columns, rows, console.width)
    console.print(table)
    if left_out := columns[len(table.columns) :]:
        typer.echo(f"no room for {', '.join(left_out)}; a wider window or --json has it", err=True)


def table_of(columns: list[str], rows: list[list[Any]], width: int) -> Table:
    """A table whose cells are plain text: a key may look like markup.

    The first column says which, and is never broken, nor is a heading or a short cell. Columns that
    have no room in `width` characters are left out, from the last.
    """
    from rich.table import Table
    from rich.text import Text

    natural = _widths(columns, rows)
    others = zip(columns[1:], natural[1:], strict=True)
    least = [natural[0], *(max(len(name), min(size, _LEAST)) for name, size in others)]
    while len(least) > 2 and sum(least) + 3 * len(least) + 1 > width:
        least.pop()
    table = Table()
    for place, (name, room) in enumerate(zip(columns, least, strict=False)):
        table.add_column(name, no_wrap=not place, min_width=room)
    for row in rows:
        cells = (Text(_text(cell), overflow="fold") for cell in row[: len(least)])
        table.add_row(*cells)
    return table


def _widths(columns: list[str], rows: list[list[Any]]) -> list[int]:
    """The longest line of each column."""
    return [
        max(len(name), *(len(_text(row[place])) for row in rows), 0)
        for place, name in enumerate(columns)
    ]


def _text(cell: Any) -> str:
    return "-" if cell is None else str(cell)


def show(found: Any, as_json: bool, columns: Columns | None = None) -> None:
    """Print what the API has answered.

    Args:
        found: an object, a list of objects, or None.
        as_json: exactly as the API has answered.
        columns: of the table; without any, an object is a table of its fields.
    """
    if as_json:
        print_json(found)
    elif columns is not None:
        items = found if isinstance(found, list) else [found]
        print_table(list(columns), cells_of(items, columns))
    elif found is not None:
        print_table(["field", "value"], [[name, brief(value)] for name, value in found.items()])


def cells_of(items: list[Json], columns: Columns) -> list[list[Any]]:
    """The cells of a table, row by row."""
    return [
        [item[how] if isinstance(how, str) else how(item) for how in columns.values()]
        for item in items
    ]


def show_page(
    server: str,
    path: str,
    columns: Columns,
    as_json: bool,
    query: Query,
) -> None:
    """Print a page of a list, and say on stderr where it goes on. `query` has limit and offset."""
    page = ask(server, "GET", path, query=query)
    show(page["items"], as_json, columns)
    end = page["offset"] + len(page["items"])
    if end < page["total"] and page["items"]:
        typer.echo(f"{end} of {page['total']}; go on with --offset {end}", err=True)


def brief(value: Any) -> Any:
    """A field of an object, in a line."""
    return json.dumps(value) if isinstance(value, dict | list) else value


def when(time: float | None) -> str | None:
    """A time in seconds since 1970, as people of this place read it."""
    return None if time is None else datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M")


def at(field: str) -> Callable[[Json], str | None]:
    """A column that shows a time."""
    return lambda item: when(item[field])


def listed(field: str) -> Callable[[Json], str]:
    """A column that shows a list of names."""
    return lambda item: ", ".join(map(str, item[field]))


def confirm(question: str, yes: bool) -> None:
    """Ask a person, unless `yes`. Ends the command with exit code 1 when the answer is no."""
    if not yes:
        typer.confirm(question, abort=True, err=True)


@contextmanager
def working(text: str) -> Iterator[None]:
    """A spinner on stderr while the server works."""
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def fetch(server: str, path: str, out: Path, as_json: bool, query: Query | None = None) -> None:
    """Download a file with a bar on stderr; it gets its name when it is whole, and says so.

    Raises:
        BadParameter: `out` is there already.
        ServerError: the server refuses it, or it cannot be written.
    """
    if out.exists():
        raise typer.BadParameter(f"{out} exists: choose another name")
    part = out.with_name(f".{out.name}.part")
    try:
        with calling(server, None) as api, part.open("wb") as file:
            for data in _pieces(api, path, given(query), out.name):
                file.write(data)
        nbytes = part.stat().st_size
        part.rename(out)
    except OSError as error:
        raise ServerError(f"{out}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    made = {"out": str(out), "bytes": nbytes}
    print_json(made) if as_json else typer.echo(f"{nbytes} bytes in {out}")


def _pieces(api: Any, path: str, query: Json, name: str) -> Iterator[bytes]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with (
        api.stream("GET", path, params=query) as answer,
        Progress(*columns, console=Console(stderr=True), transient=True) as bar,
    ):
        raise_for(answer)
        size = answer.headers.get("content-length")
        task = bar.add_task(name, total=int(size) if size else None)
        for data in answer.iter_bytes():
            bar.advance(task, len(data))
            yield data
