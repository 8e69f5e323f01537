"""Which robots may connect: the public keys that prove who they are.

Only public keys travel here; each robot makes its own pair, and the server's secret half never
leaves its data directory.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from server.access import RobotKey, make_server_pair, server_pair
from server.access.robot_keys import OVERLAP_S
from server.api.callers import Keys, Who
from server.api.deps import Running
from server.api.problems import problems
from server.api.schemas import View

router = APIRouter(prefix="/keys", tags=["keys"])

_KEY = Field(
    description="Public key in Z85, 40 characters; dreamfleet-robot enrol prints it.",
    examples=["rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"],
)


class KeyView(View):
    """An enrolled key. Times are seconds since 1970; `until` is when it ends or ended."""

    robot: str
    key: str
    valid: bool
    added_at: float
    added_by: str
    until: float | None
    revoked_by: str | None
    used_at: float | None


class KeysView(View):
    """The server's public key, which every robot is given, and the keys of the robots."""

    server: str
    robots: list[KeyView]


class NewKey(BaseModel):
    """A public key of a robot."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = _KEY


class Rotation(NewKey):
    """A public key that takes the place of others."""

    overlap_s: float = Field(
        OVERLAP_S, ge=0, le=30 * 24 * 3600, description="Seconds for which the old ones stay valid."
    )


class Revocation(BaseModel):
    """What to end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str | None = Field(None, description="One key of the robot; none: all of them.")


@router.get("")
async def list_keys(service: Running, keys: Keys) -> KeysView:
    """The server's public key and every key that was ever enrolled, oldest first."""
    pair = await asyncio.to_thread(server_pair, service.settings.data)
    known = await asyncio.to_thread(keys.all)
    return KeysView(
        server=pair.public if pair else "", robots=[view_of(keys, each) for each in known]
    )


@router.post("/{robot}/enrol", status_code=201, responses=problems(409))
async def enrol_key(robot: str, new: NewKey, service: Running, keys: Keys, who: Who) -> KeyView:
    """Let a new robot in, by its public key.

    A server that knew no keys when it started asks for them from its next start on.
    """
    await asyncio.to_thread(make_server_pair, service.settings.data)
    return view_of(keys, await asyncio.to_thread(keys.enrol, robot, new.key, who.name))


@router.post("/{robot}/rotate", status_code=201, responses=problems(404, 409))
async def rotate_key(robot: str, new: Rotation, keys: Keys, who: Who) -> KeyView:
    """Give a robot a new key; the old ones stay valid for a while."""
    made = await asyncio.to_thread(keys.rotate, robot, new.key, who.name, new.overlap_s)
    return view_of(keys, made)


@router.post("/{robot}/revoke", responses=problems(404))
async def revoke_key(robot: str, what: Revocation, keys: Keys, who: Who) -> list[KeyView]:
    """End a robot's keys for good; its very next message is refused."""
    ended = await asyncio.to_thread(keys.revoke, robot, who.name, what.key)
    return [view_of(keys, each) for each in ended]


def view_of(keys: Keys, key: RobotKey) -> KeyView:
    """A key as it is shown."""
    valid = keys.name_of(key.key) is not None
    return KeyView(**key.model_dump(), valid=valid, used_at=keys.used_at(key.key))
