"""The API over real storage, a real supervisor and fake learners; robots are called in directly."""

import asyncio
import io
import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image

from robot_client.errors import MessageError, SchemaError
from robot_client.messages import Event, Heartbeat, Hello, PolicyReport
from robot_client.schema import Chunk, space_to_json
from server.agent_catalog import AgentCatalog
from server.api.metrics import thin
from server.app import build_app
from server.errors import Conflict, Invalid, NotFound
from server.experiments import Experiments
from server.service import Service, open_storage
from server.sessions import SessionInfo
from server.settings import Settings
from server.supervisor import Patience

FAKE = Path(__file__).parents[1] / "fake_learner.py"
OBSERVATION = space_to_json(spaces.Dict({"x": spaces.Box(-1, 1, (2,), np.float32)}))
ACTION = space_to_json(spaces.Discrete(3))
SHORT = Patience(stop=30, first_delay=0.01, max_delay=0.02)


class Checker(AgentCatalog):
    """Knows one agent, `fake`, with one setting, without loading any."""

    async def agents(self):
        return [
            {
                "name": "fake",
                "doc": "For tests.",
                "presets": ["laptop"],
                "schema": {"type": "object"},
                "error": None,
            }
        ]

    async def check(self, agent, preset, config):
        if agent != "fake":
            raise Invalid("agent", "fake", agent)
        return {"size": "tiny"} | config


class FakeFleet:
    def __init__(self):
        self.published, self.commands, self.connected, self.frame = [], [], {}, None

    def publish(self, experiment, manifest):
        self.published.append((experiment, manifest))

    def command(self, robot, verb):
        if robot not in self.connected:
            raise NotFound(f"robot {robot} is not connected")
        self.commands.append((robot, verb))
        return len(self.commands)

    def sessions(self):
        return list(self.connected.values())

    def camera(self, robot):
        return self.frame


class House:
    """A server without sockets. `manner` says how its learners behave: see fake_learner.py."""

    def __init__(self, service, writer):
        self.service, self.fleet, self.experiments = service, service.fleet, service.experiments
        self.writer = writer
        transport = httpx.ASGITransport(build_app(service), raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test/api/v1")

    async def ask(self, method, path, body=None, status=None):
        answer = await self.http.request(method, path, json=body)
        expected = status or {"GET": 200, "POST": 200}[method]
        assert answer.status_code == expected, answer.text
        return answer.json()

    async def create(self, **changes):
        body = {"name": "ball", "agent": "fake"} | changes
        return (await self.ask("POST", "/experiments", body, 201))["id"]

    def join(self, robot="ball-1", observation=OBSERVATION, **changes):
        hello = hello_of(robot, observation, **changes)
        experiment = self.experiments.admit(robot, hello)
        beat = Heartbeat(1, 2, "fresh", "", 7, 19.9, 0, 4)
        self.fleet.connected[robot] = SessionInfo(robot, experiment, beat, True, 0.1, 0, {})
        return experiment

    async def until(self, experiment, condition):
        while not condition(view := await self.ask("GET", f"/experiments/{experiment}")):
            await asyncio.sleep(0.01)
        return view


def hello_of(robot, observation=OBSERVATION, action=ACTION):
    task = {"name": "roll", "episode_steps": 10}
    return Hello(robot, "a", observation, action, 20.0, task, 0, 0, -1, "test")


@asynccontextmanager
async def open_house(tmp_path, manner="good"):
    settings = Settings(tmp_path)

    def command(directory):
        (directory / manner).mkdir(exist_ok=True)
        return [sys.executable, str(FAKE), str(directory / manner)]

    async with open_storage(settings) as (storage, writer):
        checker, fleet = Checker(), FakeFleet()
        experiments = Experiments(settings, storage, writer, checker, command, SHORT)
        await experiments.load()
        await experiments.open(fleet)
        house = House(Service(settings, storage, experiments, checker, fleet), writer)
        try:
            async with house.http:
                yield house
        finally:
            await experiments.close()


def in_house(tmp_path, act, manner="good"):
    async def run():
        async with open_house(tmp_path, manner) as house:
            return await act(house)

    return asyncio.run(run())


def chunk(episode, first_seq, rewards, first=True, last=True):
    rows = len(rewards)
    flags = np.zeros(rows, bool)
    is_first, is_last = flags.copy(), flags.copy()
    is_first[0], is_last[-1] = first, last
    columns = {
        "reward": np.array(rewards, np.float32),
        "is_first": is_first,
        "is_last": is_last,
        "is_terminal": is_last,
        "policy_version": np.full(rows, first_seq),
        "source": np.zeros(rows, np.uint8),
        "time_wall": np.arange(rows, dtype=float),
    }
    return Chunk("a", episode, first_seq, columns)


def test_health_and_agents(tmp_path):
    async def act(house):
        return await house.ask("GET", "/health"), await house.ask("GET", "/agents")

    health, agents = in_house(tmp_path, act)
    assert (health["status"], health["experiments"]) == ("ok", 0)
    assert [a["name"] for a in agents] == ["fake"]
    assert agents[0]["config_schema"] == {"type": "object"}


def test_a_new_experiment_has_its_defaults_filled_in(tmp_path):
    async def act(house):
        made = await house.create(config={"rate": 1}, robots=["ball-1"])
        return made, await house.ask("GET", "/experiments")

    made, listed = in_house(tmp_path, act)
    assert [e["id"] for e in listed] == [made]
    assert listed[0]["config"] == {"size": "tiny", "rate": 1}
    assert (listed[0]["state"], listed[0]["allowed"]) == ("created", ["start", "stop"])
    assert listed[0]["learner"]["state"] == "none"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x"}, "agent"),
        ({"name": "", "agent": "fake"}, "name"),
        ({"name": "x", "agent": "other"}, "agent"),
        ({"name": "x", "agent": "fake", "seed": "1"}, "seed"),
        ({"name": "x", "agent": "fake", "sede": 1}, "sede"),
        ({"name": "x", "agent": "fake", "train_ratio": 0}, "train_ratio"),
    ],
)
def test_a_wrong_experiment_is_refused_by_field(tmp_path, body, field):
    async def act(house):
        problem = await house.ask("POST", "/experiments", body, 422)
        return problem, await house.ask("GET", "/experiments")

    problem, listed = in_house(tmp_path, act)
    assert problem["field"] == field
    assert {"type", "title", "status", "detail", "expected", "got"} < set(problem)
    assert listed == []


