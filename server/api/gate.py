"""Stands before every route, page and socket: who may pass, and what they did.

A viewer's token is enough to look (GET), an operator's is needed to change anything, and for a web
socket, which can carry anything; but for the dashboard's, whose pages ask REST for every change, so
that it passes here with the same token. What is not listed as open is closed, a route of tomorrow
too.

This is ASGI middleware and no dependency of the routes, because FastAPI reads and parses a body
before the first dependency runs; because dependencies do not see mounted applications; and because
only here it is known how a request ended, which the audit log is to say.
"""

from __future__ import annotations

from urllib.parse import quote

from fastapi.responses import RedirectResponse
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from robot_client.clock import Clock, SystemClock
from robot_client.errors import DreamfleetError
from server.access import Caller, Guard
from server.api.errors import problem_of
from server.api.origin import refuse_other_pages
from server.errors import Forbidden, TooManyAttempts, Unauthorized
from server.storage import Audit, Writer

COOKIE = "dreamfleet_token"
OPEN = frozenset({"/api/v1/health", "/api/v1/ready", "/api/v1/login", "/login.html", "/style.css"})
LOGIN_PAGE = "/login.html"
DASHBOARD_SOCKET = "/_nicegui_ws/"
_LOOKING = ("GET", "HEAD", "OPTIONS")


class Gate:
    """The middleware. Leaves the `Caller` in the request's state, under `caller`."""

    def __init__(
        self, app: ASGIApp, guard: Guard, writer: Writer, clock: Clock | None = None
    ) -> None:
        self._app, self._guard, self._writer = app, guard, writer
        self._clock = clock or SystemClock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        visit = _Visit(HTTPConnection(scope), send)
        app: ASGIApp = self._app
        try:
            self._admit(visit)
        except DreamfleetError as error:
            app = visit.refusal(error)
        try:
            await app(scope, receive, visit.send)
        finally:
            if visit.is_to_be_noted:
                self._writer.put(visit.note(self._clock.wall()))

    def _admit(self, visit: _Visit) -> None:
        """Find out who is calling, unless everybody may. Raises DreamfleetError."""
        connection = visit.connection
        changes = is_change(connection)
        if changes:
            refuse_other_pages(connection, self._guard.closed)
        if connection.scope["path"] in OPEN:
            return
        visit.caller = caller = self._caller(connection)
        if changes and caller.role != "operator" and not _is_dashboard(connection):
            raise Forbidden(f"token {caller.name!r} is a viewer's; this takes an operator's")

    def _caller(self, connection: HTTPConnection) -> Caller:
        text, address = token_of(connection), address_of(connection)
        try:
            return self._guard.caller(text, address, _is_forwarded(connection))
        except Unauthorized:
            if text is None and is_change(connection):  # as good as a wrong one
                self._guard.failed(address)
            raise


class DocumentedToken(HTTPBearer):
    """Tells the OpenAPI document that a token is needed; it is the gate that asks for it."""

    async def __call__(self, connection: HTTPConnection) -> None:
        """Nothing is left to do, for a route or a socket."""


class _Visit:
    """One request or socket, from its beginning to its end."""

    def __init__(self, connection: HTTPConnection, send: Send) -> None:
        self.connection = connection
        self._send, self._status = send, 500
        self._error: DreamfleetError | None = None

    @property
    def caller(self) -> Caller | None:
        """Who came, as far as is known; a login tells."""
        found: Caller | None = getattr(self.connection.state, "caller", None)
        return found

    @caller.setter
    def caller(self, caller: Caller | None) -> None:
        self.connection.state.caller = caller

    async def send(self, message: Message) -> None:
        """Pass an answer on, and remember its status."""
        match message["type"]:
            case "http.response.start" | "websocket.http.response.start":
                self._status = message["status"]
            case "websocket.accept":
                self._status = 101
            case "websocket.close" if self._status == 500:  # closed before it was open
                self._status = 403
        await self._send(message)

    def refusal(self, error: DreamfleetError) -> ASGIApp:
        """What answers in place of the application."""
        self._error = error
        if self.connection.scope["type"] == "websocket":
            return _close
        if isinstance(error, Unauthorized | TooManyAttempts) and wants_page(self.connection):
            return RedirectResponse(_login_for(self.connection), 303)
        return problem_of(error)

    @property
    def is_to_be_noted(self) -> bool:
        """A change or a wrong token is; a flood of them is not."""
        wrong = isinstance(self._error, Unauthorized) and token_of(self.connection) is not None
        flood = isinstance(self._error, TooManyAttempts) or self._status == 429
        looks = self._error is None and _is_dashboard(self.connection)
        return (is_change(self.connection) or wrong) and not flood and not looks

    def note(self, now: float) -> Audit:
        """The line of the audit log."""
        scope = self.connection.scope
        route = scope.get("route")
        operation = getattr(route, "name", None) or _printable(scope["path"])
        refused = self._error is not None or 400 <= self._status < 500
        return Audit(
            time=now,
            who=self.caller.name if self.caller else "unknown",
            method=scope.get("method", "WEBSOCKET"),
            operation=operation,
            parameters={k: _printable(str(v)) for k, v in scope.get("path_params", {}).items()},
            outcome="failed" if self._status >= 500 else "refused" if refused else "done",
            status=self._status,
            address=address_of(self.connection),
        )


def token_of(connection: HTTPConnection) -> str | None:
    """The token that came in the header or, from the page, in the cookie."""
    scheme, _, text = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return text.strip()
    return connection.cookies.get(COOKIE)


def address_of(connection: HTTPConnection) -> str:
    """The machine that the call comes from."""
    return connection.client.host if connection.client else ""


def is_change(connection: HTTPConnection) -> bool:
    """Whether more is asked for than to look."""
    return connection.scope.get("method") not in _LOOKING


def _is_dashboard(connection: HTTPConnection) -> bool:
    """Whether this is the socket of an open page."""
    path: str = connection.scope["path"]
    return connection.scope["type"] == "websocket" and path.startswith(DASHBOARD_SOCKET)


def _is_forwarded(connection: HTTPConnection) -> bool:
    return "x-forwarded-for" in connection.headers or "forwarded" in connection.headers


def wants_page(connection: HTTPConnection) -> bool:
    """Whether it is a browser that goes to a page."""
    accepts = connection.headers.get("accept", "")
    return "text/html" in accepts and not connection.scope["path"].startswith("/api/")


def _login_for(connection: HTTPConnection) -> str:
    """The page to sign in on, which goes on to what was asked for."""
    wanted = quote(connection.scope["path"]) + (
        f"?{connection.url.query}" if connection.url.query else ""
    )
    return LOGIN_PAGE if wanted == "/" else f"{LOGIN_PAGE}?next={quote(wanted, safe='/')}"


def _printable(text: str) -> str:
    """As every database takes it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:200])


async def _close(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close", "code": 1008})
