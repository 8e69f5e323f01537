"""The robot's connection to the server, in a thread of its own: no control loop waits for it.

The robot says Hello until it is welcomed, and again whenever the server has been silent or says
that it does not know us. Then rows go up from the spool, policies and commands come down, and a
Heartbeat goes out several times per second; each Pulse that answers one makes the server young
again. What cannot be delivered waits in the spool or, for short messages, in a bounded queue.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from typing import Final

import zmq

from robot_client.address import CurveKeys as CurveKeys
from robot_client.address import check_address as check_address
from robot_client.bundle import Manifest
from robot_client.clock import Clock
from robot_client.dialling import dial
from robot_client.errors import BundleError, LinkError, MessageError, SpoolError
from robot_client.fetch import Fetch
from robot_client.fetch import PolicyInbox as PolicyInbox
from robot_client.messages import (
    Ack,
    BlobPart,
    Command,
    CommandDone,
    Drive,
    Evaluate,
    Event,
    Heartbeat,
    Hello,
    Message,
    PolicyOffer,
    PolicyReport,
    Pulse,
    Rejected,
    Welcome,
    decode,
    encode,
)
from robot_client.spool import Spool
from robot_client.tidings import Standing, Tidings, refusal_of
from robot_client.uplink import Uplink

_log = logging.getLogger(__name__)
SILENCE: Final = 1.2  # seconds without a word after which the server counts as gone
_POLL_MS: Final = 10
_MAX_HEARTBEAT: Final = 0.3  # four fit into SILENCE
_HELLO_MIN, _HELLO_MAX = 0.2, 2.0
_REFUSED_PAUSE: Final = 30.0  # before a Hello that was refused is said again as it is
_OUTBOX: Final = 256
_RESTART_S: Final = 1.0
_SYNC_S: Final = 1.0  # of rows that a power cut may cost while no server takes them
_DISK_PAUSE: Final = 10.0  # before a disk that has failed is tried again
_LAST_S: Final = 2.0  # at the end, for what the server has not acknowledged
_GREETING_S: Final = 0.5  # since the beginning, for a server that has not yet welcomed us
_REDIAL_S: Final = 3.0  # without a word, before a connection with keys is tried anew
_BURST: Final = 32  # messages taken in one go, so that a flood does not stop the heartbeat


class Link:
    """Keeps one robot connected to one server.

    The attributes may be read from any thread; `send` may be called from any.

    Args:
        address: ZeroMQ address of the server's gateway, such as tcp://127.0.0.1:5555.
        hello: who we are; epoch, seqs and policy version are filled in each time it is said.
        spool: rows to send.
        inbox: takes the policies.
        heartbeat: the state of the control loop; called in the link's thread, must not block.
        on_command: takes what an operator wants; called in the link's thread, must not block.
        clock: real time, never faster.
        keys: CURVE keys; only a server on this machine can do without.
        on_drive: takes what a person wants who drives; as `on_command`.

    Raises:
        LinkError: another machine is to be reached without keys, or the address is none.
    """

    _socket: zmq.Socket[bytes]

    def __init__(
        self,
        address: str,
        hello: Hello,
        spool: Spool,
        inbox: PolicyInbox,
        heartbeat: Callable[[], Heartbeat],
        on_command: Callable[[Command | Evaluate], None],
        clock: Clock,
        keys: CurveKeys | None = None,
        on_drive: Callable[[Drive], None] = lambda message: None,
    ) -> None:
        check_address(address, keys)
        self._address, self._keys = address, keys
        self._server_keys = cycle((keys.server, *keys.former) if keys else ())
        self._hello, self._spool = hello, spool
        self._heartbeat, self._on_command, self._clock = heartbeat, on_command, clock
        self._on_drive = on_drive
        self._uplink, self._fetch = Uplink(spool), Fetch(inbox)
        self._outbox: deque[Message] = deque(maxlen=_OUTBOX)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._welcome: Welcome | None = None
        self._heard = self._pulse = self._dialled = float("-inf")
        self._next_heartbeat = self._next_hello = float("-inf")
        self._hello_pause = _HELLO_MIN
        self._next_sync = self._clock.monotonic() + _SYNC_S
        self._uploading, self._upload_again, self._told = True, float("inf"), ""
        self._refusal = self._complaint = ""  # of our Hello, and of another message
        self._tidings = Tidings(address, keys is not None, self._standing, clock)
        self._started = self._ends = clock.monotonic()
        self.learner = "none"
        """State of the learner as the last Pulse gave it."""
        self.error = ""
        """Why the link, or its uploads, have been given up; empty while all is well."""
        self.bad_messages = 0  # from the server that could not be decoded

    @property
    def connected(self) -> bool:
        """Whether the server has welcomed us and is alive."""
        return self._welcome is not None and self.server_age < SILENCE

    @property
    def server_age(self) -> float:
        """Seconds since the server's last Pulse or Welcome; infinite before the first."""
        return self._clock.monotonic() - self._pulse

    @property
    def welcome(self) -> Welcome | None:
        """What the server said on the present connection: our name and experiment."""
        return self._welcome

    @property
    def backlog(self) -> int:
        """Rows that the server has not acknowledged."""
        return self._spool.backlog

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def send(self, message: Event | CommandDone | PolicyReport) -> None:
        """Queue a short message until the server is there. The oldest goes when 256 wait."""
        self._outbox.append(message)

    def close(self) -> None:
        """Stop the thread; rows and what is queued are sent if the server is there. Idempotent.

        That may take two seconds: rows that the server has but has not acknowledged would count as
        not delivered.
        """
        if not self._stopping.is_set():
            self._ends = self._clock.monotonic() + _LAST_S
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        self._started = self._clock.monotonic()
        with zmq.Context() as context:
            while not self._is_over():
                self._live(context)
        self._tidings.end()

    def _is_over(self) -> bool:
        """Whether to end: asked to, and nothing is left that a server would take now."""
        now = self._clock.monotonic()
        if not self._stopping.is_set() or now > self._ends:
            return self._stopping.is_set()
        if self._welcome is None:
            return bool(self.error or self._refusal) or now - self._started > _GREETING_S
        return not (self._uploading and self._spool.backlog)

    def _standing(self) -> Standing:
        silent = self._clock.monotonic() - max(self._heard, self._started)
        fault = self.error if self._welcome is not None else ""
        return Standing(
            self._welcome, silent, self._heartbeat(), self.learner, self._refusal, fault
        )

    def _live(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """From one connection to its end. After a fault that nobody foresaw there is a new one:
        without a link, no emergency stop reaches the robot."""
        try:
            with self._connect(context) as self._socket:
                try:
                    while not self._is_over() and not self._is_unheard():
                        self._step()
                    self._flush_outbox()
                finally:
                    self._socket.linger = 200  # ms; for the last words only
        except Exception as error:  # noqa: BLE001 - last stop of the thread: robot must know
            _log.exception("the link has failed")
            self.error = f"the link has failed: {type(error).__name__}: {error}"
            self._lose("the link has failed")
            self._stopping.wait(_RESTART_S)

    def _connect(self, context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
        own = self._keys.own if self._keys else None
        socket = dial(context, self._address, own, next(self._server_keys, ""))
        self._dialled = self._clock.monotonic()
        return socket

    def _is_unheard(self) -> bool:
        """Whether the server does not answer to our keys, so that new ones must be tried, or these
        again: after a refusal, ZeroMQ does not do so by itself."""
        if self._keys is None or self._welcome is not None:
            return False
        return self._clock.monotonic() - max(self._heard, self._dialled) > _REDIAL_S

    def _step(self) -> None:
        self._tidings.tell()
        self._socket.poll(_POLL_MS)
        for _ in range(_BURST):
            if not self._receive():
                break
        now = self._clock.monotonic()
        if self._welcome is not None and now - self._heard > SILENCE:
            self._lose("the server is silent")
        self._sync(now)
        if self._welcome is None:
            self._say_hello(now)
        else:
            self._say_heartbeat(now)
            self._flush_outbox()
            self._upload(now)
            self._fetch_policy(now)

    def _put(self, message: Message) -> bool:
        """Hand a message to the socket; false when there is no connection or no room."""
        try:
            self._socket.send_multipart(encode(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _put_short(self, message: Message) -> bool:
        """`_put`, but a message that cannot be encoded is dropped: its fault stops nothing else."""
        try:
            return self._put(message)
        except MessageError as error:
            _log.error("not sent: %s: %s", type(message).__name__, error)
            self.error = f"{type(message).__name__} cannot be sent: {error}"
            return True

    def _receive(self) -> bool:
        try:
            frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        try:
            message = decode([frame.buffer for frame in frames])
        except MessageError as error:
            self.bad_messages += 1
            _log.warning("from the server: %s", error)
            return True
        self._heard = self._clock.monotonic()
        self._handle(message)
        return True

    def _handle(self, message: Message) -> None:
        match message:
            case Welcome():
                self._welcomed(message)
            case Rejected():
                self._rejected(message)
            case Command(verb="stop" | "pause"):
                self._on_command(message)  # however we stand with the server
            case _ if self._welcome is None:
                return  # of a connection that is no more
            case Ack(epoch=self._spool.epoch):
                self._guarded(lambda: self._uplink.acked(message.next_seq, self._heard))
            case Pulse():
                self._pulse, self.learner = self._heard, message.learner
            case PolicyOffer() | BlobPart():
                self._policy(message)
            case Command() | Evaluate():
                self._on_command(message)
            case Drive():
                self._on_drive(message)
            case _:
                _log.warning("unexpected from a server: %s", type(message).__name__)

    def _say_hello(self, now: float) -> None:
        if now < self._next_hello:
            return
        hello = replace(
            self._hello,
            epoch=self._spool.epoch,
            first_seq=self._spool.first_unacked,
            next_seq=self._spool.next_seq,
            policy_version=self._heartbeat().policy_version,
        )
        if self._put_short(hello):
            self._next_hello = now + self._hello_pause
            self._hello_pause = min(2 * self._hello_pause, _HELLO_MAX)

    def _welcomed(self, welcome: Welcome) -> None:
        if self._welcome is not None:
            return  # answer to a Hello that we said twice
        if not self._spool.join(welcome.experiment):  # recorded before any of them was delivered
            self._refuse_to_move()
            return
        self._welcome, self._pulse = welcome, self._heard
        self._hello_pause, self._next_heartbeat = _HELLO_MIN, float("-inf")
        self._told = self._refusal = self._complaint = ""
        self._resume_uploads()
        self._fetch.resume()
        self._guarded(lambda: self._uplink.begin(welcome.next_seq))

    def _lose(self, why: str) -> None:
        _log.debug("%s: saying hello again", why)
        self._welcome, self._next_hello = None, float("-inf")

    def _say_heartbeat(self, now: float) -> None:
        assert self._welcome is not None
        if now >= self._next_heartbeat:
            self._put_short(self._heartbeat())
            self._next_heartbeat = now + min(self._welcome.heartbeat_s, _MAX_HEARTBEAT)

    def _flush_outbox(self) -> None:
        while self._outbox and self._welcome is not None:
            message = self._outbox.popleft()
            if not self._put_short(message):
                self._outbox.appendleft(message)
                return

    def _upload(self, now: float) -> None:
        def send_due() -> None:
            while (upload := self._uplink.upload(now)) is not None and self._put(upload):
                self._uplink.sent(upload, now)

        if now >= self._upload_again:
            self._resume_uploads()
        if self._uploading:
            self._guarded(send_due)

    def _sync(self, now: float) -> None:
        """Rows that are sent are durable; those that wait for a server become so here."""
        if now >= self._next_sync:
            self._next_sync = now + _SYNC_S
            self._guarded(self._spool.sync)

    def _guarded(self, action: Callable[[], object]) -> None:
        """Give up uploading, and nothing else, when rows cannot be read, sent or agreed upon.

        What a disk has failed to do is tried again; else it takes a new Welcome.
        """
        try:
            action()
        except (LinkError, SpoolError, MessageError) as error:
            pause = _DISK_PAUSE if isinstance(error, SpoolError) else float("inf")
            self._stop_uploads(str(error), pause)

    def _stop_uploads(self, why: str, pause: float = float("inf")) -> None:
        self._upload_again = self._clock.monotonic() + pause
        self._uploading, self.error = False, why
        if why != self._told:
            self._told = why
            self.send(Event("upload_stopped", why[:1000]))

    def _resume_uploads(self) -> None:
        self._uploading, self._upload_again, self.error = True, float("inf"), ""
        self._uplink.go_back()

    def _rejected(self, rejected: Rejected) -> None:
        why = refusal_of(rejected)
        if rejected.field == "hello":
            if self._welcome is not None:
                self._lose("the server does not know us")
        elif rejected.kind == "Hello" and rejected.field == "first_seq":
            self._guarded(self._begin_epoch)
        elif rejected.fatal and (rejected.kind == "Hello" or rejected.field == "key"):
            self._refused(why)
        elif rejected.kind == "Upload" and rejected.fatal:
            self._stop_uploads(why)
        elif rejected.kind == "BlobRequest":
            self._refuse_policy(why)
        elif rejected.kind == "Hello":
            self._refusal = why
        else:
            self._complain(why)

    def _complain(self, why: str) -> None:
        """Log what is wrong, once until it is another thing."""
        if why != self._complaint:
            _log.warning("%s", why)
        self._complaint = why

    def _begin_epoch(self) -> None:
        """The server, or its experiment, is another than the one that our older rows went to."""
        if self._spool.begin_epoch():
            _log.warning("this server has not our older rows: a new epoch begins")
            self._next_hello = float("-inf")
        else:
            self._refuse_to_move()

    def _refuse_to_move(self) -> None:
        self._refused(
            f"{self._spool.backlog} rows belong to an experiment, or a server, that this robot was "
            "in before. To deliver them, let it join there again; to give them up, end this "
            "program and move the spool's directory away. Without any, it joins by itself"
        )

    def _refused(self, why: str) -> None:
        """The server will not have us as we are; it may think otherwise some day."""
        self.error = self._refusal = why
        self._welcome = None
        self._next_hello = self._clock.monotonic() + _REFUSED_PAUSE

    def _policy(self, message: PolicyOffer | BlobPart) -> None:
        manifest = self._fetch.manifest
        try:
            if isinstance(message, BlobPart):
                self._fetch.part(message)
            else:
                manifest = None
                manifest = Manifest.from_json(message.manifest)
                self._fetch.offer(manifest)
        except BundleError as error:
            self._report_refusal(manifest, str(error))

    def _fetch_policy(self, now: float) -> None:
        try:
            self._fetch.offer_next()
        except BundleError as error:
            self._report_refusal(None, str(error))
        for request in self._fetch.requests(now):
            self._put(request)

    def _refuse_policy(self, why: str) -> None:
        manifest = self._fetch.manifest
        self._fetch.give_up()
        self._report_refusal(manifest, why)

    def _report_refusal(self, manifest: Manifest | None, why: str) -> None:
        _log.error("policy refused: %s", why)
        if manifest is None:
            self.send(Event("policy_refused", why[:1000]))
        else:
            self.send(PolicyReport(manifest.experiment, manifest.version, why[:1000]))
