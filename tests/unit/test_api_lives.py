"""Learners and robots come and go: what the API makes of it."""

import asyncio
import io
import json
import threading

import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image

from robot_client.errors import SchemaError
from robot_client.messages import Event, PolicyReport
from robot_client.schema import space_to_json
from server.errors import Conflict
from tests.unit.house import ACTION, OBSERVATION, in_house


def test_the_learner_starts_with_the_first_robot_and_its_policy_comes_back(tmp_path):
    async def act(house):
        made = await house.create(seed=3)
        await house.ask("POST", f"/experiments/{made}/start")
        waiting = await house.ask("GET", f"/experiments/{made}")
        assert house.experiments.learner_state(made) == "starting"
        assert house.join() == made
        view = await house.until(made, lambda v: v["policy_version"] == 2)
        assert house.experiments.learner_state(made) == "running"
        house.experiments.policy_reported("ball-1", PolicyReport(made, 2, "wrong space"))
        house.experiments.event("ball-1", made, Event("log", "hello"))
        await house.writer.flush()
        events = await house.items(f"/experiments/{made}/events")
        metrics = await house.ask("GET", f"/metrics?experiment={made}&name=loss&name=none")
        return made, waiting, view, house.fleet.published, events, metrics

    made, waiting, view, published, events, metrics = in_house(tmp_path, act)
    assert waiting["learner"]["state"] == "none"
    assert (view["learner"]["state"], view["learner"]["updates"]) == ("running", 6)
    assert published == [(made, {"updates": 6, "agent": "fake"})]
    assert [e["kind"] for e in events] == ["log", "policy_refused"]
    assert metrics["latest"] == {"loss": 0.5, "ratio": 32.0}
    assert metrics["series"]["loss"] == {
        "time": [1000.0],
        "rows": [100],
        "updates": [6],
        "value": [0.5],
        "low": [0.5],
        "high": [0.5],
    }
    assert metrics["series"]["none"]["value"] == []
    home = tmp_path / "experiments" / made
    description = json.loads((home / "experiment.json").read_text())
    assert description["observation_space"] == OBSERVATION
    assert (description["id"], description["seed"], description["agent"]) == (made, 3, "fake")
    assert (home / "good" / "orders").read_text() == "stop\n"


def test_the_learners_description_is_one_that_it_accepts(tmp_path):
    job = pytest.importorskip("server.job")

    async def act(house):
        made = await house.create(min_rows=7)
        await house.ask("POST", f"/experiments/{made}/start")
        house.join()
        await house.until(made, lambda v: v["learner"]["updates"] > 0)
        return job.Job.read(tmp_path / "experiments" / made)

    found = in_house(tmp_path, act)
    assert (found.agent, found.min_rows, found.action_space) == ("fake", 7, ACTION)
    assert found.task == {"name": "roll", "episode_steps": 10}


def test_what_was_running_goes_on_after_a_restart(tmp_path):
    async def first(house):
        made = await house.create()
        await house.ask("POST", f"/experiments/{made}/start")
        house.join()
        await house.until(made, lambda v: v["policy_version"] == 2)
        stopped = await house.create(name="other")
        await house.ask("POST", f"/experiments/{stopped}/stop")
        return made, stopped

    async def second(house):
        assert house.fleet.published[0] == (made, {"updates": 6, "agent": "fake"})
        other = await house.ask("GET", f"/experiments/{stopped}")
        return other, await house.until(made, lambda v: v["learner"]["updates"] == 6)

    made, stopped = in_house(tmp_path, first)
    other, view = in_house(tmp_path, second)
    assert (view["state"], view["learner"]["state"]) == ("running", "running")
    assert (other["state"], other["learner"]["state"]) == ("stopped", "none")
    assert (tmp_path / "experiments" / made / "good" / "lives").read_text() == "2"


def test_a_learner_that_raises_is_restarted_and_the_api_says_why(tmp_path):
    async def act(house):
        made = await house.create()
        await house.ask("POST", f"/experiments/{made}/start")
        house.join()
        view = await house.until(made, lambda v: v["learner"]["restarts"] >= 2)
        await house.writer.flush()
        return view, await house.items(f"/experiments/{made}/events")

    view, events = in_house(tmp_path, act, "raises")
    assert view["state"] == "running"
    assert "RuntimeError: the loss is not a number" in view["learner"]["reason"]
    assert "Traceback" in view["learner"]["tail"]
    assert events[0]["kind"] == "learner_failed"


