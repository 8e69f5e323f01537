"""How errors look, and how the routes document them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

MEDIA_TYPE = "application/problem+json"
_MEANING = {
    400: "The body cannot be read.",
    401: "A token is needed, or it is wrong or revoked.",
    403: "The token is a viewer's, or a page from elsewhere asks.",
    404: "There is no such thing.",
    409: "Right in itself, but not in the present state; `detail` says what is.",
    422: "A value is not what was asked for; `field`, `expected` and `got` say which and why.",
    429: "Too many wrong tokens came from this address; `Retry-After` says how long to wait.",
    503: "The server cannot do its work now; `detail` says why.",
}


class Problem(BaseModel):
    """Problem details (RFC 9457); the last three name the wrong field, where it is one."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(default="about:blank", description="Kind of problem, as a URI.")
    title: str = Field(examples=["conflict"])
    status: int = Field(examples=[409])
    detail: str = Field(
        examples=["cannot pause a created experiment; allowed: start, stop"],
        description="What went wrong, for people.",
    )
    field: str | None = Field(default=None, examples=["config.horizon"])
    expected: str | None = None
    got: str | None = None


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What `responses` of a route says about these statuses."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": _MEANING[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def answers(media_type: str) -> dict[int | str, dict[str, Any]]:
    """What `responses` of a route says when it answers with something else than JSON."""
    return {200: {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}}


def describe_problems(app: FastAPI) -> None:
    """Add what `problems` refers to to the application's OpenAPI document."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.setdefault("Problem", Problem.model_json_schema())
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it
