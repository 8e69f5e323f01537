"""How NiceGUI is set up. Loading this takes most of a second, so `mount` does it in a thread."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

from fastapi import FastAPI
from nicegui import Client, app, core, ui
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from server.dashboard import NOWHERE, PAGES, Page
from server.dashboard.frame import frame
from server.dashboard.visit import Visit

_TALK = ("event", "javascript_response", "ack", "log")


def configured() -> FastAPI:
    """NiceGUI's application, with our pages. Idempotent: there is one per process."""
    if not app.config.has_run_config:
        app.config.socket_io_js_transports = ["websocket"]
        app.config.add_run_config(
            reload=False,
            title="Dreamfleet",
            viewport="width=device-width, initial-scale=1",
            favicon="🤖",
            dark=None,
            language="en-US",
            binding_refresh_interval=None,
            reconnect_timeout=60.0,  # as a tablet may be out of reach
            message_history_length=1000,
            tailwind=False,
            unocss=None,
            prod_js=True,
            show_welcome_message=False,
            markdown=False,
        )
        app.add_middleware(GZipMiddleware)
        _keep_sockets_apart()
        for page in PAGES:
            _register(page)
        app.exception_handler(404)(_lost)
    return app


def _register(page: Page) -> None:
    module, _, function = page.build.partition(":")
    build: Callable[..., Awaitable[None]] = getattr(import_module(module), function)

    async def show(visit: Visit, **names: str) -> None:
        with frame(visit, page, names):
            await build(visit, **names)

    title = f"{page.title} · Dreamfleet"
    ui.page(page.path, title=title, response_timeout=30.0)(_signed(show, page))


async def _lost(request: Request, _error: Exception) -> Response:
    """Where no page is, there is the way to those that are."""
    if request.url.path.startswith("/_nicegui/"):
        return PlainTextResponse("Not Found", 404)
    with Client(ui.page(""), request=request) as client:
        with frame(Visit(client, request), NOWHERE, {}):
            ui.label(f"There is no page {request.url.path}").classes("trouble")
            ui.link("To the fleet", "/").classes("quiet")
        ui.page_title("No such page · Dreamfleet")
    return client.build_response(request, 404)


def _signed(show: Callable[..., Awaitable[None]], page: Page) -> Callable[..., Awaitable[None]]:
    """A function whose parameters are those that the path of the page holds, as FastAPI asks."""
    match page.place:
        case "main":

            async def main() -> None:
                await show(Visit.of_page())

            return main
        case "experiment":

            async def of_experiment(experiment: str) -> None:
                await show(Visit.of_page(), experiment=experiment)

            return of_experiment
        case "robot":

            async def of_robot(robot: str) -> None:
                await show(Visit.of_page(), robot=robot)

            return of_robot


def _keep_sockets_apart() -> None:
    """NiceGUI does what any socket asks in the name of any page; the pages' ids are secrets, and
    yet a browser shall speak for its own page only: the one whose room its socket has joined."""
    handlers = core.sio.handlers["/"]
    for name in _TALK:
        core.sio.on(name, _only_own(handlers[name]))


def _only_own(handle: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
    @functools.wraps(handle)
    def own(sid: str, message: Any) -> None:
        if message["client_id"] in core.sio.rooms(sid):
            handle(sid, message)

    return own
