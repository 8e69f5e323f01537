"""Turns errors into problem details (RFC 9457), which name the wrong field."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from robot_client.errors import DreamfleetError, FieldError
from server.api.problems import MEDIA_TYPE, Problem
from server.errors import Conflict, Forbidden, NotFound, NotReady, TooManyAttempts, Unauthorized
from server.storage.storage import AWAY

log = logging.getLogger(__name__)

_STATUS: dict[type[Exception], tuple[int, str]] = {
    NotFound: (404, "not found"),
    Conflict: (409, "conflict"),
    FieldError: (422, "invalid value"),
    Unauthorized: (401, "unauthorized"),
    Forbidden: (403, "forbidden"),
    TooManyAttempts: (429, "too many attempts"),
    NotReady: (503, "not ready"),
}
_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "60"}}


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error of the API with problem details."""
    app.add_exception_handler(DreamfleetError, _ours)
    app.add_exception_handler(RequestValidationError, _bad_request)
    app.add_exception_handler(HTTPException, _http)
    for kind in AWAY:
        app.add_exception_handler(kind, _no_database)
    app.add_exception_handler(Exception, _unexpected)


def _problem(status: int, title: str, detail: str, **more: str) -> JSONResponse:
    texts = {name: _sendable(text) for name, text in (more | {"detail": detail}).items()}
    body = Problem(title=title, status=status, **texts).model_dump(exclude_none=True)
    return JSONResponse(body, status, _HEADERS.get(status), media_type=MEDIA_TYPE)


def _sendable(text: str) -> str:
    """Text that UTF-8 can hold: half a surrogate pair may have come in."""
    return text.encode(errors="backslashreplace").decode()


def problem_of(error: Exception) -> JSONResponse:
    """The answer to an error of ours."""
    known = (_STATUS[kind] for kind in _STATUS if isinstance(error, kind))
    status, title = next(known, (500, "server error"))
    more = {}
    if isinstance(error, FieldError):
        more = {"field": error.field, "expected": error.expected, "got": error.got}
    return _problem(status, title, str(error), **more)


async def _ours(_request: Request, error: Exception) -> JSONResponse:
    return problem_of(error)


async def _bad_request(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field, got = ".".join(map(str, first["loc"][1:])), repr(first.get("input"))[:200]
    why = "no such field" if first["type"] == "extra_forbidden" else first["msg"]
    detail = f"{field}: {why}, got {got}"
    return _problem(422, "invalid value", detail, field=field, expected=why, got=got)


async def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    answer = _problem(error.status_code, str(error.detail).lower(), str(error.detail))
    answer.headers.update(error.headers or {})  # such as Allow
    return answer


async def _no_database(request: Request, error: Exception) -> JSONResponse:
    log.warning("%s %s: %s", request.method, request.url.path, error)
    return problem_of(NotReady(f"the database does not answer: {type(error).__name__}"))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _problem(500, "server error", "the server's log says more")