def test_what_is_not_there_is_a_problem_too(tmp_path):
    async def act(house):
        for method, path in (
            ("GET", "/experiments/nope"),
            ("POST", "/experiments/nope/start"),
            ("GET", "/experiments/nope/episodes"),
            ("GET", "/metrics?experiment=nope"),
            ("GET", "/nothing"),
            ("POST", "/robots/nobody/pause"),
            ("GET", "/robots/nobody/camera.png"),
        ):
            problem = await house.ask(method, path, status=404)
            assert problem["status"] == 404
            assert problem["detail"]

    in_house(tmp_path, act)


def test_illegal_transitions_name_what_is_allowed_and_legal_ones_repeat(tmp_path):
    async def act(house):
        made = await house.create()
        problem = await house.ask("POST", f"/experiments/{made}/pause", status=409)
        assert problem["detail"] == "cannot pause a created experiment; allowed: start, stop"
        states = []
        for verb in ("start", "start", "pause", "pause", "resume", "resume", "stop", "stop"):
            changed = await house.ask("POST", f"/experiments/{made}/{verb}")
            states.append(changed["state"])
        assert states == [s for s in ("running", "paused", "running", "stopped") for _ in "12"]
        await house.ask("POST", f"/experiments/{made}/resume", status=409)
        await house.ask("POST", f"/experiments/{made}/fly", status=422)

    in_house(tmp_path, act)


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
        events = await house.ask("GET", f"/experiments/{made}/events")
        metrics = await house.ask("GET", f"/metrics?experiment={made}&name=loss&name=none")
        return made, waiting, view, house.fleet.published, events, metrics

    made, waiting, view, published, events, metrics = in_house(tmp_path, act)
    assert waiting["learner"]["state"] == "none"
    assert (view["learner"]["state"], view["learner"]["updates"]) == ("running", 6)
    assert published == [(made, {"updates": 6, "agent": "fake"})]
    assert [e["kind"] for e in events] == ["log", "policy_refused"]
    assert metrics["latest"] == {"loss": 0.5, "ratio": 32.0}
    assert metrics["series"]["loss"] == {"time": [1000.0], "updates": [6], "value": [0.5]}
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
        return view, await house.ask("GET", f"/experiments/{made}/events")

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
        again = await house.ask("POST", f"/experiments/{made}/start")
        return view, again

    view, again = in_house(tmp_path, act, "fatal")
    assert view["reason"] == "action_space: expected Box, got Discrete"
    assert view["allowed"] == ["start", "stop"]
    assert (again["state"], again["reason"]) == ("running", "")


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


def test_robots_show_their_heartbeat_and_camera_and_take_commands(tmp_path):
    async def act(house):
        made = await house.create()
        await house.ask("POST", f"/experiments/{made}/start")
        house.join()
        await house.writer.flush()
        (robot,) = await house.ask("GET", "/robots")
        done = await house.ask("POST", "/robots/ball-1/end_episode", status=202)
        await house.ask("POST", "/robots/ball-1/jump", status=422)
        house.fleet.frame = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
        picture = await house.http.get("/robots/ball-1/camera.png")
        await house.ask("POST", f"/experiments/{made}/pause")
        house.fleet.connected.clear()
        (offline,) = await house.ask("GET", "/robots")
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


