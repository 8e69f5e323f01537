"""A policy is compressed over REST: teacher and rows are copied, and both sides are shown."""

import json

import pytest
from typer.testing import CliRunner

from server.commands import policies
from server.replay.store import ReplayStore
from tests.unit.house import in_house, whole
from tests.unit.test_api import chunk
from tests.unit.test_rest_policies import prune, publish

REWARDS = ([0.0, 1.0], [0.0, 2.0], [0.0, 3.0])


async def taught(house, tmp_path):
    """An experiment with three episodes and one version."""
    made = await house.create(robots=["ball-1"])
    await house.ask("POST", f"/experiments/{made}/start")
    house.join()
    for number, rewards in enumerate(REWARDS):
        part = whole(chunk(number, 2 * number, rewards))
        house.fleet.store(made).append("ball-1", part)
        house.experiments.stored("ball-1", made, part)
    publish(house, tmp_path, made, 0)
    return made


def test_a_student_begins_with_its_teacher_and_the_rows(tmp_path):
    async def act(house):
        source = await taught(house, tmp_path)
        path = f"/experiments/{source}/policies/0/compress"
        wanted = {"config": {"widths": [8]}, "updates": 30, "batch_size": 2, "robots": ["small-1"]}
        made = await house.ask("POST", path, wanted, 201)
        publish(house, tmp_path, made["id"], 0)
        seen = await house.ask("GET", f"/experiments/{made['id']}/compression")
        await house.ask("GET", f"/experiments/{source}/compression", None, 404)
        return source, made, seen

    source, made, seen = in_house(tmp_path, act)
    assert (made["agent"], made["state"], made["rows"]) == ("distill", "running", 6)
    assert made["config"]["teachers"] == [{"task": "", "experiment": source, "version": 0}]
    assert made["config"]["widths"] == [8]
    assert made["settings"]["train_ratio"] == pytest.approx(30 * 2 / 6)
    home = tmp_path / "experiments" / made["id"]
    about = json.loads((home / "teachers" / "0" / "teacher.json").read_text())
    assert about["manifest"]["version"] == 0
    for digest in about["manifest"]["sizes"]:
        assert (home / "teachers" / "0" / digest).is_file()
    store = ReplayStore(home / "replay", readonly=True)
    with store.read() as snapshot:
        assert [s.robot for s in snapshot.streams()] == ["teacher:0:ball-1"]
    store.close()
    assert seen["share"] == 1.0
    assert [side["experiment"] for side in seen["teachers"]] == [source]
    assert seen["student"]["experiment"] == made["id"]


def test_what_cannot_be_compressed_leaves_nothing_behind(tmp_path):
    async def act(house):
        source = await taught(house, tmp_path)
        path = f"/experiments/{source}/policies"
        who = {"robots": ["small-1"]}
        await house.ask("POST", f"{path}/7/compress", who, 404)
        await house.ask("POST", f"{path}/0/compress", {}, 422)  # who is to move
        await house.ask("POST", f"{path}/0/compress", {"robots": ["ball-1"]}, 409)  # is another's
        await house.ask("POST", f"{path}/0/compress", who | {"updates": 0}, 422)
        empty = await house.create()
        await house.ask("POST", f"/experiments/{empty}/policies/0/compress", who, 409)
        prune(tmp_path, source, 0)
        await house.ask("POST", f"{path}/0/compress", who, 409)
        return len(await house.items("/experiments"))

    assert in_house(tmp_path, act) == 2
    assert len(list((tmp_path / "experiments").iterdir())) <= 2


def test_the_commands_ask_and_show(monkeypatch):
    side = {"experiment": "e1", "version": 0, "nbytes": 10, "returns": None, "evaluation": None}
    answers = {
        "POST": {"id": "e2", "agent": "distill"},
        "GET": {"teachers": [side], "student": side | {"experiment": "e2"}, "share": 1.0},
    }
    asked = []

    def ask(server, method, path, body=None, patience_s=0.0):
        asked.append((method, path, body))
        return answers[method]

    monkeypatch.setattr(policies, "ask", ask)
    monkeypatch.setattr(policies, "of_experiment", lambda server, name, rest: f"/{name}{rest}")
    arguments = ["compress", "ball", "2", "--config", '{"widths": [8]}', "--updates", "9", "--json"]
    arguments += ["--robot", "small-1"]
    made = CliRunner().invoke(policies.app, arguments)
    assert json.loads(made.stdout) == answers["POST"], made.output
    body = {"config": {"widths": [8]}, "robots": ["small-1"], "updates": 9}
    assert asked == [("POST", "/ball/policies/2/compress", body)]
    seen = CliRunner().invoke(policies.app, ["compression", "ball"])
    assert "teacher" in seen.output
    assert "student" in seen.output
