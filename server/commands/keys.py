"""`dreamfleet keys`: which robots may connect."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from server.commands.admit import admit
from server.commands.complete import robot_names
from server.commands.local import Data, Database, Local, ServerIfAny, where
from server.commands.output import Columns, at, print_json, show
from server.commands.rest import AsJson, ask, segment
from server.errors import NotFound
from server.settings import DEFAULT_DATA

if TYPE_CHECKING:
    from server.access import RobotKey

Json = dict[str, Any]
Robot = Annotated[str, typer.Argument(help="Name of a robot.", autocompletion=robot_names)]
Key = Annotated[str, typer.Option(help="Public key, as dreamfleet-robot enrol prints it.")]
_HOUR = 3600.0

app = typer.Typer(no_args_is_help=True, help="Say which robots may connect, by their public keys.")
app.command()(admit)

COLUMNS: Columns = {
    "robot": "robot",
    "key": "key",
    "valid": lambda key: "yes" if key["valid"] else "no",
    "until": at("until"),
    "enrolled": at("added_at"),
    "by": "added_by",
    "last used": at("used_at"),
    "revoked by": "revoked_by",
}


class _Book(Protocol):
    """The keys of one server, at hand or through REST; answers as REST does."""

    def show(self) -> Json: ...

    def enrol(self, robot: str, key: str) -> Json: ...

    def rotate(self, robot: str, key: str, overlap_s: float) -> Json: ...

    def revoke(self, robot: str, key: str | None) -> list[Json]: ...


class _Local:
    def __init__(self, local: Local) -> None:
        from server.access import RobotKeys

        self._local, self._keys = local, RobotKeys(local.data)

    def show(self) -> Json:
        from server.access import server_pair

        pair = server_pair(self._local.data)
        robots = [self._view(each) for each in self._keys.all()]
        return {"server": pair.public if pair else "", "robots": robots}

    def enrol(self, robot: str, key: str) -> Json:
        from server.access import make_server_pair

        make_server_pair(self._local.data)
        made = self._keys.enrol(robot, key, self._local.who)
        self._local.note("enrol_key", robot=robot, key=key)
        return self._view(made)

    def rotate(self, robot: str, key: str, overlap_s: float) -> Json:
        made = self._keys.rotate(robot, key, self._local.who, overlap_s)
        self._local.note("rotate_key", robot=robot, key=key)
        return self._view(made)

    def revoke(self, robot: str, key: str | None) -> list[Json]:
        ended = self._keys.revoke(robot, self._local.who, key)
        self._local.note("revoke_key", robot=robot, key=key or "all")
        return [self._view(each) for each in ended]

    def _view(self, key: RobotKey) -> Json:
        from server.api.keys import view_of

        return view_of(self._keys, key).model_dump()


class _Rest:
    def __init__(self, server: str) -> None:
        self._server = server

    def show(self) -> Json:
        found: Json = ask(self._server, "GET", "/keys")
        return found

    def enrol(self, robot: str, key: str) -> Json:
        told: Json = self._tell(robot, "enrol", {"key": key})
        return told

    def rotate(self, robot: str, key: str, overlap_s: float) -> Json:
        told: Json = self._tell(robot, "rotate", {"key": key, "overlap_s": overlap_s})
        return told

    def revoke(self, robot: str, key: str | None) -> list[Json]:
        told: list[Json] = self._tell(robot, "revoke", {"key": key})
        return told

    def _tell(self, robot: str, verb: str, body: Json) -> Any:
        return ask(self._server, "POST", f"/keys/{segment(robot)}/{verb}", body)


@app.command()
def init(data: Data = None, as_json: AsJson = False) -> None:
    """Make the server's own key pair, if there is none. On the server's machine."""
    from server.access import make_server_pair

    _print_server(make_server_pair(data or DEFAULT_DATA).public, as_json)


@app.command("show")
def show_server(data: Data = None, server: ServerIfAny = None, as_json: AsJson = False) -> None:
    """Show the server's public key, which every robot is given."""
    public = _book(data, server).show()["server"]
    if not public:
        raise NotFound("this server has no key yet; make it: dreamfleet keys init")
    _print_server(public, as_json)


@app.command()
def enrol(
    robot: Annotated[str, typer.Argument(help="The name that the robot will have.")],
    key: Key,
    data: Data = None,
    server: ServerIfAny = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Let a new robot in."""
    book = _book(data, server, database)
    made = book.enrol(robot, key)
    if as_json:
        print_json(made)
        return
    found = book.show()
    typer.echo(f"{robot} may connect. Tell it the server's key; on the robot, run:")
    typer.echo(f"  dreamfleet-robot enrol --name {shlex.quote(robot)} {_server_option(found)}")
    if len(found["robots"]) == 1:
        typer.echo("If the server runs on loopback, restart it: from then on it asks for keys.")


@app.command("list")
def list_keys(data: Data = None, server: ServerIfAny = None, as_json: AsJson = False) -> None:
    """List every key that was ever enrolled, oldest first."""
    found = _book(data, server).show()["robots"]
    show(found, as_json, COLUMNS)


@app.command()
def rotate(
    robot: Robot,
    key: Key,
    overlap: Annotated[float, typer.Option(min=0, help="Hours that the old key has left.")] = 24.0,
    data: Data = None,
    server: ServerIfAny = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Give a robot a new key; the old one stays valid for a while.

    The robot makes it with: dreamfleet-robot enrol --name NAME --replace
    """
    made = _book(data, server, database).rotate(robot, key, overlap * _HOUR)
    show(made, as_json, COLUMNS)


@app.command()
def rotate_server(data: Data = None, database: Database = None, as_json: AsJson = False) -> None:
    """Give the server a new key pair, from its next start on. On the server's machine.

    Tell each robot the new key before that; it keeps the old one beside it.
    """
    from server.access import make_server_pair

    local = Local(data or DEFAULT_DATA, database)
    pair = make_server_pair(local.data, replace=True)
    local.note("rotate_server", key=pair.public)
    _print_server(pair.public, as_json)


@app.command()
def revoke(
    robot: Robot,
    key: Annotated[str | None, typer.Option(help="This key only; none: all it has.")] = None,
    data: Data = None,
    server: ServerIfAny = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """End a robot's keys for good; its very next message is refused."""
    ended = _book(data, server, database).revoke(robot, key)
    show(ended, as_json, COLUMNS)


def _book(data: Data, server: str | None, database: str | None = None) -> _Book:
    place = where(data, server, database)
    return _Rest(place) if isinstance(place, str) else _Local(place)


def _server_option(found: Json) -> str:
    return f"--server-key={shlex.quote(found['server'])}"


def _print_server(public: str, as_json: bool) -> None:
    if as_json:
        print_json({"server": public})
        return
    typer.echo(f"The server's public key is {public}")
    typer.echo("On each robot, run:")
    typer.echo(f"  dreamfleet-robot enrol --name NAME {_server_option({'server': public})}")
