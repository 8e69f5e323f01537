"""The API over real storage and a real supervisor: experiments, and what is shown of them."""

import asyncio

import numpy as np
import pytest

from robot_client.errors import MessageError
from robot_client.messages import Heartbeat, PolicyReport
from robot_client.schema import Chunk
from tests.unit.house import in_house


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
        return made, await house.items("/experiments")

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
        return problem, await house.items("/experiments")

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
        episodes = await house.items(f"/experiments/{made}/episodes")
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


def test_the_dashboard_has_its_files_and_what_is_no_page_is_not_found(tmp_path):
    async def act(house):
        for path in ("login.html", "style.css", "page.js"):
            assert (await house.http.get(f"http://test/{path}")).status_code == 200
        for path in ("app.js", "experiments/x/nothing", "_nicegui_ws/socket.io/", "../app.py"):
            missing = await house.http.get(f"http://test/{path}")
            assert (missing.status_code, missing.json()["status"]) == (404, 404)
        assert (await house.http.post("http://test/")).status_code == 405

    in_house(tmp_path, act)


def test_what_a_robot_or_learner_says_cannot_spoil_the_database(tmp_path):
    async def scenario(house):
        experiment = await house.create()
        house.experiments.policy_reported("ball-1", PolicyReport("", -1, "the disk is full"))
        for _ in range(2):
            said = {"event": "metrics", "updates": 1, "rows": 2, "time": 3.0}
            said["values"] = {"loss": float("nan"), "entropy": 1.5}
            house.experiments.learner_said(experiment, said)
        await house.writer.flush()
        events = await house.items(f"/experiments/{experiment}/events")
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


def beat(safety, backlog=0):
    return Heartbeat(1, 2, safety, "", backlog, 19.9, 0, 4, 0.5, 0.004, "", 0)


def test_robots_of_an_ended_experiment_move_to_the_next_once_they_have_delivered(tmp_path):
    async def act(house):
        old, new = await house.create(), await house.create()
        await house.ask("POST", f"/experiments/{old}/start")
        house.join()
        await house.ask("POST", f"/experiments/{old}/stop")
        house.experiments.heartbeat("ball-1", old, beat("stop"))
        assert "ball-1" in house.fleet.connected  # there is no place for it
        house.fleet.commands.clear()
        await house.ask("POST", f"/experiments/{new}/start")
        assert house.fleet.commands == [("ball-1", "pause")]
        for moving in (beat("fresh"), beat("stop", backlog=1)):
            house.experiments.heartbeat("ball-1", old, moving)
            assert "ball-1" in house.fleet.connected
        house.experiments.heartbeat("ball-1", old, beat("stop"))
        assert "ball-1" not in house.fleet.connected
        assert house.join() == new
        house.experiments.joined("ball-1", new)
        assert house.fleet.commands[-1] == ("ball-1", "resume")
        house.fleet.commands.clear()
        house.experiments.joined("ball-1", new)  # later, an operator's pause stays
        assert house.fleet.commands == []

    in_house(tmp_path, act)


def test_a_robot_that_joins_a_paused_experiment_is_paused(tmp_path):
    async def act(house):
        made = await house.create()
        for verb in ("start", "pause"):
            await house.ask("POST", f"/experiments/{made}/{verb}")
        house.join()
        house.experiments.joined("ball-1", made)
        assert house.fleet.commands == [("ball-1", "pause")]

    in_house(tmp_path, act)


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://evil.example", 403), ("null", 403), ("http://localhost:8000", 404), (None, 404)],
)
def test_a_web_page_from_elsewhere_steers_no_robot(tmp_path, origin, status):
    async def act(house):
        headers = {"Origin": origin} if origin else {}
        answer = await house.http.post("/robots/ball-1/release", headers=headers)
        assert answer.status_code == status
        assert (await house.http.get("/robots", headers=headers)).status_code == 200

    in_house(tmp_path, act)
