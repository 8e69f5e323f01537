"""Keeps web pages of others from steering robots through the browser of somebody who sits here."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from server.curve import is_loopback
from server.errors import Forbidden


def refuse_other_pages(connection: HTTPConnection, closed: bool) -> None:
    """Raise Forbidden when a page from elsewhere asks for a change.

    Any page may have a browser post to this machine; the browser says in `Origin` whose page it is.

    Args:
        connection: what asks for the change.
        closed: tokens are needed, so that the server's own page may be at any address. Without
            them it is on loopback: a foreign name that leads here is a trick.
    """
    origin = connection.headers.get("origin")
    if origin is None or is_loopback(origin):
        return
    own = closed and urlsplit(origin).netloc == connection.headers.get("host")
    if not own:
        raise Forbidden(f"a page of {origin[:200]} may not change anything here")