def test_a_fatal_failure_ends_the_experiment_until_it_is_started_again(tmp_path):
    async def act(house):
        made = await house.create()
        await house.ask("POST", f"/experiments/{made}/start")
        house.join()
        view = await house.until(made, lambda v: v["state"] == "failed")
        lives = tmp_path / "experiments" / made / "fatal" / "lives"
        assert lives.read_text() == "1"
        await house.ask("POST", f"/experiments/{made}/start")
        await house.until(made, lambda _: lives.read_text() == "2")  # it may have failed again
        return view

    view = in_house(tmp_path, act, "fatal")
    assert view["reason"] == "action_space: expected Box, got Discrete"
    assert view["allowed"] == ["start", "stop"]


def test_robots_join_only_where_there_is_a_place(tmp_path):
    other = space_to_json(spaces.Dict({"y": spaces.Box(-1, 1, (2,), np.float32)}))

    async def act(house):
        with pytest.raises(Conflict, match="no running experiment"):
            house.join()
        anyone = await house.create()
        mine = await house.create(robots=["ball-2"])
        with pytest.raises(Conflict, match="no running experiment"):
            house.join()
        for made in (anyone, mine):
            await house.ask("POST", f"/experiments/{made}/start")
        assert house.join("ball-1") == anyone
        assert house.join("ball-2") == mine
        with pytest.raises(SchemaError, match="observation_space"):
            house.join("ball-3", other)
        with pytest.raises(SchemaError, match="action_space"):
            house.join("ball-3", action=space_to_json(spaces.Discrete(4)))
        rival = await house.create(robots=["ball-2"])
        problem = await house.ask("POST", f"/experiments/{rival}/start", status=409)
        assert problem["detail"] == f"experiment {mine} has ball-2; stop it first"

    in_house(tmp_path, act)


def test_a_robot_that_is_away_hears_of_what_was_done_to_its_experiment_when_it_is_back(tmp_path):
    async def act(house):
        made = await house.create()
        await house.ask("POST", f"/experiments/{made}/start")
        house.join()
        house.fleet.sessions = list  # the gateway still knows the robot, and takes orders
        for verb in ("pause", "resume", "stop"):
            await house.ask("POST", f"/experiments/{made}/{verb}")
        other = await house.create()
        await house.ask("POST", f"/experiments/{other}/start")
        house.join()
        house.experiments.joined("ball-1", other)
        return [verb for _, verb in house.fleet.commands]

    assert in_house(tmp_path, act) == ["pause", "resume", "pause", "resume"]


def test_robots_show_their_heartbeat_and_camera_and_take_commands(tmp_path):
    async def act(house):
        made = await house.create()
        await house.ask("POST", f"/experiments/{made}/start")
        house.join()
        await house.writer.flush()
        (robot,) = await house.items("/robots")
        done = await house.ask("POST", "/robots/ball-1/end_episode", status=202)
        await house.ask("POST", "/robots/ball-1/jump", status=422)
        house.fleet.frame = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
        picture = await house.http.get("/robots/ball-1/camera.png")
        await house.ask("POST", f"/experiments/{made}/pause")
        house.fleet.connected.clear()
        (offline,) = await house.items("/robots")
        return robot, done, picture.content, house.fleet.commands, offline

    robot, done, picture, commands, offline = in_house(tmp_path, act)
    assert robot["connected"]
    assert (robot["safety"], robot["backlog_rows"], robot["loop_hz"]) == ("fresh", 7, 19.9)
    assert robot["task"]["name"] == "roll"
    assert done == {"robot": "ball-1", "verb": "end_episode", "id": 1}
    assert commands == [("ball-1", "end_episode"), ("ball-1", "pause")]
    seen = np.asarray(Image.open(io.BytesIO(picture)))
    assert seen.tolist() == np.arange(60).reshape(4, 5, 3).tolist()
    assert (offline["connected"], offline["safety"]) == (False, None)


def test_an_experiment_that_is_stopped_while_its_learner_is_launched_has_none(
    tmp_path, monkeypatch
):
    writing, written = threading.Event(), threading.Event()

    def write(*about):
        writing.set()
        written.wait(10)

    async def act(house):
        made = await house.create()
        await house.ask("POST", f"/experiments/{made}/start")
        monkeypatch.setattr("server.launches.write_description", write)
        house.join()  # the first robot: the learner may be launched
        await asyncio.to_thread(writing.wait, 10)
        stopping = asyncio.create_task(house.ask("POST", f"/experiments/{made}/stop"))
        await asyncio.wait([stopping], timeout=0.3)
        written.set()
        view = await stopping
        await asyncio.sleep(0.1)
        return view["state"], house.experiments.learner(made).state

    assert in_house(tmp_path, act) == ("stopped", "none")
