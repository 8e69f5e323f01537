"""A server in a thread of its own that has one of everything, for tests from outside."""

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from robot_client import keys
from robot_client.schema import Chunk
from server.access import RobotKeys, Tokens
from server.app import serve_web
from server.settings import Settings
from tests.unit.dataset_rows import KINDS, episodes_of, exported, imported, stored
from tests.unit.house import ACTION, OBSERVATION, hello_of, open_house, whole
from tests.unit.replay_rows import Recorder
from tests.unit.test_api import chunk as rows_of
from tests.unit.test_rest_policies import publish

EXPORT = "0a1b2c3d"
KEY = keys.generate().public
CHECKPOINT = 7


def furnish_shelf(data):
    """A dataset and an export, a robot's key and a token, all with names that mean something."""
    about = KINDS["vector"]
    replay = stored(data / "other", about, episodes_of(about))
    exported(replay, data / "exports" / EXPORT, about, "minari")
    imported(data / "exports" / EXPORT, data / "datasets", "ann")
    RobotKeys(data).enrol("ball-1", KEY, "test")
    Tokens(data).create("ann", "viewer", "test")


async def furnish(house):
    """A running experiment with rows, an episode, policies and a robot; one that is stopped, with a
    checkpoint; one with the rows of a dataset; one that has a teacher; and one to be deleted, as is
    a robot whose name was mistyped."""
    running, stopped = await house.create(), await house.create(name="other")
    shown = await house.create(name="shown", demonstrations=["ann"])
    doomed = await house.create(name="doomed")
    teacher = {"task": "", "experiment": running, "version": 2}
    student = await house.create(name="student", config={"teachers": [teacher]})
    await house.ask("POST", f"/experiments/{running}/start")
    await house.ask("POST", f"/experiments/{stopped}/stop")
    house.join()
    house.experiments.roster.met(hello_of("bal-1"), "bal-1", OBSERVATION, ACTION)
    await house.until(running, lambda view: view["policy_version"] == 2)
    house.experiments.rollout.learned(running, 1, {"updates": 3, "agent": "fake"})
    house.experiments.rollout.learned(running, 3, {"updates": 9, "agent": "fake"})
    record(house, running)
    house.fleet.frame = np.zeros((4, 4, 3), np.uint8)
    house.fleet.command("ball-1", "pause")
    keep_files(house, running, stopped)
    evaluations = f"/experiments/{running}/evaluations"
    await house.ask("POST", evaluations, {"episodes": 2}, 201)
    await house.ask("POST", f"{evaluations}/1/cancel")
    (episode,) = await house.items(f"/experiments/{running}/episodes")
    return {
        "name": ["ann"],
        "export": [EXPORT],
        "experiment": [running, running, stopped],
        "shown": [shown],
        "doomed": [doomed],
        "student": [student],
        "taught": [await teach(house)],
        "stopped": [stopped],
        "stranger": ["stranger"],
        "checkpoint": [CHECKPOINT],
        "robot": ["ball-1"],
        "mistyped": ["bal-1"],
        "version": [2],
        "agent": ["fake"],
        "episode": [episode["id"]],
        "camera": ["camera"],
        "command": [1],
        "evaluation": [1],
        "row": [3],
    }


async def teach(house):
    """An experiment with rows and a version, from which a student can begin."""
    made = await house.create(name="taught", robots=["ball-2"])
    await house.ask("POST", f"/experiments/{made}/start")
    house.join("ball-2")
    part = whole(rows_of(0, 0, [0.0, 1.0]))
    house.fleet.store(made).append("ball-2", part)
    house.experiments.stored("ball-2", made, part)
    publish(house, house.service.settings.experiment_dir(made).parents[1], made, 2)
    return made


def record(house, experiment):
    """An episode of ball-1 with pictures."""
    for _, chunk in Recorder(image=4).chunks(12):
        chunk = Chunk("a", chunk.episode, chunk.first_seq, chunk.columns)
        house.fleet.store(experiment).append("ball-1", chunk)
        house.experiments.stored("ball-1", experiment, chunk)


def keep_files(house, running, stopped):
    """A report, and a checkpoint."""
    reports = house.service.settings.experiment_dir(running) / "reports"
    reports.mkdir()
    (reports / "6.png").write_bytes(b"picture")
    home = house.service.settings.experiment_dir(stopped)
    folder = home / "checkpoints" / f"{CHECKPOINT:012d}"
    folder.mkdir(parents=True)
    (folder / "done").touch()


@contextmanager
def furnished(tmp_path):
    """The address of the server, an operator's headers, and names that mean something there."""
    ready, done, found = threading.Event(), threading.Event(), {}
    _, token = Tokens(tmp_path).create("operator", "operator", "test")
    headers = {"Authorization": f"Bearer {token}"}
    furnish_shelf(tmp_path)

    async def live():
        async with open_house(tmp_path) as house:
            house.http.headers.update(headers)
            service = replace(house.service, settings=Settings(tmp_path, port=0))
            async with serve_web(service) as address:
                found.update(names=await furnish(house), address=address)
                ready.set()
                await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(live(),))
    thread.start()
    try:
        assert ready.wait(60)
        yield found["address"], headers, found["names"]
    finally:
        done.set()
        thread.join()
