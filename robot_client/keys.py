"""CURVE keys: each machine makes its own pair, and only the public half ever travels.

A pair is kept as `<name>.key` (JSON with both halves, mode 0600) and `<name>.pub` (the public half
as 40 characters of Z85 text, to be given to the other side).
"""

from __future__ import annotations

import json
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from robot_client.durable import write_durably
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


def write(folder: Path, name: str, pair: KeyPair, replace: bool = False) -> Path:
    """Write `<name>.key` and `<name>.pub`. Returns the path of the former.

    Args:
        replace: a key that is there already may be overwritten.

    Raises:
        LinkError: the key is there already, or cannot be written.
    """
    path = folder / f"{name}.key"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists() and not replace:
            raise FileExistsError("the key exists already")
        text = json.dumps({"public": pair.public, "secret": pair.secret})
        write_durably(path, text.encode(), mode=0o600)
        write_durably(path.with_suffix(".pub"), f"{pair.public}\n".encode())
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
    """The key in the first line of a `.pub` file. Raises LinkError when there is none."""
    return read_publics(path)[0]


def read_publics(path: Path) -> tuple[str, ...]:
    """The keys in a `.pub` file, one a line. Raises LinkError when there is none, or no key."""
    try:
        lines = path.read_text().split()
        return tuple(_checked(line) for line in lines or [""])
    except (OSError, ValueError) as error:
        raise LinkError(f"{path}: not a public key ({error})") from error


def is_public(key: str) -> bool:
    """Whether the text can be a public key: 40 characters of Z85."""
    try:
        return len(key) == 40 and key.isascii() and len(z85.decode(key)) == 32
    except (ValueError, KeyError, struct.error):  # another alphabet, or a number too large
        return False


def _checked(key: str) -> str:
    if not isinstance(key, str) or not is_public(key):
        raise ValueError("expected 40 characters of Z85")
    return key
