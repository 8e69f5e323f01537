"""Where a robot's server is, whether it listens, and by which keys the two know each other."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from robot_client.errors import LinkError
from robot_client.keys import KeyPair


@dataclass(frozen=True)
class CurveKeys:
    """The robot's own key pair and the public key that the server must have.

    `former` are keys that it may still have: they are tried in turn until it changes.
    """

    own: KeyPair
    server: str
    former: tuple[str, ...] = ()


def check_address(address: str, keys: CurveKeys | None) -> None:
    """Raise LinkError when `address` is none, or needs keys and there are none."""
    parts = urlsplit(address)
    if parts.scheme in ("ipc", "inproc"):
        return
    try:
        if parts.scheme != "tcp" or not parts.hostname or not parts.port:
            raise ValueError("no host or port")
    except ValueError as error:
        raise LinkError(f"{address}: expected an address such as tcp://127.0.0.1:5555") from error
    if keys is None and not _loopback(parts.hostname):
        raise LinkError(
            f"{address} is not on this machine, and without keys nobody would know who listens: "
            "run `dreamfleet-robot enrol` on the robot, then the `dreamfleet keys enrol` that it "
            "prints on the server, then what that prints on the robot"
        )


def knock(address: str, patience_s: float) -> None:
    """Raise LinkError when nobody listens at a TCP address; of others it is not known."""
    parts = urlsplit(address)
    if parts.scheme != "tcp":
        return
    try:
        socket.create_connection((str(parts.hostname), int(parts.port or 0)), patience_s).close()
    except OSError as error:
        raise LinkError(f"nobody listens there ({error})") from error


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
