"""`dreamfleet health`, `ready` and `whoami`: is the server up, can it work, who am I to it?"""

from __future__ import annotations

from server.commands.output import show
from server.commands.rest import DEFAULT_SERVER, AsJson, Server, ask


def health(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Show whether the server is up, and how much it does."""
    show(ask(server, "GET", "/health"), as_json)


def ready(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Show whether the server can do its work; exit code 1 if not."""
    show(ask(server, "GET", "/ready"), as_json)


def whoami(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Show who the token makes you, and what that may do."""
    show(ask(server, "GET", "/whoami"), as_json)
