"""The web application: REST under /api/v1, the dashboard at /. Shares the service's event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from importlib.metadata import version

import uvicorn
from fastapi import Depends, FastAPI

from server.access import Guard, RobotKeys, Tokens
from server.api import (
    agents,
    audit,
    checkpoints,
    compression,
    datasets,
    episodes,
    evaluations,
    events,
    experiments,
    health,
    keys,
    login,
    metrics,
    policies,
    replay,
    robots,
    teleop,
    tokens,
)
from server.api.errors import install_error_handlers
from server.api.examples import describe_examples
from server.api.gate import DocumentedToken, Gate
from server.api.problems import describe_problems, problems
from server.dashboard.mount import Dashboard
from server.datasets.desk import Desk
from server.errors import SettingsError
from server.service import Service
from server.settings import Settings
from server.states import as_markdown

ROUTERS = (
    *(
        health,
        agents,
        evaluations,
        experiments,
        robots,
        policies,
        compression,
        checkpoints,
        episodes,
        metrics,
    ),
    *(events, replay, datasets, keys, tokens, audit, login, teleop),
)
ABOUT = """Runs a fleet of robots that learn. Errors are problem details (RFC 9457); long lists come
in pages; times are seconds since 1970-01-01 UTC."""
COMMON = problems(400, 401, 403, 422, 429, 503)


def build_app(service: Service) -> FastAPI:
    """The application on top of a running service."""
    app = FastAPI(
        title="Dreamfleet",
        version=version("dreamfleet"),
        description=ABOUT,
        dependencies=[Depends(DocumentedToken())],
        generate_unique_id_function=lambda route: route.name,
        openapi_tags=[{"name": "experiments", "description": as_markdown()}],
    )
    app.state.service = service
    app.state.desk = Desk(service.settings, service.storage)
    app.state.guard = Guard(service.settings, Tokens(service.settings.data))
    app.state.robot_keys = RobotKeys(service.settings.data)
    app.add_middleware(Gate, guard=app.state.guard, writer=service.writer)
    install_error_handlers(app)
    for module in ROUTERS:
        app.include_router(module.router, prefix="/api/v1", responses=COMMON)
    app.include_router(health.scraped, responses=problems(401, 429))
    dashboard = Dashboard(service, app)
    app.router.lifespan_context = dashboard.lifespan
    # Not mounted: a mount at / would answer for the API's paths with another method.
    app.router.default = dashboard
    describe_problems(app)
    describe_examples(app)
    return app


@asynccontextmanager
async def serve_web(service: Service) -> AsyncIterator[str]:
    """Serve the application while the block runs; yields its address. Port 0 finds a free one.

    Raises SettingsError when the port is taken, or the certificate is none.
    """
    app = build_app(service)
    config = _configure(app, service.settings)
    listener = listen(service.settings)
    address = replace(service.settings, port=listener.getsockname()[1]).address
    server = _WebServer(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield address
    finally:
        server.should_exit = True
        await task
        await app.state.desk.jobs.close()


def _configure(app: FastAPI, settings: Settings) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        log_level="warning",
        lifespan="on",
        ws_max_size=2**20,  # what a browser says is short
        timeout_graceful_shutdown=2,
        ssl_keyfile=settings.tls_key,
        ssl_certfile=settings.tls_certificate,
    )
    try:
        config.load()
    except OSError as error:  # of OpenSSL too
        files = f"{settings.tls_key} and {settings.tls_certificate}"
        raise SettingsError(f"{files} are no key with its certificate ({error})") from error
    return config


class _WebServer(uvicorn.Server):
    """Leaves signals to its caller, who has more to close than the web server."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(settings: Settings) -> socket.socket:
    """A socket where the web server accepts. Raises SettingsError where that cannot be."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=128)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {settings.host} port {settings.port} ({error.strerror}); "
            "choose another with --port"
        ) from error
    # asyncio does not set it for such a socket, and each answer then waits 40 ms for the client's
    # delayed acknowledgement of its headers. What is accepted here inherits it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
