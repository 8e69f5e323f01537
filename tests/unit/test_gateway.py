"""The gateway acknowledges what is durable, refuses what is wrong, and lets nobody else notice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
import zmq.asyncio
from gymnasium import spaces

from robot_client.bundle import sha256
from robot_client.clock import ManualClock
from robot_client.messages import (
    ANY_EPISODE,
    PROTOCOL,
    Ack,
    BlobPart,
    BlobRequest,
    Command,
    CommandDone,
    Event,
    Heartbeat,
    Hello,
    PolicyOffer,
    PolicyReport,
    Pulse,
    Rejected,
    Upload,
    Welcome,
    decode,
    encode,
)
from robot_client.schema import Chunk, space_to_json
from robot_client.wire import Limits
from server.curve import Curve
from server.errors import Conflict, NotFound, SettingsError
from server.gateway import HEARTBEAT_S, Gateway
from server.replay.store import ReplayStore
from server.sessions import LOST_S
from server.writer import ChunkWriter, Delivery
from tests.unit.replay_rows import Recorder, rows

HELLO = Hello(
    robot="ball-1",
    epoch="boot-0",
    observation_space=space_to_json(
        spaces.Dict(
            {
                "step": spaces.Box(-np.inf, np.inf, (1,)),
                "camera": spaces.Box(0, 255, (16, 16, 3), np.uint8),
            }
        )
    ),
    action_space=space_to_json(spaces.Box(-1, 1, (1,))),
    control_hz=20.0,
    task={"name": "count", "episode_steps": None},
    first_seq=0,
    next_seq=0,
    policy_version=-1,
    client="test",
)
BEAT = Heartbeat(7, 3, "fresh", "", 0, 19.9, 0, 2, -1.0, 0.0, "", 0)


class Ledger:
    """A directory that admits everybody but `full`, and remembers what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.full = False

    def admit(self, robot: str, hello: Hello) -> str:
        if self.full or robot == "full":
            raise Conflict("no experiment has a place")
        return "exp"

    def joined(self, robot: str, experiment: str) -> None:
        self.calls.append(("joined", robot))

    def stored(self, robot: str, experiment: str, chunk: Chunk) -> None:
        self.calls.append(("stored", robot, chunk.first_seq, chunk.rows))

    def learner_state(self, experiment: str) -> str:
        return "running"

    def policy_reported(self, robot: str, report: PolicyReport) -> None:
        self.calls.append((robot, report))

    def event(self, robot: str, experiment: str, event: Event) -> None:
        self.calls.append((robot, event))

    def heartbeat(self, robot: str, experiment: str, heartbeat: Heartbeat) -> None:
        self.calls.append((robot, heartbeat))


class Peer:
    """A robot's end of the line."""

    def __init__(self, address: str, name: str, **options: bytes) -> None:
        self.name = name
        self._context = zmq.asyncio.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        for option, value in options.items():
            self.socket.setsockopt(getattr(zmq, option.upper()), value)
        self.socket.connect(address)

    async def ask(self, message: Any) -> Any:
        await self.socket.send_multipart(encode(message))
        return await self.hear()

    async def ask_raw(self, *frames: bytes) -> Any:
        await self.socket.send_multipart(frames)
        return await self.hear()

    async def hear(self, within: float = 20.0) -> Any:
        return decode(await asyncio.wait_for(self.socket.recv_multipart(), within))

    async def hello(self, **changes: Any) -> Any:
        return await self.ask(replace(HELLO, robot=self.name, **changes))

    def close(self) -> None:
        self._context.destroy(linger=0)


@pytest.fixture
def serve(tmp_path: Path):
    """Run a scenario against a gateway: `scenario(gateway, connect, ledger)`."""

    def run(scenario: Callable[..., Any], **options: Any) -> None:
        asyncio.run(_serve(tmp_path, scenario, options))

    return run


async def _serve(path: Path, scenario: Callable[..., Any], options: dict[str, Any]) -> None:
    ledger = Ledger()
    async with gateway_on(path, ledger, **options) as gateway:
        peers: list[Peer] = []

        def connect(name: str, **options: bytes) -> Peer:
            peers.append(Peer(gateway.address, name, **options))
            return peers[-1]

        try:
            await scenario(gateway, connect, ledger)
        finally:
            for peer in peers:
                peer.close()


