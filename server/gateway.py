"""The socket that robots talk to: admits them, makes their rows durable, hands them policies.

Everything runs in the event loop except the commits, which a `ChunkWriter` thread makes; an Ack is
sent only after its rows are on the disk. A message that is wrong costs its sender a Rejected and
one count, and nobody else anything. While the disk cannot follow, nothing more is read, and the
robots keep their rows.

Loopback needs no keys. With keys, robots are known by them, message by message: the name inside a
Hello does not count, and a key that is revoked is refused at its next message and gets no more
policies. Commands still go out to it: an operator may have to stop a robot that is not trusted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray
from zmq.auth.asyncio import AsyncioAuthenticator

from robot_client.clock import Clock
from robot_client.errors import DreamfleetError, FieldError, MessageError, SchemaError
from robot_client.messages import (
    ANY_EPISODE,
    Ack,
    BlobRequest,
    CommandDone,
    Drive,
    Evaluate,
    Event,
    Heartbeat,
    Hello,
    Message,
    PolicyReport,
    Pulse,
    Rejected,
    Upload,
    Verb,
    Welcome,
    decode,
    encode,
)
from robot_client.schema import Json
from robot_client.wire import Limits
from server.curve import Curve, bind, is_loopback, lock
from server.directory import Directory
from server.errors import NotFound, ReplayError, SettingsError
from server.offers import Offers, digest_of, part_of
from server.replay.store import Outcome, ReplayStore
from server.sessions import (
    HALTS,
    Order,
    Orders,
    Session,
    SessionInfo,
    Sessions,
    camera_of,
    chunk_of,
    declared_fields,
    row_bytes,
)
from server.writer import ChunkWriter, Delivery

log = logging.getLogger(__name__)
# A robot is to notice within 1.5 s that its learner is frozen: the supervisor does after 1.2 s
# (`Patience.frozen`), and the answer to the robot's next heartbeat tells.
HEARTBEAT_S = 0.25
BURST = 256  # messages handled before the event loop gets its turn


class Gateway:
    """Serves robots on `endpoint` between `start()` and `stop()`; implements `server.fleet.Fleet`.

    Args:
        endpoint: where to listen, such as tcp://127.0.0.1:5555; port * picks a free one.
        directory: who admits robots.
        replay_dir: folder of an experiment's replay store.
        blob_path: file of a blob, given experiment and SHA-256.
        queue_bytes: rows that may wait for the disk.

    Raises:
        SettingsError: other machines can reach `endpoint`, and there is no `curve`.
    """

    def __init__(
        self,
        endpoint: str,
        directory: Directory,
        replay_dir: Callable[[str], Path],
        blob_path: Callable[[str, str], Path],
        clock: Clock,
        curve: Curve | None = None,
        limits: Limits | None = None,
        queue_bytes: int = 256 * 2**20,
    ) -> None:
        if curve is None and not is_loopback(endpoint):
            raise SettingsError(
                f"{endpoint} can be reached from other machines: give the gateway keys "
                "(`dreamfleet keys init`), or listen on tcp://127.0.0.1"
            )
        self.address = endpoint  # where it really listens, once started
        self.refused = 0  # messages so far
        self._directory, self._clock, self._curve = directory, clock, curve
        self._replay_dir, self._blob_path = replay_dir, blob_path
        self._limits = limits or Limits()
        self._sessions, self._orders = Sessions(), Orders(clock.wall())
        self._stores: dict[str, ReplayStore] = {}
        self._offers = Offers(self._limits)
        self._gone: set[str] = set()  # experiments that have been removed
        self._writer = ChunkWriter(self.store, self._committed_soon, queue_bytes)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._authenticator: AsyncioAuthenticator | None = None
        self._drain_planned = False
        self._handlers: dict[type, Callable[[Session, Any], None]] = {
            Upload: self._upload,
            Heartbeat: self._heartbeat,
            BlobRequest: self._blob,
            PolicyReport: lambda s, m: directory.policy_reported(s.robot, m),
            Event: lambda s, m: directory.event(s.robot, s.experiment, m),
            CommandDone: lambda s, m: self._orders.done(s.robot, m.id, m.error),
        }

    async def start(self) -> None:
        """Listen. Raises SettingsError when the address is taken or is none."""
        self._loop = asyncio.get_running_loop()
        self._set_options()
        try:
            bind(self._socket, self.address)
        except (zmq.ZMQError, ValueError) as error:
            if self._authenticator:
                self._authenticator.stop()
            self._context.destroy(linger=0)
            raise SettingsError(f"cannot listen on {self.address}: {error}") from error
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._writer.start()
        self._loop.add_reader(self._socket, self._drain)
        self._drain_soon()

    async def stop(self) -> None:
        """Make what has come in durable, acknowledge it, and close. Call once, after `start`."""
        self._loop.remove_reader(self._socket)
        await asyncio.to_thread(self._writer.stop)
        await asyncio.sleep(0)  # the last acknowledgements
        if self._authenticator:
            self._authenticator.stop()
        self._socket.close(linger=100)
        self._context.term()
        for store in self._stores.values():
            store.close()

    def publish(self, experiment: str, manifest: Json) -> None:
        """Offer a policy to the robots of an experiment, now and when they connect, but to those
        that have one of their own."""
        self._offers.put(experiment, "", manifest)
        for session in self._sessions.of_experiment(experiment):
            if not self._offers.has_own(experiment, session.robot):
                self._offer(session)

    def publish_to(self, robot: str, experiment: str, manifest: Json | None) -> None:
        """Offer a robot a policy of its own while it is of the experiment; None: that of all."""
        self._offers.put(experiment, robot, manifest)
        session = self._sessions.of_robot(robot)
        if session is not None and session.experiment == experiment:
            self._offer(session)

    def _offer(self, session: Session) -> None:
        if self._curve and self._curve.robot_of(session.key or "") != session.robot:
            return  # its key has been revoked since
        frames = self._offers.of(session.experiment, session.robot)
        if frames is not None:
            self._send_frames(session.peer, frames)

    def command(self, robot: str, verb: Verb, episode: int = ANY_EPISODE) -> int:
        """Send a command; it is repeated when the robot reconnects without having answered.

        One that halts it reaches a robot that was refused, too. Raises NotFound when the robot has
        not connected since the server started.
        """
        peers = self._sessions.peers_of(robot)
        if verb not in HALTS or not peers:
            peers = [self._connected(robot).peer]
        command = self._orders.add(robot, verb, episode)
        for peer in peers:
            self._send(peer, command)
        return command.id

    def drive(self, robot: str, message: Drive) -> None:
        """Pass on what a person who drives a robot wants, once. Raises NotFound."""
        self._send(self._connected(robot).peer, message)

    def evaluate(self, robot: str, order: Evaluate) -> None:
        """Give a robot this order, if it is connected."""
        session = self._sessions.of_robot(robot)
        if session is not None:
            self._send(session.peer, order)

    def _connected(self, robot: str) -> Session:
        session = self._sessions.of_robot(robot)
        if session is None:
            raise NotFound(f"robot {robot} is not connected")
        return session

    def let_go(self, robot: str) -> None:
        """End the robot's session, if it has one: it says hello again, and may join elsewhere."""
        session = self._sessions.of_robot(robot)
        if session is not None:
            self._sessions.forget(session.peer)
            self._sessions.turn_away(robot, session.peer)

    def order(self, number: int) -> Order:
        """What became of a command. Raises NotFound."""
        return self._orders.get(number)

    def sessions(self) -> Sequence[SessionInfo]:
        """The connected robots."""
        return self._sessions.infos(self._clock.monotonic())

    def camera(self, robot: str) -> NDArray[np.uint8] | None:
        """The last picture (H, W, C) that the robot sent, if any."""
        session = self._sessions.of_robot(robot)
        return session.image if session else None

    def store(self, experiment: str) -> ReplayStore:
        """The open replay store of an experiment. Raises ReplayError."""
        if experiment in self._gone:
            raise ReplayError(f"experiment {experiment} has been removed")
        if experiment not in self._stores:
            self._stores[experiment] = ReplayStore(self._replay_dir(experiment))
        return self._stores[experiment]

    def forget(self, experiment: str) -> None:
        """Close the store of an experiment that is removed; it is never opened again."""
        self._gone.add(experiment)
        self._offers.forget(experiment)
        for session in self._sessions.of_experiment(experiment):
            self._sessions.forget(session.peer)
        store = self._stores.pop(experiment, None)
        if store is not None:
            store.close()

    @property
    def problem(self) -> str:
        """Why rows cannot be stored at the moment; empty when they can."""
        return self._writer.problem

    # Receiving.

    def _set_options(self) -> None:
        options = {
            zmq.ROUTER_MANDATORY: 1,
            # A robot that reconnects is not kept out by its own ghost. With keys that would let
            # one robot take another's connection; ours choose no routing id, and need it not.
            zmq.ROUTER_HANDOVER: 0 if self._curve else 1,
            zmq.MAXMSGSIZE: self._limits.frame_bytes,
            zmq.LINGER: 0,
            zmq.RCVHWM: 256,
            zmq.SNDHWM: 1000,
            zmq.HANDSHAKE_IVL: 3000,
            # Not ZMTP heartbeats: libzmq 4.3.5 aborts when a peer goes while RCVHWM holds it back.
            zmq.TCP_KEEPALIVE: 1,
            zmq.TCP_KEEPALIVE_IDLE: 10,
            zmq.TCP_KEEPALIVE_INTVL: 5,
            zmq.TCP_KEEPALIVE_CNT: 3,
        }
        for option, value in options.items():
            self._socket.setsockopt(option, value)
        if self._curve:
            self._authenticator = lock(self._context, self._socket, self._curve)

    def _drain_soon(self) -> None:
        """The socket's file descriptor tells of changes only: after any use, look again."""
        if not self._drain_planned:
            self._drain_planned = True
            self._loop.call_soon(self._drain_planned_now)

    def _drain_planned_now(self) -> None:
        if not self._socket.closed and not self._writer.stopping:
            self._drain_planned = False
            self._drain()

    def _drain(self) -> None:
        for _ in range(BURST):
            if self._writer.full or self._writer.stopping:
                return  # `_committed` looks again
            try:
                frames = self._next_frames()
            except zmq.Again:
                return
            self._receive(frames)
        self._drain_soon()

    def _next_frames(self) -> list[zmq.Frame]:
        """One message, not copied. Half the cost of `recv_multipart`, which asks the socket for
        more after every frame. Raises zmq.Again when there is none."""
        receive = self._socket.recv
        frames: list[zmq.Frame] = []
        while True:
            frame = receive(zmq.NOBLOCK, False)
            frames.append(frame)
            if not frame.more:
                return frames

    def _receive(self, frames: list[zmq.Frame]) -> None:
        peer = frames[0].bytes
        kind = "message"
        try:
            message = decode([frame.buffer for frame in frames[1:]], self._limits)
            kind = type(message).__name__
            self._handle(peer, message, self._key_of(frames[-1]))
        except MessageError as error:
            self._refuse(peer, kind, error)
        except FieldError as error:
            self._refuse(peer, kind, error, fatal=True)
        except DreamfleetError as error:
            self._refuse(peer, kind, FieldError("server", "", error))
        except Exception as error:  # whatever one message does, the service goes on
            log.exception("a %s could not be handled", kind)
            self._refuse(peer, kind, FieldError("server", "no fault", type(error).__name__))

    def _key_of(self, frame: zmq.Frame) -> str | None:
        """The public key that the connection of this message has proven; None without CURVE."""
        return None if self._curve is None else str(frame.get("User-Id"))

    def _name_of(self, key: str | None) -> str | None:
        """The robot that a key belongs to; None without CURVE. Raises SchemaError."""
        if self._curve is None or key is None:
            return None
        name = self._curve.robot_of(key)
        if name is None:
            raise SchemaError("key", "a key that is enrolled and not revoked", "another")
        self._curve.used(key)
        return name

    def _handle(self, peer: bytes, message: Message, key: str | None) -> None:
        name = self._name_of(key)
        if isinstance(message, Hello):
            self._hello(peer, replace(message, robot=name) if name else message, key)
            return
        session = self._sessions.of_peer(peer)
        if session is None or (name is not None and session.robot != name):
            raise MessageError("hello", "a Hello first", type(message).__name__)
        handler = self._handlers.get(type(message))
        if handler is None:
            raise MessageError("kind", "a robot's message", type(message).__name__)
        session.seen = self._clock.monotonic()
        handler(session, message)

    def _hello(self, peer: bytes, hello: Hello, key: str | None) -> None:
        fields = declared_fields(hello)
        now = self._clock.monotonic()
        if self._sessions.is_stale(hello.robot, hello.epoch, now):
            raise SchemaError("robot", "a name of its own", f"{hello.robot}, already connected")
        experiment, next_seq = self._place(hello, peer)
        camera = camera_of(fields)
        self._sessions.open(
            session := Session(hello.robot, peer, hello.epoch, experiment, fields, camera, now, key)
        )
        self._send(peer, Welcome(hello.robot, experiment, next_seq, HEARTBEAT_S))
        self._offer(session)
        for command in self._orders.pending(hello.robot):
            self._send(peer, command)
        self._directory.joined(hello.robot, experiment)

    def _place(self, hello: Hello, peer: bytes) -> tuple[str, int]:
        """Where the robot's rows go, and the first that is not there.

        Raises DreamfleetError when there is no place for it; it still hears of what is to halt it.
        """
        try:
            experiment = self._directory.admit(hello.robot, hello)
            next_seq = self.store(experiment).next_seq(hello.robot, hello.epoch)
            if hello.first_seq > next_seq:  # its older rows went elsewhere, or are lost
                raise SchemaError("first_seq", f"0 to {next_seq}, or a new epoch", hello.first_seq)
        except DreamfleetError:
            if self._sessions.turn_away(hello.robot, peer):
                for command in self._orders.halting(hello.robot):
                    self._send(peer, command)
            raise
        return experiment, next_seq

    def _upload(self, session: Session, upload: Upload) -> None:
        chunk = chunk_of(session, upload)
        if session.camera:
            session.image = chunk.columns[session.camera][-1]
        size = row_bytes(chunk.columns)
        self._writer.put(Delivery(session.peer, session.experiment, session.robot, chunk, size))

    def _heartbeat(self, session: Session, heartbeat: Heartbeat) -> None:
        session.heartbeat = heartbeat
        state = self._directory.learner_state(session.experiment)
        self._send(session.peer, Pulse(heartbeat.tick, state))
        self._directory.heartbeat(session.robot, session.experiment, heartbeat)

    def _blob(self, session: Session, request: BlobRequest) -> None:
        path = self._blob_path(session.experiment, digest_of(request))
        self._send(session.peer, part_of(path, request))

    # Answering.

    def _committed_soon(self, results: Sequence[tuple[Delivery, Outcome]]) -> None:
        self._loop.call_soon_threadsafe(self._committed, results)

    def _committed(self, results: Sequence[tuple[Delivery, Outcome]]) -> None:
        """Acknowledge each stream once per commit, at its newest mark."""
        marks: dict[tuple[bytes, str], int] = {}
        for delivery, outcome in results:
            marks[delivery.peer, delivery.chunk.epoch] = outcome.next_seq
            if outcome.refused:
                error = SchemaError("episode", "rows that continue the stream", outcome.refused)
                self._refuse(delivery.peer, "Upload", error, fatal=True)
            if outcome.stored:
                self._note_stored(delivery, outcome.stored)
        for (peer, epoch), next_seq in marks.items():
            self._send(peer, Ack(epoch, next_seq))
        self._drain_soon()

    def _note_stored(self, delivery: Delivery, rows: int) -> None:
        session = self._sessions.of_peer(delivery.peer)
        if session:
            session.rows += rows
        chunk, skip = delivery.chunk, delivery.chunk.rows - rows
        if skip:
            columns = {name: column[skip:] for name, column in chunk.columns.items()}
            chunk = replace(chunk, first_seq=chunk.first_seq + skip, columns=columns)
        self._directory.stored(delivery.robot, delivery.experiment, chunk)

    def _refuse(self, peer: bytes, kind: str, error: FieldError, fatal: bool = False) -> None:
        self.refused += 1
        session = self._sessions.of_peer(peer)
        if session:
            session.rejected[error.field] += 1
        field, expected, got = (text[:1000] for text in (error.field, error.expected, error.got))
        self._send(peer, Rejected(kind, field, expected, got, fatal))

    def _send(self, peer: bytes, message: Message) -> None:
        self._send_frames(peer, encode(message, self._limits))

    def _send_frames(self, peer: bytes, frames: Sequence[Any]) -> None:
        try:
            self._socket.send_multipart([peer, *frames], zmq.NOBLOCK)
        except zmq.ZMQError as error:  # gone, or not reading: whatever matters is asked for again
            log.debug("not sent to %r: %s", peer, error)
        self._drain_soon()
