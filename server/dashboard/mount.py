"""NiceGUI inside our own application: started beside it, and behind the same gate.

NiceGUI is one application per process. It is told nothing that belongs to one server: each request
brings its `House` along.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from pathlib import Path
from urllib.parse import parse_qs

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.gate import DASHBOARD_SOCKET, wants_page
from server.dashboard import PAGES
from server.dashboard.house import House
from server.service import Service

STATIC = Path(__file__).parent / "static"
_OURS = frozenset(path.name for path in STATIC.iterdir())
_PATHS = [re.compile(re.sub(r"{\w+}", "[^/]+", page.path)) for page in PAGES]
# Nothing from another machine, and no other machine's page around ours.
_HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'",
    ),
    (b"referrer-policy", b"same-origin"),
]


class Dashboard:
    """Answers for the pages, their socket and their files, and for nothing else.

    Args:
        service: what the pages show.
        rest: the whole application with its gate, which the pages ask for everything else.
    """

    def __init__(self, service: Service, rest: FastAPI) -> None:
        self._house = House(service, rest)
        self._files = StaticFiles(directory=STATIC, html=True)
        self._starting: asyncio.Task[ASGIApp] | None = None
        self._open = AsyncExitStack()

    @asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncIterator[None]:
        """Load NiceGUI while the server is already up; let it go at the end."""
        self._starting = asyncio.create_task(self._start())
        try:
            yield
        finally:
            await asyncio.wait([self._starting])
            await self._open.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what the API has not. Raises HTTPException where nothing is."""
        path, is_socket = scope["path"], scope["type"] == "websocket"
        if is_socket and not path.startswith(DASHBOARD_SOCKET):
            await send({"type": "websocket.close", "code": 1008})
            return
        if not is_socket and scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        if path[1:] in _OURS:
            await self._files(scope, receive, send)
            return
        known = is_socket or path.startswith("/_nicegui/") or is_page(path)
        if not known and not wants_page(HTTPConnection(scope)):
            raise HTTPException(404)
        nicegui = await self._ready()
        if is_socket and not _is_own(scope):
            await send({"type": "websocket.close", "code": 1008})
            return
        scope["state"]["house"] = self._house
        own = dict(scope)  # NiceGUI shortens the path, which the gate still needs
        await nicegui(own, receive, _guarded(send))

    async def _ready(self) -> ASGIApp:
        if self._starting is None:  # without a lifespan
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> ASGIApp:
        nicegui = await asyncio.to_thread(import_module, "server.dashboard.nicegui_app")
        app = nicegui.configured()
        await self._open.enter_async_context(app.router.lifespan_context(app))
        found: ASGIApp = app
        return found


def is_page(path: str) -> bool:
    """Whether a page of the table is there."""
    return any(pattern.fullmatch(path) for pattern in _PATHS)


def _is_own(scope: Scope) -> bool:
    """Whether a socket comes from whom its page was made for. A page that is unknown, such as one
    of before a restart, is left to NiceGUI, which has the browser load it again."""
    from nicegui import Client

    query = parse_qs(scope["query_string"].decode())
    if len(query.get("client_id", ())) != 1:
        return False
    client = Client.instances.get(query["client_id"][0])
    return client is None or client.request.state.caller == scope["state"]["caller"]


def _guarded(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *_HEADERS]
        await send(message)

    return with_headers
