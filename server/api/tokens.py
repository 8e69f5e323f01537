"""Tokens, with which people and programs come in."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from server.access import Role, Token, Tokens
from server.api.callers import Gatekeeper, Who, operators_only
from server.api.problems import problems
from server.api.schemas import View

router = APIRouter(prefix="/tokens", tags=["tokens"], dependencies=[Depends(operators_only)])


class TokenView(View):
    """A token, without what is secret. Times are seconds since 1970."""

    id: str
    name: str
    role: Role
    added_at: float
    added_by: str
    used_at: float | None
    revoked_at: float | None
    revoked_by: str | None


class NewTokenView(TokenView):
    """A token that has just been made: its text is shown this once."""

    token: str


class NewToken(BaseModel):
    """What a token may do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role = Field(description="viewer looks; operator also changes.", examples=["viewer"])


@router.get("")
async def list_tokens(guard: Gatekeeper) -> list[TokenView]:
    """Every token that was ever made, oldest first."""
    return [view_of(guard.tokens, token) for token in guard.tokens.all()]


@router.post("/{name}", status_code=201, responses=problems(409))
async def create_token(name: str, new: NewToken, guard: Gatekeeper, who: Who) -> NewTokenView:
    """Make a token. With the first one, which is an operator's, the server asks for tokens."""
    tokens = guard.tokens
    made, text = await asyncio.to_thread(tokens.create, name, new.role, who.name)
    return NewTokenView(**view_of(tokens, made).model_dump(), token=text)


@router.post("/{name}/revoke", responses=problems(404))
async def revoke_token(name: str, guard: Gatekeeper, who: Who) -> TokenView:
    """End a token for good. Also after the last one is gone, tokens are asked for."""
    return view_of(guard.tokens, await asyncio.to_thread(guard.tokens.revoke, name, who.name))


def view_of(tokens: Tokens, token: Token) -> TokenView:
    """A token as it is shown: without its hash."""
    return TokenView(**token.model_dump(exclude={"sha256"}), used_at=tokens.used_at(token))
