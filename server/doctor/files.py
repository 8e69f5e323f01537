"""The data directory: can it be written, is there room, and are its secrets secret?"""

from __future__ import annotations

from collections.abc import Iterator

from robot_client.findings import Finding, folder, secret
from server.access.robot_keys import FOLDER
from server.settings import Settings

_LEAST_GIB = 0.5
SECRETS = ("server.key", "tokens.json", "robots.json")


def check(settings: Settings) -> Iterator[Finding]:
    """The directory and the files below it that only its owner may read."""
    yield from folder("data directory", settings.data, _LEAST_GIB)
    for name in SECRETS:
        path = settings.data / FOLDER / name
        if path.exists():
            yield secret("secret file", path)