@asynccontextmanager
async def gateway_on(path: Path, ledger: Ledger, **options: Any):
    gateway = Gateway(
        "tcp://127.0.0.1:*",
        ledger,
        replay_dir=lambda experiment: path / experiment,
        blob_path=lambda experiment, digest: path / digest,
        **{"clock": ManualClock(), **options},
    )
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


def upload(start: int, stop: int, **changes: Any) -> Upload:
    return Upload("boot-0", 0, start, "count", {**rows(0, start, stop, image=16), **changes})


def test_rows_are_durable_when_they_are_acknowledged(serve):
    async def scenario(gateway, connect, ledger):
        robot = connect("ball-1")
        assert await robot.hello() == Welcome("ball-1", "exp", 0, HEARTBEAT_S)
        assert await robot.ask(upload(0, 5)) == Ack("boot-0", 5)
        assert gateway.store("exp").next_seq("ball-1", "boot-0") == 5
        assert await robot.ask(upload(0, 5)) == Ack("boot-0", 5)
        assert await robot.ask(upload(9, 12)) == Ack("boot-0", 5)
        assert await robot.ask(upload(3, 8)) == Ack("boot-0", 8)
        assert [call for call in ledger.calls if call[0] == "stored"] == [
            ("stored", "ball-1", 0, 5),
            ("stored", "ball-1", 5, 3),
        ]
        assert await connect("ball-1").hello(first_seq=8, next_seq=8) == Welcome(
            "ball-1", "exp", 8, HEARTBEAT_S
        )
        assert gateway.store("exp").verify().problems == ()
        with gateway.store("exp").read() as snapshot:
            assert snapshot.tasks() == {0: "", 1: "count"}

    serve(scenario)


WRONG_COLUMNS = {
    "columns.step": {"step": np.zeros((5, 2), np.float32)},
    "columns.reward": {"reward": np.full(5, np.nan, np.float32)},
    "columns.camera": {"camera": np.zeros((5, 8, 8, 3), np.uint8)},
    "columns.extra": {"extra": np.zeros(5, np.float32)},
    "columns.is_first": {"is_first": np.ones(5, np.bool_)},
}


def test_every_wrong_message_names_its_field_and_nobody_else_notices(serve):
    body = {"kind": "log", "text": ""}
    good_header = {"v": PROTOCOL, "kind": "Event", "body": body, "arrays": []}

    async def scenario(gateway, connect, ledger):
        bad, good, stranger = connect("bad"), connect("good"), connect("stranger")
        await good.hello()
        at = 0

        async def good_goes_on() -> None:
            nonlocal at
            at += 1
            assert await good.ask(upload(at - 1, at)) == Ack("boot-0", at)

        async def refused(reply: Any, kind: str, field: str, fatal: bool) -> None:
            assert isinstance(reply, Rejected)
            assert (reply.kind, reply.field, reply.fatal) == (kind, field, fatal)
            assert bool(reply.expected) == (field != "server")  # which says it all in `got`
            assert reply.got
            await good_goes_on()

        await refused(await stranger.ask(upload(0, 5)), "Upload", "hello", False)
        await refused(await stranger.ask(BEAT), "Heartbeat", "hello", False)
        await refused(await bad.hello(epoch=""), "Hello", "epoch", True)
        for name in ("../../x", ".x", "-x", "a/b", "x" * 65, ""):
            await refused(await bad.ask(replace(HELLO, robot=name)), "Hello", "robot", True)
        await refused(await bad.hello(task={"name": 3}), "Hello", "task.name", True)
        await refused(await bad.hello(first_seq=4), "Hello", "first_seq", True)
        box = {"type": "box"}
        await refused(await bad.hello(action_space=box), "Hello", "action_space.shape", True)
        await refused(await connect("full").hello(), "Hello", "server", False)
        await bad.hello()
        for field, columns in WRONG_COLUMNS.items():
            await refused(await bad.ask(upload(0, 5, **columns)), "Upload", field, True)
        stale = replace(upload(0, 5), epoch="boot-9")
        await refused(await bad.ask(stale), "Upload", "epoch", True)
        await refused(
            await bad.ask(replace(upload(0, 5), first_seq=-1)), "Upload", "first_seq", True
        )
        nameless = replace(upload(0, 5), task="x\n")
        await refused(await bad.ask(nameless), "Upload", "task", True)
        midway = replace(upload(2, 5), first_seq=0)
        await refused(await bad.ask(midway), "Upload", "episode", True)
        assert await bad.hear() == Ack("boot-0", 0)
        await refused(await bad.ask(Pulse(1, "none")), "Pulse", "kind", False)
        await refused(await bad.ask_raw(b""), "message", "header", False)
        await refused(await bad.ask_raw(b"\xc1garbage"), "message", "header", False)
        version = msgpack.packb({**good_header, "v": 99})
        await refused(await bad.ask_raw(version), "message", "v", False)
        kind = msgpack.packb({**good_header, "kind": "Bomb"})
        await refused(await bad.ask_raw(kind), "message", "kind", False)
        await refused(await bad.ask_raw(*[b"x"] * 100), "message", "frames", False)
        assert await bad.ask(upload(0, 5)) == Ack("boot-0", 5)
        (info,) = (s for s in gateway.sessions() if s.robot == "bad")
        assert info.rejected["columns.camera"] == 1
        assert info.rows == 5
        assert gateway.refused == 28

    serve(scenario)


