"""The gateway with keys: the key is the name, message by message, whatever a robot says."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from robot_client import keys
from robot_client.keys import KeyPair
from robot_client.messages import (
    ANY_EPISODE,
    Ack,
    Command,
    CommandDone,
    PolicyOffer,
    Rejected,
    Welcome,
    encode,
)
from server.access import RobotKeys, curve_of, make_server_pair
from server.gateway import HEARTBEAT_S
from tests.unit.test_gateway import BEAT, Ledger, Peer, gateway_on, upload


class Lab:
    """A gateway that knows the robots `arm` and `leg`, and their ends of the line."""

    def __init__(self, data: Path) -> None:
        self.data, self.ledger = data, Ledger()
        self.server = make_server_pair(data)
        self.pairs = {name: keys.generate() for name in ("arm", "leg")}
        self.keys = RobotKeys(data)
        for name, pair in self.pairs.items():
            self.keys.enrol(name, pair.public, "test")
        self.peers: list[Peer] = []

    def connect(self, says: str, pair: KeyPair, **options: bytes) -> Peer:
        peer = Peer(
            self.gateway.address,
            says,
            curve_publickey=pair.public.encode(),
            curve_secretkey=pair.secret.encode(),
            curve_serverkey=self.server.public.encode(),
            **options,
        )
        self.peers.append(peer)
        return peer

    async def run(self, scenario) -> None:
        curve = curve_of(self.data)
        async with gateway_on(self.data / "replay", self.ledger, curve=curve) as self.gateway:
            try:
                await scenario(self)
            finally:
                for peer in self.peers:
                    peer.close()

    def rows(self, robot: str, epoch: str = "boot-0") -> int:
        return self.gateway.store("exp").next_seq(robot, epoch)

    async def is_deaf_to(self, peer: Peer) -> bool:
        try:
            await asyncio.wait_for(peer.hello(), 0.7)
        except TimeoutError:
            return True
        return False


def in_lab(tmp_path: Path, scenario) -> None:
    asyncio.run(Lab(tmp_path).run(scenario))


def test_an_unknown_key_a_wrong_server_and_no_key_are_not_heard(tmp_path):
    async def scenario(lab):
        stranger = lab.connect("arm", keys.generate())
        plain = Peer(lab.gateway.address, "arm")
        lab.peers.append(plain)
        lab.server = keys.generate()
        misled = lab.connect("arm", lab.pairs["arm"])
        deaf = await asyncio.gather(*map(lab.is_deaf_to, (stranger, plain, misled)))
        assert deaf == [True] * 3
        assert lab.ledger.calls == []

    in_lab(tmp_path, scenario)


def test_no_payload_writes_into_the_stream_of_another(tmp_path):
    async def scenario(lab):
        arm = lab.connect("arm", lab.pairs["arm"])
        leg = lab.connect("arm", lab.pairs["leg"])  # it says that it is the other one
        assert await arm.hello() == Welcome("arm", "exp", 0, HEARTBEAT_S)
        assert await arm.ask(upload(0, 5)) == Ack("boot-0", 5)
        assert await leg.hello() == Welcome("leg", "exp", 0, HEARTBEAT_S)
        assert await leg.ask(upload(0, 9)) == Ack("boot-0", 9)
        assert (lab.rows("arm"), lab.rows("leg")) == (5, 9)
        assert await arm.ask(upload(5, 7)) == Ack("boot-0", 7)
        stored = [call for call in lab.ledger.calls if call[0] == "stored"]
        assert stored == [("stored", "arm", 0, 5), ("stored", "leg", 0, 9), ("stored", "arm", 5, 2)]
        number = lab.gateway.command("arm", "stop")
        assert await arm.hear() == Command(number, "stop", ANY_EPISODE)
        await leg.socket.send_multipart(encode(CommandDone(number, "")))
        await leg.ask(BEAT)
        assert lab.gateway.order(number).error is None  # nor does it answer for another

    in_lab(tmp_path, scenario)


def test_a_routing_id_does_not_take_a_connection_over(tmp_path):
    async def scenario(lab):
        arm = lab.connect("arm", lab.pairs["arm"], routing_id=b"same")
        await arm.hello()
        leg = lab.connect("leg", lab.pairs["leg"], routing_id=b"same")
        assert await lab.is_deaf_to(leg)
        assert await arm.ask(upload(0, 5)) == Ack("boot-0", 5)
        lab.gateway.publish("exp", {"version": 1})
        assert await arm.hear() == PolicyOffer({"version": 1})

    in_lab(tmp_path, scenario)


def revoke_by_command(data: Path) -> None:
    command = [sys.executable, "-m", "server.cli", "keys", "revoke", "arm", "--data", str(data)]
    quiet = {**os.environ, "DREAMFLEET_SERVER": ""}
    subprocess.run(command, check=True, capture_output=True, env=quiet, timeout=120)


def test_a_command_elsewhere_stops_a_running_stream_at_its_next_message(tmp_path):
    async def scenario(lab):
        arm, leg = (lab.connect(name, pair) for name, pair in lab.pairs.items())
        for robot in (arm, leg):
            await robot.hello()
            assert await robot.ask(upload(0, 5)) == Ack("boot-0", 5)
        await asyncio.to_thread(revoke_by_command, tmp_path)
        lab.gateway.publish("exp", {"version": 1})
        assert await leg.hear() == PolicyOffer({"version": 1})
        reply = await arm.ask(upload(5, 9))  # and the policy was not for it
        assert isinstance(reply, Rejected)
        assert (reply.kind, reply.field, reply.fatal) == ("Upload", "key", True)
        assert (await arm.ask(BEAT)).field == "key"
        assert (await arm.hello()).field == "key"
        assert await lab.is_deaf_to(lab.connect("arm", lab.pairs["arm"]))
        assert await leg.ask(upload(5, 9)) == Ack("boot-0", 9)
        assert (lab.rows("arm"), lab.rows("leg")) == (5, 9)
        lab.gateway.command("arm", "stop")  # an operator can still stop what is not trusted
        assert (await arm.hear()).verb == "stop"

    in_lab(tmp_path, scenario)


def test_two_keys_overlap_and_the_new_one_goes_on_with_the_stream(tmp_path):
    async def scenario(lab):
        old = lab.connect("arm", lab.pairs["arm"])
        await old.hello()
        assert await old.ask(upload(0, 5)) == Ack("boot-0", 5)
        pair = keys.generate()
        lab.keys.rotate("arm", pair.public, "test", overlap_s=60)
        assert await old.ask(upload(5, 7)) == Ack("boot-0", 7)
        new = lab.connect("arm", pair)
        assert await new.hello(first_seq=7, next_seq=7) == Welcome("arm", "exp", 7, HEARTBEAT_S)
        assert await new.ask(upload(7, 9)) == Ack("boot-0", 9)
        assert lab.keys.used_at(pair.public) is not None

    in_lab(tmp_path, scenario)


def test_a_new_robot_is_enrolled_while_the_server_runs_and_a_restart_keeps_all(tmp_path):
    pair = keys.generate()

    async def before(lab):
        late = lab.connect("late", pair)
        assert await lab.is_deaf_to(late)
        RobotKeys(tmp_path).enrol("late", pair.public, "test")
        again = lab.connect("late", pair)  # ZeroMQ gives up after a refusal
        assert await again.hello() == Welcome("late", "exp", 0, HEARTBEAT_S)
        RobotKeys(tmp_path).revoke("leg", "test")

    async def after(lab):
        late = lab.connect("x", pair)
        assert await late.hello() == Welcome("late", "exp", 0, HEARTBEAT_S)
        assert await lab.is_deaf_to(lab.connect("leg", lab.pairs["leg"]))

    lab = Lab(tmp_path)
    asyncio.run(lab.run(before))
    lab.peers.clear()
    asyncio.run(lab.run(after))


def test_a_register_that_cannot_be_read_closes_the_door_and_nothing_else(tmp_path, caplog):
    async def scenario(lab):
        arm = lab.connect("arm", lab.pairs["arm"])
        await arm.hello()
        register = tmp_path / "keys" / "robots.json"
        content = register.read_text()
        register.write_text(content[:-9])
        reply = await arm.ask(upload(0, 5))
        assert (reply.field, reply.fatal) == ("server", False)  # the robot will try again
        assert await lab.is_deaf_to(lab.connect("leg", lab.pairs["leg"]))
        register.write_text(content)
        assert await arm.ask(upload(0, 5)) == Ack("boot-0", 5)

    in_lab(tmp_path, scenario)
    assert "nobody comes in" in caplog.text


@pytest.mark.parametrize("says", ["leg", "", "arm\n", "x" * 500])
def test_the_name_in_a_hello_does_not_count(tmp_path, says):
    async def scenario(lab):
        arm = lab.connect(says, lab.pairs["arm"])
        assert await arm.hello() == Welcome("arm", "exp", 0, HEARTBEAT_S)
        assert await arm.ask(upload(0, 2)) == Ack("boot-0", 2)

    in_lab(tmp_path, scenario)
