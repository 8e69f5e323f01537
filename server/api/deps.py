"""What the routes work with, taken from the application."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from server.service import Service


def _service(connection: HTTPConnection) -> Service:
    return cast(Service, connection.app.state.service)


Running = Annotated[Service, Depends(_service)]
