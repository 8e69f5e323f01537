"""A real robot over a real gateway: evaluation on demand, and a bad version that goes back."""

import asyncio
import threading
from contextlib import ExitStack, asynccontextmanager
from unittest.mock import patch

import httpx
import numpy as np
import pytest

from robot_client.clock import FreeRunningClock, SystemClock
from robot_client.link import Link
from robot_client.messages import Hello
from robot_client.policy_cache import PolicyCache
from robot_client.robot import Reading
from robot_client.runtime import Runtime
from robot_client.safety import Limits
from robot_client.schema import IS_FIRST, POLICY_VERSION, Task, space_to_json
from robot_client.spool import Spool
from server.app import build_app
from server.datasets.episodes import ReplayEpisodes
from server.experiments import Experiments
from server.replay.sampler import SequenceSampler
from server.replay.view import ReplayView
from server.service import Service, _gateway, open_storage
from server.settings import Settings
from tests.unit.house import Checker
from tests.unit.policies import ACTIONS, OBSERVED, bundle, weights
from tests.unit.test_state_machine import Idle

STEPS = 5


class Aimer:
    """A robot whose reward is how near its action comes to 0.3; the policy's bias decides."""

    control_hz, blend_steps, silence_s = 100.0, 0, 60.0
    observation_space, action_space = OBSERVED, ACTIONS
    task = Task("aim", STEPS)

    def __init__(self):
        self.missed = 0.0

    def connect(self):
        pass

    def reset(self, seed=None):
        self.missed = 0.0

    def apply(self, action):
        threading.Event().wait(0.01)  # a hundred steps a second are enough for a busy machine
        self.missed = float(np.abs(action - 0.3).mean())
        return action

    def observe(self):
        return Reading({"vector": np.zeros(3, np.float32)}, -self.missed)

    def stop(self):
        pass

    close = stop


class Client:
    """The robot's side, as `dreamfleet-robot run` puts it together."""

    def __init__(self, folder, address, stack):
        robot, self.halted = Aimer(), threading.Event()
        spool = Spool(folder / "spool", task="aim")
        cache = PolicyCache(folder / "cache", OBSERVED, ACTIONS)
        hello = Hello(
            robot="aimer",
            epoch=spool.epoch,
            observation_space=space_to_json(OBSERVED),
            action_space=space_to_json(ACTIONS),
            control_hz=robot.control_hz,
            task=robot.task.to_json(),
            first_seq=0,
            next_seq=0,
            policy_version=-1,
            client="test",
        )
        link = Link(
            address,
            hello,
            spool,
            cache,
            heartbeat=lambda: runtime.heartbeat(),
            on_command=lambda command: runtime.command(command),
            clock=SystemClock(),
        )
        runtime = Runtime(
            robot,
            spool,
            cache,
            FreeRunningClock(),
            link=link,
            seed=0,
            limits=Limits(observation_s=float("inf")),
            halted=self.halted,
            idle_s=0.02,
        )
        thread = threading.Thread(target=runtime.run, daemon=True)
        stack.callback(spool.close)
        for part in (cache, link):
            part.start()
            stack.callback(part.close)
        thread.start()
        stack.callback(thread.join, 30)
        stack.callback(self.halted.set)


class Lab:
    """A server with a gateway, without a learner: tests publish what they want."""

    def __init__(self, service, http):
        self.service, self.http = service, http

    async def ask(self, method, path, body=None):
        answer = await self.http.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def until(self, path, holds):
        async with asyncio.timeout(100):
            while not holds(found := await self.ask("GET", path)):
                await asyncio.sleep(0.05)
        return found

    def publish(self, experiment, version, bias):
        """What a learner does: files first, then word of them."""
        tensors = weights(bias)
        made = bundle(version, experiment, tensors=tensors)
        blobs = self.service.settings.experiment_dir(experiment) / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        for digest, data in made.blobs.items():
            (blobs / digest).write_bytes(data)
        said = {"event": "policy", "version": version, "manifest": made.manifest.to_json()}
        self.service.experiments.learner_said(experiment, said)


