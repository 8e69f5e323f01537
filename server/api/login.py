"""A browser shows its token once, and keeps it in a cookie that no script can read."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from server.access import Role
from server.api.callers import Gatekeeper, Who
from server.api.gate import COOKIE, address_of
from server.api.schemas import View

router = APIRouter(tags=["login"])

_KEPT_S = 30 * 24 * 3600


class Login(BaseModel):
    """A token, as `dreamfleet tokens create` has shown it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: str = Field(max_length=200)


class CallerView(View):
    """Who is calling: name of the token, or `loopback` where none is needed."""

    name: str
    role: Role


@router.post("/login")
async def login(
    given: Login, request: Request, response: Response, guard: Gatekeeper
) -> CallerView:
    """Keep the token in a cookie. 401 when it is wrong, 429 when that happens too often."""
    caller = guard.caller(given.token, address_of(request), forwarded=True)
    request.state.caller = caller
    response.set_cookie(
        COOKIE,
        given.token,
        max_age=_KEPT_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return CallerView(name=caller.name, role=caller.role)


@router.post("/logout", status_code=204)
async def logout(response: Response) -> None:
    """Forget the cookie."""
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")


@router.get("/whoami")
async def whoami(who: Who) -> CallerView:
    """Who is calling, and what that may do."""
    return CallerView(name=who.name, role=who.role)
