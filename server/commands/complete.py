"""Completion of names by asking a running server: quick, and silent when there is none."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

import typer

DEFAULT_SERVER = "http://127.0.0.1:8000"
_PATIENCE_S = 1.0  # somebody waits at the keyboard


def headers(environment: Mapping[str, str]) -> dict[str, str]:
    """What a request to the API carries: the token, if there is one."""
    token = environment.get("DREAMFLEET_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def trust(server: str) -> ssl.SSLContext | bool:
    """Whom to trust at an address: to load every authority's certificate takes long, and a server
    without TLS has none."""
    return server.startswith("https:") or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def experiment_names(context: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Names of experiments, and ids; of a name that several have, the ids only."""
    found = _items(context, "/experiments?limit=1000")
    names = [each["name"] for each in found]
    for each in found:
        if names.count(each["name"]) == 1 and each["name"].startswith(incomplete):
            yield each["name"], f"{each['agent']}, {each['state']}"
        if each["id"].startswith(incomplete):
            yield each["id"], each["name"]


def robot_names(context: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Names of robots."""
    for each in _items(context, "/robots?limit=1000"):
        if each["name"].startswith(incomplete):
            yield each["name"], "connected" if each["connected"] else "not connected"


def agent_names(context: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Names of agents."""
    for each in _items(context, "/agents"):
        if each["name"].startswith(incomplete):
            yield each["name"], each["doc"].partition("\n")[0]


def dataset_names(context: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Names of datasets."""
    for each in _items(context, "/datasets"):
        if each["name"].startswith(incomplete):
            yield each["name"], f"{each['episodes']} episodes"


def _items(context: typer.Context, path: str) -> list[dict[str, Any]]:
    import httpx

    server = context.params.get("server") or os.environ.get("DREAMFLEET_SERVER", DEFAULT_SERVER)
    sent, url = headers(os.environ), f"{server}/api/v1{path}"
    try:
        found = httpx.get(url, headers=sent, timeout=_PATIENCE_S, verify=trust(server)).json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return []
    items = found.get("items", []) if isinstance(found, dict) else found
    return items if isinstance(items, list) else []
