"""Who is calling, as the gate found, and the lists of keys and tokens, for the routes."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from server.access import Caller, Guard, RobotKeys
from server.errors import Forbidden


def _guard(connection: HTTPConnection) -> Guard:
    return cast(Guard, connection.app.state.guard)


def _robot_keys(connection: HTTPConnection) -> RobotKeys:
    return cast(RobotKeys, connection.app.state.robot_keys)


def _caller(connection: HTTPConnection) -> Caller:
    return cast(Caller, connection.state.caller)


Who = Annotated[Caller, Depends(_caller)]
Gatekeeper = Annotated[Guard, Depends(_guard)]
Keys = Annotated[RobotKeys, Depends(_robot_keys)]


def operators_only(caller: Who) -> None:
    """For what a viewer may not even look at. Raises Forbidden."""
    if caller.role != "operator":
        raise Forbidden(f"token {caller.name!r} is a viewer's; this takes an operator's")
