"""A person drives a robot through the whole service, lets go, and is cut off."""

import asyncio
import sys
import threading
from contextlib import asynccontextmanager

import numpy as np

from robot_client.clock import SystemClock
from robot_client.link import Link
from robot_client.messages import Hello
from robot_client.robot import Reading
from robot_client.runtime import Runtime
from robot_client.schema import Source, space_to_json
from robot_client.spool import Spool
from robot_client.takeover import Takeover
from robot_client.teleop import DeadMan
from server.experiments import Experiments
from server.gateway import Gateway
from server.replay.layout import ChunkHeader
from server.service import Service, open_storage
from server.settings import Settings
from tests.unit.control import Arm, Chooser, Policies, steady
from tests.unit.house import FAKE, SHORT, Checker, House
from tests.unit.link_server import Inbox
from tests.unit.sockets import connected

PATH = "/robots/arm/teleop"
RULE = DeadMan(hold_s=0.5, yield_s=1.5, then="stop")  # a busy machine is slow to pass input on


@asynccontextmanager
async def open_service(tmp_path):
    """A house with a real gateway."""
    tmp_path.mkdir()
    settings = Settings(tmp_path)

    def command(directory):
        (directory / "good").mkdir(exist_ok=True)
        return [sys.executable, str(FAKE), str(directory / "good")]

    async with open_storage(settings) as (storage, writer):
        experiments = Experiments(settings, storage, writer, Checker(), command, SHORT)
        await experiments.load()
        gateway = Gateway(
            "tcp://127.0.0.1:*",
            experiments,
            lambda experiment: settings.experiment_dir(experiment) / "replay",
            lambda experiment, digest: tmp_path / digest,
            SystemClock(),
        )
        await gateway.start()
        await experiments.open(gateway)
        house = House(Service(settings, storage, experiments, Checker(), gateway, writer), writer)
        async with house.http:
            yield house, gateway
        await experiments.close()


class Robot:
    """A runtime with spool and link, in a thread, that acts by `steady` at 10 Hz."""

    def __init__(self, directory, address):
        arm = Arm(steps=None)
        arm.blend_steps = 3
        arm.hooks["observe"] = lambda: Reading({"vector": np.ones(3, np.float32)}, 1.0)
        self.spool, self.halted = Spool(directory, task="arm"), threading.Event()
        spaces = (space_to_json(arm.observation_space), space_to_json(arm.action_space))
        task = arm.task.to_json()
        hello = Hello("arm", self.spool.epoch, *spaces, 10.0, task, 0, 0, -1, "test")
        self.link = Link(
            address, hello, self.spool, Inbox(), lambda: self.runtime.heartbeat(),
            lambda command: self.runtime.command(command), SystemClock(),
            on_drive=lambda message: self.runtime.drive(message),
        )  # fmt: skip
        self.runtime = Runtime(
            arm, self.spool, Policies(Chooser(steady, 3)), SystemClock(), link=self.link,
            takeover=Takeover(arm.action_space, RULE), halted=self.halted,
        )  # fmt: skip
        self.thread = threading.Thread(target=self.runtime.run)

    def __enter__(self):
        self.link.start()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.halted.set()
        self.thread.join()
        self.link.close()
        self.spool.close()


class Person:
    """Sends input 20 times per second, in a task of its own, while `wants` says something."""

    def __init__(self, socket, secret):
        self._socket, self._secret = socket, secret
        self.wants, self.answer = {"engaged": False}, {}

    async def drive(self):
        clock = SystemClock()
        while True:
            if self.wants is not None:
                given = {"secret": self._secret, "sent": clock.monotonic(), **self.wants}
                self.answer = await self._socket.ask(**given)
            await asyncio.sleep(0.05)


async def until(condition, what, patience=60.0):
    clock = SystemClock()
    end = clock.monotonic() + patience
    while not condition():
        assert clock.monotonic() < end, what()
        await asyncio.sleep(0.02)


