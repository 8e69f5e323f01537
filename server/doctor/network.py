"""The addresses: free, or is it our server that answers there?"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from robot_client.clock import SystemClock
from robot_client.findings import Finding
from server.commands.complete import headers
from server.settings import Settings

_PATIENCE_S = 3.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True)
class Answer:
    """What a server said of itself, and by how many seconds its clock is ahead of ours."""

    health: dict[str, Any]
    ahead_s: float


def check(settings: Settings) -> Iterator[Finding]:
    """The REST API's address and the gateway's."""
    answer = ask_health(settings)
    if answer is not None:
        text = f"a server of version {answer.health['version']} answers at {settings.address}"
        yield Finding("ports", "OK", text)
        return
    yield _free("REST", settings.host, settings.port, "--port")
    parts = urlsplit(settings.gateway.replace("*", "0.0.0.0"))
    if parts.scheme == "tcp" and parts.hostname and parts.port:
        yield _free("gateway", parts.hostname, parts.port, "--gateway")


def ask_health(settings: Settings) -> Answer | None:
    """What the server at the settings' address says; None where none of ours answers."""
    got = ask(settings, "/health")
    if got is None:
        return None
    said = parsedate_to_datetime(got.headers["date"]).timestamp() if "date" in got.headers else None
    wall = SystemClock().wall()
    try:
        health = got.json()
        return Answer(health | {"version": health["version"]}, 0.0 if said is None else said - wall)
    except (ValueError, KeyError, TypeError):
        return None


def ask(settings: Settings, path: str) -> httpx.Response | None:
    """A successful answer of the API, None where there is none. Sends DREAMFLEET_TOKEN."""
    import os

    host = _EVERYWHERE.get(settings.host, settings.host)
    url = f"{replace(settings, host=host).address}/api/v1{path}"
    trust: ssl.SSLContext | bool = True
    if settings.tls_certificate is not None:
        trust = ssl._create_unverified_context()  # our own machine, which we ask how it is
    try:
        got = httpx.get(url, timeout=_PATIENCE_S, verify=trust, headers=headers(os.environ))
    except httpx.HTTPError:
        return None
    return got if got.is_success else None


def _free(what: str, host: str, port: int, option: str) -> Finding:
    if not port:
        return Finding("ports", "OK", f"{what}: the system finds a free port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        text = f"{what}: cannot listen on {host} port {port} ({error.strerror})"
        return Finding("ports", "FAIL", text, f"end what listens there, or choose with {option}")
    return Finding("ports", "OK", f"{what}: {host} port {port} is free")
