"""`dreamfleet tokens`: who may use REST and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import typer

from server.commands.local import Data, Database, Local, ServerIfAny, where
from server.commands.output import Columns, at, print_json, show
from server.commands.rest import AsJson, ask, segment

if TYPE_CHECKING:
    from server.access import Token

Json = dict[str, Any]
Role = Literal["viewer", "operator"]  # as in server.access, which takes a while to load

app = typer.Typer(no_args_is_help=True, help="Say who may use the REST API and the page.")

COLUMNS: Columns = {
    "name": "name",
    "role": "role",
    "made": at("added_at"),
    "by": "added_by",
    "last used": at("used_at"),
    "revoked": at("revoked_at"),
    "revoked by": "revoked_by",
}


class _Book(Protocol):
    """The tokens of one server, at hand or through REST; answers as REST does."""

    def all(self) -> list[Json]: ...

    def create(self, name: str, role: Role) -> Json: ...

    def revoke(self, name: str) -> Json: ...


class _Local:
    def __init__(self, local: Local) -> None:
        from server.access import Tokens

        self._local, self._tokens = local, Tokens(local.data)

    def all(self) -> list[Json]:
        return [self._view(token) for token in self._tokens.all()]

    def create(self, name: str, role: Role) -> Json:
        made, text = self._tokens.create(name, role, self._local.who)
        self._local.note("create_token", name=name, role=role)
        return self._view(made) | {"token": text}

    def revoke(self, name: str) -> Json:
        ended = self._tokens.revoke(name, self._local.who)
        self._local.note("revoke_token", name=name)
        return self._view(ended)

    def _view(self, token: Token) -> Json:
        from server.api.tokens import view_of

        return view_of(self._tokens, token).model_dump()


class _Rest:
    def __init__(self, server: str) -> None:
        self._server = server

    def all(self) -> list[Json]:
        found: list[Json] = ask(self._server, "GET", "/tokens")
        return found

    def create(self, name: str, role: Role) -> Json:
        return self._tell(name, "", {"role": role})

    def revoke(self, name: str) -> Json:
        return self._tell(name, "/revoke", None)

    def _tell(self, name: str, verb: str, body: Any) -> Json:
        told: Json = ask(self._server, "POST", f"/tokens/{segment(name)}{verb}", body)
        return told


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is, as the audit log will say.")],
    role: Annotated[Role, typer.Option(help="viewer looks; operator also changes.")] = "viewer",
    data: Data = None,
    server: ServerIfAny = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Make a token; it is shown this once."""
    made = _book(data, server, database).create(name, role)
    if as_json:
        print_json(made)
        return
    typer.echo(made["token"])
    typer.echo(
        f"This is {name}'s token ({role}); it is not shown again. Sign in with it on the page, or"
        " give it to the commands in DREAMFLEET_TOKEN.",
        err=True,
    )


@app.command("list")
def list_tokens(data: Data = None, server: ServerIfAny = None, as_json: AsJson = False) -> None:
    """List every token that was ever made, oldest first."""
    found = _book(data, server).all()
    show(found, as_json, COLUMNS)


@app.command()
def revoke(
    name: str,
    data: Data = None,
    server: ServerIfAny = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """End a token for good; its very next request is refused."""
    ended = _book(data, server, database).revoke(name)
    show(ended, as_json, COLUMNS)


def _book(data: Data, server: str | None, database: str | None = None) -> _Book:
    place = where(data, server, database)
    return _Rest(place) if isinstance(place, str) else _Local(place)
