"""Keeps web pages of others from steering robots through the browser of somebody who sits here."""

from __future__ import annotations

from fastapi import Request

from server.curve import is_loopback
from server.errors import Forbidden


def refuse_other_pages(request: Request) -> None:
    """Raise Forbidden when a page from elsewhere asks for a change.

    Any page may have a browser post to this machine; the browser says in `Origin` whose page it is.
    """
    origin = request.headers.get("origin")
    if request.method != "GET" and origin is not None and not is_loopback(origin):
        raise Forbidden(f"a page of {origin[:200]} may not change anything here")
