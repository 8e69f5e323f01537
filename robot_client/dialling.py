"""A robot's connection to its server."""

from __future__ import annotations

import zmq

from robot_client.keys import KeyPair
from robot_client.wire import Limits


def dial(
    context: zmq.Context[zmq.Socket[bytes]], address: str, own: KeyPair | None, server_key: str
) -> zmq.Socket[bytes]:
    """A socket that connects to a gateway, and does so again whenever the connection is lost.

    With a key pair of its own it is encrypted, for the server with this public key alone.
    """
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.sndhwm = 16
    socket.immediate = True
    socket.reconnect_ivl, socket.reconnect_ivl_max = 100, 2000
    socket.heartbeat_ivl, socket.heartbeat_timeout = 500, 1000
    socket.handshake_ivl = 3000
    socket.maxmsgsize = Limits().frame_bytes
    if own is not None:
        socket.curve_publickey = own.public.encode()
        socket.curve_secretkey = own.secret.encode()
        socket.curve_serverkey = server_key.encode()
    socket.connect(address)
    return socket
