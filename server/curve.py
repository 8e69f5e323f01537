"""Who may connect from where: CURVE keys, and the addresses that need none."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

from robot_client.errors import DreamfleetError

log = logging.getLogger(__name__)

ZAP_DOMAIN = b"dreamfleet"
_LAST_PORT = 65535


@dataclass(frozen=True)
class Curve:
    """The server's key pair (Z85) and the list of those who may come in.

    Args:
        robot_of: name on file for a robot's public key, None when it is unknown or revoked. Raises
            DreamfleetError when the file cannot be read.
        used: is told of each message that comes with a key.
    """

    public: bytes
    secret: bytes = field(repr=False)
    robot_of: Callable[[str], str | None]
    used: Callable[[str], None] = lambda key: None


def lock(context: zmq.Context[Any], socket: zmq.Socket[Any], curve: Curve) -> AsyncioAuthenticator:
    """Let only enrolled keys connect to a socket that is about to be bound.

    The authenticator serves in the running event loop until its `stop()`.
    """
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, curve.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, curve.secret)
    socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without it, no list means no lock
    authenticator = AsyncioAuthenticator(zmq.asyncio.Context.shadow(context))
    authenticator.start()
    authenticator.configure_curve_callback(
        ZAP_DOMAIN.decode(), credentials_provider=_Allowlist(curve.robot_of)
    )
    return authenticator


def bind(socket: zmq.Socket[Any], endpoint: str) -> None:
    """Listen there. Raises ZMQError, and ValueError for a port that it would take for another: it
    counts on from zero."""
    port = endpoint.rpartition(":")[2]
    if endpoint.startswith("tcp://") and port.isdecimal() and int(port) > _LAST_PORT:
        raise ValueError(f"expected a port up to {_LAST_PORT}, got {port}")
    socket.bind(endpoint)


def is_loopback(endpoint: str) -> bool:
    """Whether only this machine can reach the endpoint."""
    if endpoint.startswith(("ipc://", "inproc://")):
        return True
    host = urlsplit(endpoint.replace("*", "0")).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Allowlist:
    """What pyzmq's authenticator asks at each handshake."""

    def __init__(self, robot_of: Callable[[str], str | None]) -> None:
        self._robot_of = robot_of

    def callback(self, domain: str, key: bytes) -> bool:
        try:
            return self._robot_of(key.decode()) is not None
        except DreamfleetError as error:
            log.error("nobody comes in: %s", error)
            return False