@asynccontextmanager
async def open_lab(folder):
    folder.mkdir()
    settings = Settings(folder, gateway="tcp://127.0.0.1:*")
    async with open_storage(settings) as (storage, writer):
        checker = Checker()
        with patch("server.experiments.Supervisor", Idle):
            experiments = Experiments(settings, storage, writer, checker)
        await experiments.load()
        gateway = _gateway(settings, experiments)
        await gateway.start()
        await experiments.open(gateway)
        service = Service(settings, storage, experiments, checker, gateway, writer)
        transport = httpx.ASGITransport(build_app(service))
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://x/api/v1") as http:
                yield Lab(service, http)
        finally:
            await gateway.stop()
            await experiments.close()


@pytest.mark.timeout(170)
def test_a_robot_evaluates_and_a_bad_version_goes_back(tmp_path):
    async def run():
        async with open_lab(tmp_path / "data") as lab:
            rule = {"automatic": True, "episodes": 5, "min_episodes": 5}
            new = {"name": "aim", "agent": "fake", "rollout": rule}
            made = (await lab.ask("POST", "/experiments", new))["id"]
            await lab.ask("POST", f"/experiments/{made}/start")
            with ExitStack() as stack:
                Client(tmp_path, lab.service.fleet.address, stack)
                await lab.until("/robots", lambda found: found["items"])
                lab.publish(made, 0, 0.3)
                await lab.until(f"/experiments/{made}/episodes", lambda p: p["total"] >= 6)
                await evaluates(lab, made)
                await goes_back(lab, made)
                await asyncio.to_thread(stack.close)

    asyncio.run(run())


async def evaluates(lab, made):
    path = f"/experiments/{made}/evaluations"
    begun = await lab.ask("POST", path, {"episodes": 3, "replay": False})
    found = await lab.until(f"{path}/{begun['id']}", lambda e: e["state"] != "running")
    assert (found["state"], found["version"], found["played"]) == ("done", 0, 3)
    rows = STEPS + 1
    query = f"/metrics?experiment={made}&name=evaluation_return"
    series = (await lab.ask("GET", query))["series"]["evaluation_return"]
    assert series["value"] == found["returns"]
    assert np.ptp(found["returns"]) < 1e-5  # without exploring, they are all the same
    learning = await lab.ask("GET", f"/experiments/{made}/episodes?evaluation=false")
    assert np.ptp([e["total_reward"] for e in learning["items"]]) > 1e-3
    store = lab.service.fleet.store(made)
    view = ReplayView(store)
    view.refresh()
    assert len(view) - view.drawable == 3 * rows
    assert sum(place.rows for place in ReplayEpisodes(store).places) >= len(view)  # exportable
    sampler = SequenceSampler(view, 8, 6, (), np.random.default_rng(0))
    drawn = {int(row) for _ in range(50) for row in sampler.sample()["row_id"].ravel()}
    assert not any(view.episode_of(row)[0].evaluation for row in drawn)


async def goes_back(lab, made):
    lab.publish(made, 1, -0.6)
    events = f"/events?experiment={made}&kind="
    await lab.until(f"{events}rollout_canary", lambda p: p["total"])
    (event,) = (await lab.until(f"{events}rollout_rolled_back", lambda p: p["total"]))["items"]
    assert event["text"].startswith("version 1 back to 0: returns -")
    await lab.until("/robots/aimer", lambda r: r["policy_version"] == 0)
    rollout = await lab.ask("GET", f"/experiments/{made}/rollout")
    assert (rollout["offered"], rollout["newest"], rollout["best"]) == (0, 1, 0)
    assert rollout["trial"]["refused"] == 1
    before = await lab.ask("GET", f"/experiments/{made}/episodes?limit=1")
    newest = await lab.until(
        f"/experiments/{made}/episodes?order=newest&limit=1",
        lambda p: p["total"] > before["total"] + 2,
    )
    assert newest["items"][0]["policy_last"] == 0
    whole_versions(lab.service.fleet.store(made))


def whole_versions(store):
    """No evaluation has two versions."""
    view = ReplayView(store)
    view.refresh()
    found = {}
    for row in range(view.head):
        episode, _ = view.episode_of(row)
        if episode.evaluation:
            columns = view.gather(np.array([row]), [POLICY_VERSION, IS_FIRST])
            found.setdefault(episode.key, set()).add(int(columns[POLICY_VERSION][0]))
    assert len(found) == 3
    assert all(versions == {0} for versions in found.values())