def test_returns_are_summed_over_chunks_of_an_episode(tmp_path):
    async def act(house):
        made = await house.create()
        await house.ask("POST", f"/experiments/{made}/start")
        house.join()
        for arrived in (
            chunk(0, 5, [1.0, 1.0], first=False),  # its beginning is not known
            chunk(1, 7, [0.0, 2.0, 3.0], last=False),
            chunk(1, 10, [4.0, -1.5], first=False),
            chunk(2, 12, [0.0, 1.0]),
        ):
            house.experiments.stored("ball-1", made, arrived)
        await house.writer.flush()
        view = await house.ask("GET", f"/experiments/{made}")
        episodes = await house.ask("GET", f"/experiments/{made}/episodes")
        metrics = await house.ask("GET", f"/metrics?experiment={made}&name=episode_return")
        return view, episodes, metrics

    view, episodes, metrics = in_house(tmp_path, act)
    assert view["rows"] == 9
    assert [(e["episode"], e["steps"], e["total_reward"]) for e in episodes] == [
        (1, 4, 7.5),
        (2, 1, 1.0),
    ]
    assert (episodes[0]["policy_first"], episodes[0]["policy_last"]) == (7, 10)
    assert (episodes[0]["source"], episodes[0]["is_terminal"]) == ("policy", True)
    assert metrics["series"]["episode_return"]["value"] == [7.5, 1.0]


def test_the_latest_report_is_served_and_nothing_else(tmp_path):
    async def act(house):
        made = await house.create()
        path = f"/experiments/{made}/reports/latest"
        await house.ask("GET", path, status=404)
        reports = tmp_path / "experiments" / made / "reports"
        reports.mkdir(parents=True)
        (reports / "6.png").write_bytes(b"picture")
        house.experiments.learner_said(
            made, {"event": "report", "name": "r", "path": "reports/6.png"}
        )
        await house.writer.flush()
        assert (await house.http.get(path)).content == b"picture"
        outside = {"event": "report", "name": "r", "path": "../../dreamfleet.sqlite"}
        house.experiments.learner_said(made, outside)
        await house.writer.flush()
        await house.ask("GET", path, status=404)

    in_house(tmp_path, act)


def test_a_learners_wrong_event_is_passed_over(tmp_path, caplog):
    async def act(house):
        made = await house.create()
        house.experiments.learner_said(made, {"event": "metrics", "values": {"loss": "high"}})
        house.experiments.learner_said(made, {"event": "policy", "version": None})
        assert house.fleet.published == []
        assert (await house.ask("GET", f"/metrics?experiment={made}"))["latest"] == {}

    in_house(tmp_path, act)
    assert caplog.text.count("is wrong") == 2


def test_thinning_keeps_the_mean_and_the_last_place():
    points = [(float(i), i, float(i)) for i in range(10)]
    assert thin(points, 100) == points
    assert thin(points, 2) == [(4.0, 4, 2.0), (9.0, 9, 7.0)]
    assert len(thin(points, 3)) == 3
    assert thin([], 5) == []


def test_the_page_is_served(tmp_path):
    async def act(house):
        for path in ("http://test/", "http://test/app.js", "http://test/style.css"):
            assert (await house.http.get(path)).status_code == 200
        return (await house.http.get("http://test/")).text

    assert 'src="app.js"' in in_house(tmp_path, act)


def test_what_a_robot_or_learner_says_cannot_spoil_the_database(tmp_path):
    async def scenario(house):
        experiment = await house.create()
        house.experiments.policy_reported("ball-1", PolicyReport("", -1, "the disk is full"))
        for _ in range(2):
            said = {"event": "metrics", "updates": 1, "rows": 2, "time": 3.0}
            said["values"] = {"loss": float("nan"), "entropy": 1.5}
            house.experiments.learner_said(experiment, said)
        await house.writer.flush()
        events = await house.ask("GET", f"/experiments/{experiment}/events")
        assert [e["kind"] for e in events] == ["not_finite"]
        assert "loss" in events[0]["text"]
        found = await house.ask("GET", f"/metrics?experiment={experiment}")
        assert found["latest"] == {"entropy": 1.5}

    in_house(tmp_path, scenario)


def test_a_policy_that_cannot_travel_is_not_kept(tmp_path):
    async def scenario(house):
        experiment = await house.create()

        def refuse(experiment, manifest):
            raise MessageError("header", "at most 65536 bytes", 10**6)

        house.fleet.publish = refuse
        said = {"event": "policy", "version": 0, "manifest": {"updates": 1}}
        house.experiments.learner_said(experiment, said)
        assert house.experiments.policy_version(experiment) is None
        await house.writer.flush()
        storage = house.service.storage
        assert await asyncio.to_thread(storage.latest_policy, experiment) is None

    in_house(tmp_path, scenario)
