"""What must be there before the server listens where other machines can reach it."""

from __future__ import annotations

import shlex

from server.access.robot_keys import server_pair
from server.access.tokens import Tokens
from server.errors import SettingsError
from server.settings import Settings


def refuse_open_doors(settings: Settings) -> None:
    """Raise SettingsError when strangers could come in; it says which commands to run first. Also
    when the gateway's address does not say its transport.

    The server's own key is enough for the gateway, which is then locked: robots are let in while it
    runs. So are tokens that have all been revoked since: learning must go on after a restart.

    Raises AccessError or LinkError when the keys or tokens that are there cannot be read.
    """
    if "://" not in settings.gateway:
        raise SettingsError(
            f"--gateway {settings.gateway} does not say how: write tcp://{settings.gateway}"
        )
    missing = [] if settings.gateway_is_loopback else _missing_keys(settings)
    if missing:
        raise SettingsError(_refusal(f"--gateway {settings.gateway}", "robots' keys", missing))
    missing = [] if settings.is_loopback else _missing_tokens(settings)
    if missing:
        raise SettingsError(_refusal(f"--host {settings.host}", "tokens", missing))


def _missing_keys(settings: Settings) -> list[str]:
    if server_pair(settings.data) is not None:
        return []
    data = shlex.quote(str(settings.data))
    return [
        f"dreamfleet keys init --data {data}",
        "dreamfleet-robot enrol --name NAME   (on the robot; prints its KEY)",
        f"dreamfleet keys enrol NAME --key='KEY' --data {data}",
    ]


def _missing_tokens(settings: Settings) -> list[str]:
    if any(token.role == "operator" for token in Tokens(settings.data).all()):
        return []
    data = shlex.quote(str(settings.data))
    return [f"dreamfleet tokens create NAME --role operator --data {data}"]


def _refusal(option: str, what: str, commands: list[str]) -> str:
    listed = "".join(f"\n  {command}" for command in commands)
    return (
        f"{option}: refusing to listen where other machines can reach it without {what}. Run first:"
        f"{listed}\nor listen on 127.0.0.1."
    )
