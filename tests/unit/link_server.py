"""A link's surroundings: a server that does only what it is told, and policies for it to offer."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import zmq

from robot_client.bundle import Manifest, Signature, sha256
from robot_client.clock import SystemClock
from robot_client.fetch import PART_BYTES
from robot_client.link import CurveKeys, Link
from robot_client.messages import (
    Command,
    Heartbeat,
    Hello,
    Message,
    Pulse,
    Welcome,
    decode,
    encode,
)
from robot_client.spool import Spool

M = TypeVar("M")
HELLO = Hello("ball", "", {}, {}, 2.0, {"name": "roll"}, 0, 0, -1, "0.1.0")
WEIGHTS = np.random.default_rng(0).bytes(5 * PART_BYTES + 7)
GRAPH = b"a small graph"


def manifest(version: int = 0, weights: bytes = WEIGHTS) -> Manifest:
    blobs = {sha256(GRAPH): len(GRAPH), sha256(weights): len(weights)}
    spaces = ("ab" * 32, "cd" * 32)
    return Manifest(
        "x1", "dreamer", version, "actor", {"policy": sha256(GRAPH)}, sha256(weights), blobs,
        *spaces, Signature(),
    )  # fmt: skip


class Inbox:
    """Keeps what it is given; `want` is waited for by the tests."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.versions: list[int] = []

    def offered(self, manifest: Manifest) -> list[tuple[str, int]]:
        return [(d, n) for d, n in manifest.sizes.items() if d not in self.blobs]

    def received(self, sha256: str, data: bytes) -> None:
        self.blobs[sha256] = data

    def complete(self, manifest: Manifest) -> None:
        self.versions.append(manifest.version)


class Server:
    """A ROUTER that does only what a test tells it to."""

    def __init__(self, context: zmq.Context[Any], address: str = "tcp://127.0.0.1:*") -> None:
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.rcvtimeo = 10_000
        self._wanted = address
        self.peer = b""

    def bind(self, secret: bytes | None = None) -> str:
        if secret is not None:
            self.socket.curve_server = True
            self.socket.curve_secretkey = secret
        self.socket.bind(self._wanted)
        self.address: str = self.socket.last_endpoint.decode()
        return self.address

    def receive(self) -> Message:
        self.peer, *frames = self.socket.recv_multipart()
        return decode(frames)

    def want(self, kind: type[M]) -> M:
        """The next message of this kind; heartbeats on the way are answered, others dropped."""
        while True:
            message = self.receive()
            if isinstance(message, kind):
                return message
            if isinstance(message, Heartbeat):
                self.send(Pulse(message.tick, "running"))

    def send(self, message: Message) -> None:
        self.socket.send_multipart([self.peer, *encode(message)])

    def welcome(self, next_seq: int = 0) -> Hello:
        hello = self.want(Hello)
        self.send(Welcome("ball", "x1", next_seq, 0.1))
        return hello


@dataclass
class Setup:
    """A spool, a link to `server`, and what the link passed on."""

    directory: Path
    stack: ExitStack
    context: zmq.Context[Any]
    inbox: Inbox = field(default_factory=Inbox)
    commands: list[Command] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.spool = Spool(self.directory)
        self.stack.callback(self.spool.close)
        self.server = self.new_server()

    def new_server(self, *address: str) -> Server:
        server = Server(self.context, *address)
        self.stack.callback(server.socket.close)
        return server

    def link(self, address: str, curve: CurveKeys | None = None) -> Link:
        link = Link(
            address, HELLO, self.spool, self.inbox, self.heartbeat, self.commands.append,
            SystemClock(), curve,
        )  # fmt: skip
        self.stack.callback(link.close)
        link.start()
        return link

    def heartbeat(self) -> Heartbeat:
        return Heartbeat(7, 3, "fresh", "", self.spool.backlog, 2.0, 0, 0, -1.0, 0.0, "", 0)


BLOBS = {sha256(WEIGHTS): WEIGHTS, sha256(GRAPH): GRAPH}
