"""A server without sockets: real storage, a real supervisor, fake learners and a fake fleet."""

import asyncio
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
from gymnasium import spaces

from robot_client.messages import ANY_EPISODE, Command, Heartbeat, Hello
from robot_client.schema import row_fields, space_from_json, space_to_json
from server.agent_catalog import AgentCatalog
from server.app import build_app
from server.errors import Invalid, NotFound
from server.experiments import Experiments
from server.replay.store import ReplayStore
from server.service import Service, open_storage
from server.sessions import Order, SessionInfo
from server.settings import Settings
from server.supervisor import Patience

FAKE = Path(__file__).parents[1] / "fake_learner.py"
OBSERVATION = space_to_json(spaces.Dict({"x": spaces.Box(-1, 1, (2,), np.float32)}))
ACTION = space_to_json(spaces.Discrete(3))
SHORT = Patience(stop=30, silence=3600, first_delay=0.01, max_delay=0.02)  # the fake is mute


class Checker(AgentCatalog):
    """Offers one agent, `fake`, with one setting, and knows students, without loading any."""

    async def agents(self):
        return [
            {
                "name": "fake",
                "doc": "For tests.",
                "presets": ["laptop"],
                "schema": {"type": "object"},
                "accepts": ["discrete"],
                "error": None,
            }
        ]

    async def check(self, agent, preset, config):
        if agent == "distill":
            teachers = [{"task": ""} | one for one in config.get("teachers", [])]
            return {"rows": 50_000} | config | {"teachers": teachers}
        if agent != "fake":
            raise Invalid("agent", "fake", agent)
        return {"size": "tiny"} | config


def whole(chunk):
    """The chunk with every column of the robot's spaces; those that it lacks are zeros."""
    rows = len(chunk.columns["reward"])
    fields = row_fields(
        space_from_json(OBSERVATION, "observation"), space_from_json(ACTION, "action")
    )
    for name, field in fields.items():
        chunk.columns.setdefault(name, np.zeros((rows, *field.shape), field.dtype))
    return chunk


class FakeFleet:
    def __init__(self, replay_dir):
        self.published, self.commands, self.connected, self.frame = [], [], {}, None
        self.driven = []
        self.own, self.stores, self.orders, self._replay_dir = {}, {}, {}, replay_dir
        self.problem, self.refused, self.evaluations = "", 0, []

    def publish(self, experiment, manifest):
        self.published.append((experiment, manifest))

    def publish_to(self, robot, experiment, manifest):
        self.own[robot, experiment] = manifest

    def command(self, robot, verb, episode=ANY_EPISODE):
        if robot not in self.connected:
            raise NotFound(f"robot {robot} is not connected")
        self.commands.append((robot, verb))
        number = len(self.commands)
        self.orders[number] = Order(robot, Command(number, verb, episode))
        return number

    def drive(self, robot, message):
        if robot not in self.connected:
            raise NotFound(f"robot {robot} is not connected")
        self.driven.append((robot, message))

    def evaluate(self, robot, order):
        if robot in self.connected:
            self.evaluations.append((robot, order))

    def order(self, number):
        if number not in self.orders:
            raise NotFound(f"no command {number}")
        return self.orders[number]

    def let_go(self, robot):
        self.connected.pop(robot, None)

    def sessions(self):
        return list(self.connected.values())

    def camera(self, robot):
        return self.frame

    def store(self, experiment):
        if experiment not in self.stores:
            self.stores[experiment] = ReplayStore(self._replay_dir(experiment))
        return self.stores[experiment]

    def forget(self, experiment):
        for session in self.sessions():
            if session.experiment == experiment:
                self.let_go(session.robot)
        if experiment in self.stores:
            self.stores.pop(experiment).close()

    def close(self):
        for store in self.stores.values():
            store.close()


class House:
    """A server without sockets. `manner` says how its learners behave: see fake_learner.py."""

    def __init__(self, service, writer):
        self.service, self.fleet, self.experiments = service, service.fleet, service.experiments
        self.writer = writer
        transport = httpx.ASGITransport(build_app(service), raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test/api/v1")

    async def ask(self, method, path, body=None, status=None):
        answer = await self.http.request(method, path, json=body)
        expected = status or 200
        assert answer.status_code == expected, answer.text
        return answer.json() if answer.content else None

    async def items(self, path):
        return (await self.ask("GET", path))["items"]

    async def create(self, **changes):
        body = {"name": "ball", "agent": "fake"} | changes
        return (await self.ask("POST", "/experiments", body, 201))["id"]

    def join(self, robot="ball-1", observation=OBSERVATION, **changes):
        hello = hello_of(robot, observation, **changes)
        experiment = self.experiments.admit(robot, hello)
        beat = Heartbeat(1, 2, "fresh", "", 7, 19.9, 0, 4, 0.5, 0.004, "", 0)
        self.fleet.connected[robot] = SessionInfo(robot, experiment, "a", beat, True, 0.1, 0, {})
        return experiment

    async def until(self, experiment, condition):
        while not condition(view := await self.ask("GET", f"/experiments/{experiment}")):
            await asyncio.sleep(0.01)
        return view


def hello_of(robot, observation=OBSERVATION, action=ACTION):
    task = {"name": "roll", "episode_steps": 10}
    return Hello(robot, "a", observation, action, 20.0, task, 0, 0, -1, "test")


@asynccontextmanager
async def open_house(tmp_path, manner="good", fleet=FakeFleet):
    settings = Settings(tmp_path)

    def command(directory):
        (directory / manner).mkdir(exist_ok=True)
        return [sys.executable, str(FAKE), str(directory / manner)]

    async with open_storage(settings) as (storage, writer):
        checker = Checker()
        fleet = fleet(lambda experiment: settings.experiment_dir(experiment) / "replay")
        experiments = Experiments(settings, storage, writer, checker, command, SHORT)
        await experiments.load()
        await experiments.open(fleet)
        house = House(Service(settings, storage, experiments, checker, fleet, writer), writer)
        try:
            async with house.http:
                yield house
        finally:
            await experiments.close()
            fleet.close()


def in_house(tmp_path, act, manner="good"):
    async def run():
        async with open_house(tmp_path, manner) as house:
            return await act(house)

    return asyncio.run(run())