def test_an_oversized_frame_costs_its_sender_the_connection_only(serve):
    async def scenario(gateway, connect, ledger):
        bad, good = connect("bad"), connect("good")
        await bad.hello()
        await good.hello()
        await bad.socket.send_multipart([b"x" * 30_000])
        assert await good.ask(upload(0, 5)) == Ack("boot-0", 5)
        assert isinstance(await bad.hello(), Welcome | Rejected)
        assert ("stored", "bad", 0, 30_000) not in ledger.calls

    serve(scenario, limits=Limits(frame_bytes=20_000))


def test_heartbeats_events_and_reports_reach_the_directory(serve):
    async def scenario(gateway, connect, ledger):
        robot = connect("ball-1")
        await robot.hello()
        report, event = PolicyReport("exp", 3, ""), Event("log", "hello")
        await robot.socket.send_multipart(encode(report))
        await robot.socket.send_multipart(encode(event))
        assert await robot.ask(BEAT) == Pulse(7, "running")
        said = [("ball-1", message) for message in (report, event, BEAT)]
        assert ledger.calls == [("joined", "ball-1"), *said]
        await robot.ask(upload(0, 5))
        (info,) = gateway.sessions()
        assert (info.robot, info.experiment, info.age, info.rows) == ("ball-1", "exp", 0, 5)
        assert (info.policy_version, info.loop_hz, info.safety) == (3, 19.9, "fresh")
        assert info.has_camera
        np.testing.assert_array_equal(gateway.camera("ball-1"), np.full((16, 16, 3), 4, np.uint8))
        assert gateway.camera("nobody") is None
        clock.advance(LOST_S)
        assert gateway.sessions() == []

    clock = ManualClock()
    serve(scenario, clock=clock)


def test_policies_are_offered_now_and_at_the_next_hello_and_fetched_in_parts(serve, tmp_path: Path):
    blob = np.random.default_rng(0).bytes(700_000)
    digest = sha256(blob)
    (tmp_path / digest).write_bytes(blob)

    async def scenario(gateway, connect, ledger):
        first, late = connect("first"), connect("late")
        await first.hello()
        gateway.publish("other", {"version": 0})
        gateway.publish("exp", {"version": 1, "weights": digest})
        offer = PolicyOffer({"version": 1, "weights": digest})
        assert await first.hear() == offer
        assert isinstance(await late.hello(), Welcome)
        assert await late.hear() == offer
        found = b""
        while len(found) < len(blob):
            part = await late.ask(BlobRequest(digest, len(found), 2**30))
            assert isinstance(part, BlobPart)
            assert (part.offset, part.total) == (len(found), len(blob))
            found += part.columns["data"].tobytes()
        assert found == blob
        for request, field in (
            (BlobRequest("0" * 64, 0, 9), "sha256"),
            (BlobRequest("../../etc/passwd", 0, 9), "sha256"),
            (BlobRequest(digest, len(blob) + 1, 9), "offset"),
            (BlobRequest(digest, -1, 9), "offset"),
        ):
            reply = await late.ask(request)
            assert isinstance(reply, Rejected)
            assert (reply.kind, reply.field) == ("BlobRequest", field)

    serve(scenario)


