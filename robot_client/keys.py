"""CURVE keys: each machine makes its own pair, and only the public half ever travels.

A pair is kept as `<name>.key` (JSON with both halves, mode 0600) and `<name>.pub` (the public half
as 40 characters of Z85 text, to be given to the other side).
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from robot_client.errors import LinkError


@dataclass(frozen=True)
class KeyPair:
    """A CURVE key pair in Z85 text; the secret half is never printed."""

    public: str
    secret: str = field(repr=False)


def generate() -> KeyPair:
    """A new key pair."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def write(folder: Path, name: str, pair: KeyPair) -> Path:
    """Write `<name>.key` and `<name>.pub`. Returns the path of the former.

    Raises:
        LinkError: the key is there already (a key is never overwritten), or cannot be written.
    """
    path = folder / f"{name}.key"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"public": pair.public, "secret": pair.secret}, file)
        path.with_suffix(".pub").write_text(pair.public + "\n")
    except OSError as error:
        raise LinkError(f"{path}: {error}") from error
    return path


def read(path: Path) -> KeyPair:
    """Read a `.key` file.

    Raises:
        LinkError: it is not there, is not a key, or others may read it.
    """
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise LinkError(f"{path}: others may read this secret key; run: chmod 600 {path}")
        data = json.loads(path.read_text())
        return KeyPair(_checked(data["public"]), _checked(data["secret"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LinkError(f"{path}: not a key file ({error})") from error


def read_public(path: Path) -> str:
    """Read a `.pub` file. Raises LinkError when it is not there or is not a key."""
    try:
        return _checked(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise LinkError(f"{path}: not a public key ({error})") from error


def _checked(key: str) -> str:
    if not isinstance(key, str) or len(key) != 40 or len(z85.decode(key)) != 32:
        raise ValueError("expected 40 characters of Z85")
    return key