def test_a_person_drives_hands_back_and_is_cut_off(tmp_path):
    async def scenario():
        async with open_service(tmp_path / "server") as (house, gateway):
            made = await house.create()
            await house.ask("POST", f"/experiments/{made}/start")
            with Robot(tmp_path / "robot", gateway.address) as robot:
                await until(lambda: gateway.sessions() and robot.runtime.heartbeat().tick > 3, str)
                lease = await house.ask("PUT", PATH)
                app = house.http._transport.app
                async with connected(app, f"{PATH}/input") as socket:
                    person = Person(socket, lease["secret"])
                    driving = asyncio.create_task(person.drive())
                    await drives_and_hands_back(house, robot, person)
                    await told_of_it(house, gateway, made)
                    await is_cut_off(gateway, robot, person)
                    driving.cancel()

    asyncio.run(scenario())


async def drives_and_hands_back(house, robot, person):
    person.wants = {"engaged": True, "action": [-0.75, 0.25]}
    await until(lambda: person.answer.get("driver") == "loopback", lambda: person.answer)
    before = robot.runtime.heartbeat().tick
    await until(lambda: robot.runtime.heartbeat().tick > before + 8, str)
    beat = robot.runtime.heartbeat()
    assert (beat.driver, beat.reason) == ("loopback", "loopback drives")
    assert beat.safety in ("fresh", "cached")
    person.wants = {"engaged": False}
    await until(lambda: robot.runtime.heartbeat().driver == "", robot.runtime.heartbeat)
    before = robot.runtime.heartbeat().tick
    await until(lambda: robot.runtime.heartbeat().tick > before + 5, str)
    await house.ask("POST", "/robots/arm/end_episode", status=202)


async def told_of_it(house, gateway, made):
    """Rows, episode and events say who drove."""
    episodes = []
    while not episodes:
        episodes = await house.items(f"/experiments/{made}/episodes")
        await asyncio.sleep(0.05)
    assert episodes[0]["interventions"] == 1
    assert 5 <= episodes[0]["human_steps"] < episodes[0]["steps"]
    columns = stored(gateway.store(made), episodes[0]["steps"] + 1)
    human = np.array([row["source"] == Source.HUMAN for row in columns])
    assert human.sum() == episodes[0]["human_steps"]
    for row in np.array(columns, object)[human]:
        assert row["action_requested"].tolist() == [-0.75, 0.25]
        assert row["policy/proposal"].tolist() == [0.5, -0.5]
        assert row["policy_version"] == 3
    jumps = np.abs(np.diff([row["action"] for row in columns[:-1]], axis=0)).max()
    assert jumps < 0.6  # of a way of 1.25, in three steps at least
    events = await house.items("/events")
    texts = [(e["kind"], e["text"]) for e in events if e["robot"] == "arm"]
    assert ("hand_back", "loopback: handed back") in texts
    assert ("take_over", "loopback drives") in texts


async def is_cut_off(gateway, robot, person):
    """The robot holds by itself, and then stops: nobody reaches it any more."""
    person.wants = {"engaged": True, "action": [0.9, 0.9]}
    await until(lambda: robot.runtime.heartbeat().driver == "loopback", robot.runtime.heartbeat)
    await gateway.stop()
    seen = set()

    def stopped():
        beat = robot.runtime.heartbeat()
        seen.add((beat.safety, beat.reason))
        return beat.safety == "stop"

    await until(stopped, robot.runtime.heartbeat)
    assert ("hold", "loopback has been silent for more than 0.5 s") in seen
    assert robot.runtime.heartbeat().reason == "loopback has been silent for more than 1.5 s"


def stored(store, count):
    """The first rows of a store, one dict each."""
    found = []
    with store.read() as snapshot:
        for value in snapshot.values():
            header = ChunkHeader.unpack(value)
            layout = snapshot.layout(header.layout).columns
            columns = {n: np.array(c.read(value, header.rows)) for n, c in layout.items()}
            found += [{n: c[i] for n, c in columns.items()} for i in range(header.rows)]
    return found[:count]