def test_commands_reach_a_robot_and_are_repeated_until_it_answers(serve):
    async def scenario(gateway, connect, ledger):
        with pytest.raises(NotFound):
            gateway.command("ball-1", "pause")
        robot, other = connect("ball-1"), connect("ball-2")
        await robot.hello()
        await other.hello()
        number = gateway.command("ball-1", "stop")
        assert await robot.hear() == Command(number, "stop", ANY_EPISODE)
        await other.socket.send_multipart(encode(CommandDone(number, "")))
        await other.ask(BEAT)
        assert gateway.order(number).error is None
        assert isinstance(await robot.hello(), Welcome)
        assert await robot.hear() == Command(number, "stop", ANY_EPISODE)
        await robot.socket.send_multipart(encode(CommandDone(number, "stuck")))
        await robot.ask(BEAT)
        assert gateway.order(number).error == "stuck"
        await robot.hello()
        assert await robot.ask(BEAT) == Pulse(7, "running")

    serve(scenario)


def test_of_two_robots_of_one_name_the_newer_stays(serve):
    async def scenario(gateway, connect, ledger):
        old, new = connect("ball-1"), connect("ball-1")
        await old.hello(epoch="boot-0")
        assert isinstance(await new.hello(epoch="boot-1"), Welcome)
        assert (await old.ask(upload(0, 5))).field == "hello"
        reply = await old.hello(epoch="boot-0")
        assert (reply.field, reply.fatal) == ("robot", True)
        assert await new.ask(replace(upload(0, 5), epoch="boot-1")) == Ack("boot-1", 5)
        clock.advance(LOST_S)
        assert isinstance(await old.hello(epoch="boot-0"), Welcome)

    clock = ManualClock()
    serve(scenario, clock=clock)


def test_a_full_queue_stops_reading_until_the_disk_has_caught_up(serve):
    async def scenario(gateway, connect, ledger):
        robot = connect("ball-1")
        await robot.hello()
        for start in range(0, 200, 5):
            await robot.socket.send_multipart(encode(upload(start, start + 5)))
        ack = await robot.hear()
        while ack.next_seq < 200:
            ack = await robot.hear()
        assert gateway.store("exp").verify().rows == 200

    serve(scenario, queue_bytes=1)


def test_stopping_makes_durable_what_has_been_taken(tmp_path: Path):
    store = ReplayStore(tmp_path / "replay")
    writer = ChunkWriter(lambda _: store, lambda results: None, 10)
    for name, chunk in Recorder().chunks(12, 4):
        writer.put(Delivery(b"", "exp", name, chunk, 100))
    assert writer.full
    writer.start()
    writer.stop()
    assert store.rows == 12
    store.close()


@pytest.mark.parametrize("endpoint", ["tcp://*:5555", "tcp://0.0.0.0:1", "tcp://192.168.1.2:1"])
def test_other_machines_need_keys(endpoint: str):
    with pytest.raises(SettingsError, match="keys"):
        Gateway(endpoint, Ledger(), Path, lambda e, d: Path(d), ManualClock())


def test_a_taken_address_is_a_settings_error(serve, tmp_path: Path):
    async def scenario(gateway, connect, ledger):
        second = Gateway(gateway.address, ledger, Path, lambda e, d: Path(d), ManualClock())
        with pytest.raises(SettingsError, match="cannot listen"):
            await second.start()

    serve(scenario)


def test_only_enrolled_keys_come_in_and_the_key_is_the_name(serve):
    server_public, server_secret = zmq.curve_keypair()
    robot_public, robot_secret = zmq.curve_keypair()
    enrolled = {robot_public.decode(): "enrolled"}

    def keys(public: bytes, secret: bytes) -> dict[str, bytes]:
        return {
            "curve_publickey": public,
            "curve_secretkey": secret,
            "curve_serverkey": server_public,
        }

    async def scenario(gateway, connect, ledger):
        robot = connect("liar", **keys(robot_public, robot_secret))
        stranger = connect("enrolled", **keys(*zmq.curve_keypair()))
        plain = connect("enrolled")
        assert await robot.hello() == Welcome("enrolled", "exp", 0, HEARTBEAT_S)
        assert await robot.ask(upload(0, 5)) == Ack("boot-0", 5)
        for other in (stranger, plain):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(other.hello(), 0.5)
        enrolled.clear()
        reply = await robot.ask(upload(5, 9))
        assert (reply.field, reply.fatal) == ("key", True)
        assert gateway.store("exp").rows == 5

    serve(scenario, curve=Curve(server_public, server_secret, enrolled.get))
