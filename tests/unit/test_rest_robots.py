"""Robots over REST: how they are, where they belong, what they are told; their episodes."""

import io

import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image

from robot_client.errors import SchemaError
from robot_client.messages import Command, PolicyReport
from robot_client.schema import Chunk, space_to_json
from server.errors import Conflict
from server.film import encode_film
from server.storage.storage import AWAY
from tests.unit.house import in_house
from tests.unit.replay_rows import Recorder
from tests.unit.test_api import beat, chunk


async def running(house, **changes):
    made = await house.create(**changes)
    await house.ask("POST", f"/experiments/{made}/start")
    return made


def test_a_robot_shows_how_it_is_and_after_it_has_gone_when_it_was_seen(tmp_path):
    async def first(house):
        made = await running(house)
        house.join()
        await house.until(made, lambda v: v["policy_version"] == 2)
        house.experiments.policy_reported("ball-1", PolicyReport(made, 2, ""))
        house.experiments.heartbeat("ball-1", made, beat("fresh"))
        return await house.ask("GET", "/robots/ball-1")

    found = in_house(tmp_path, first)
    assert (found["loop_hz"], found["control_hz"], found["missed_ticks"]) == (19.9, 20.0, 0)
    assert (found["latency"], found["surprise"], found["safety"]) == (0.004, 0.5, "fresh")
    assert (found["policy_version"], found["policy_offered"]) == (2, 2)
    assert 0 <= found["policy_age_s"] < 60
    assert (found["backlog_rows"], found["silent_s"], found["episode"]) == (7, 0.1, 4)

    async def second(house):
        await house.ask("GET", "/robots/nobody", None, 404)
        return await house.ask("GET", "/robots/ball-1")

    gone = in_house(tmp_path, second)
    assert (gone["connected"], gone["safety"]) == (False, None)
    assert gone["seen_at"] == pytest.approx(found["seen_at"], abs=60)


def test_a_robot_whose_name_was_mistyped_is_forgotten_until_it_says_hello(tmp_path):
    async def mistyped(house):
        made = await running(house)
        house.join("bal-1")
        house.join("ball-1")
        refused = await house.ask("DELETE", "/robots/bal-1", None, 409)
        assert "connected" in refused["detail"]
        del house.fleet.connected["bal-1"]
        await house.ask("DELETE", "/robots/bal-1", None, 204)
        await house.ask("DELETE", "/robots/bal-1", None, 404)
        assert [each["name"] for each in await house.items("/robots")] == ["ball-1"]
        events = await house.items("/events")
        assert ("robot_removed", "bal-1") in [(each["kind"], each["robot"]) for each in events]
        return made

    in_house(tmp_path, mistyped)

    async def after_a_restart(house):
        names = [each["name"] for each in await house.items("/robots")]
        house.join("bal-1")
        return names, [each["name"] for each in await house.items("/robots")]

    assert in_house(tmp_path, after_a_restart) == (["ball-1"], ["bal-1", "ball-1"])


def test_a_robot_that_the_database_cannot_forget_stays_in_the_list(tmp_path, monkeypatch):
    def away(name):
        raise AWAY[0]("select", {}, Exception("away"))

    async def asked(house):
        await running(house)
        house.join("bal-1")
        house.join("ball-1")
        del house.fleet.connected["bal-1"]
        monkeypatch.setattr(house.experiments.roster._storage, "remove_robot", away)
        await house.ask("DELETE", "/robots/bal-1", None, 503)
        return [each["name"] for each in await house.items("/robots")]

    assert in_house(tmp_path, asked) == ["bal-1", "ball-1"]


def test_a_robot_that_is_refused_all_the_time_and_one_that_alone_told_the_task_stay(tmp_path):
    async def asked(house):
        await running(house)
        house.join("ball-1")
        other = space_to_json(spaces.Dict({"y": spaces.Box(-1, 1, (3,), np.float32)}))
        with pytest.raises(SchemaError):
            house.join("arm", observation=other)
        waits = await house.ask("DELETE", "/robots/arm", None, 409)
        del house.fleet.connected["ball-1"]
        alone = await house.ask("DELETE", "/robots/ball-1", None, 409)
        return waits["detail"], alone["detail"]

    waits, alone = in_house(tmp_path, asked)
    assert "waiting" in waits
    assert "task" in alone


def test_a_robot_is_told_what_to_do_and_the_answer_is_shown(tmp_path):
    async def act(house):
        await running(house)
        house.join()
        for number, verb in enumerate(
            ("pause", "resume", "stop", "release", "reset", "end_episode"), 1
        ):
            done = await house.ask("POST", f"/robots/ball-1/{verb}", None, 202)
            assert done == {"robot": "ball-1", "verb": verb, "id": number}
            assert house.fleet.commands[-1] == ("ball-1", verb)
        order = await house.ask("GET", "/commands/3")
        assert (order["verb"], order["done"], order["error"]) == ("stop", False, "")
        await house.ask("GET", "/commands/99", None, 404)
        await house.ask("POST", "/robots/ball-1/dance", None, 422)
        await house.ask("POST", "/robots/nobody/pause", None, 404)
        house.fleet.connected.clear()
        problem = await house.ask("POST", "/robots/ball-1/pause", None, 409)
        assert problem["detail"] == "robot ball-1 is not connected"
        await house.ask("POST", "/robots/ball-1/success", None, 409)

    in_house(tmp_path, act)


@pytest.mark.parametrize(
    ("verb", "told", "outcome", "discarded"),
    [
        ("success", "success", "success", False),
        ("failure", "failure", "failure", False),
        ("discard", "end_episode", None, True),
    ],
)
def test_a_mark_meets_the_episode_that_was_running(tmp_path, verb, told, outcome, discarded):
    async def act(house):
        made = await running(house)
        house.join()
        done = await house.ask("POST", f"/robots/ball-1/{verb}", None, 202)
        assert house.fleet.order(done["id"]).command == Command(done["id"], told, 4)
        house.experiments.stored("ball-1", made, chunk(4, 0, [1.0, 2.0]))
        house.experiments.stored("ball-1", made, chunk(5, 2, [1.0, 2.0]))
        marked, other = await house.items(f"/experiments/{made}/episodes")
        assert (marked["outcome"], marked["discarded"]) == (outcome, discarded)
        assert (other["outcome"], other["discarded"]) == (None, False)
        with house.fleet.store(made).read() as snapshot:
            assert snapshot.discarded() == ({("ball-1", "a", 4)} if discarded else set())
        kinds = [e["kind"] for e in await house.items(f"/events?robot=ball-1&experiment={made}")]
        assert kinds == ["episode_marked"]

    in_house(tmp_path, act)


def test_an_assigned_robot_moves_when_it_stands_still_and_stays_over_restarts(tmp_path):
    async def first(house):
        here, there = await running(house), await running(house, robots=["ball-9"])
        assert house.join() == here
        path = "/robots/ball-1/experiment"
        view = await house.ask("PUT", path, {"experiment": there})
        assert (view["experiment"], view["assigned"]) == (here, there)
        assert (await house.ask("GET", f"/experiments/{there}"))["robots"] == ["ball-9", "ball-1"]
        assert house.fleet.commands == [("ball-1", "pause")]
        house.experiments.heartbeat("ball-1", here, beat("fresh"))
        house.experiments.heartbeat("ball-1", here, beat("stop", backlog=1))
        assert "ball-1" in house.fleet.connected
        house.experiments.heartbeat("ball-1", here, beat("stop"))
        assert house.join() == there
        house.experiments.joined("ball-1", there)
        assert house.fleet.commands[-1] == ("ball-1", "resume")
        await house.ask("PUT", path, {"experiment": "nope"}, 404)
        await house.ask("PUT", path, {}, 422)
        await house.ask("PUT", "/robots/nobody/experiment", {"experiment": there}, 404)
        await house.ask("POST", f"/experiments/{there}/stop")
        with pytest.raises(Conflict, match="which is not running"):
            house.join()
        return here, there

    here, there = in_house(tmp_path, first)

    async def second(house):
        assert (await house.ask("GET", "/robots/ball-1"))["assigned"] == there
        with pytest.raises(Conflict, match="which is not running"):
            house.join()
        await house.ask("PUT", "/robots/ball-1/experiment", {"experiment": None})
        assert house.join() == here

    in_house(tmp_path, second)


def test_episodes_are_filtered_ordered_and_marked(tmp_path):
    async def act(house):
        made = await running(house)
        for robot in ("ball-1", "ball-2"):
            house.join(robot)
            for number, rewards in enumerate(([1.0, 2.0], [5.0, 5.0])):
                part = chunk(number, 2 * number, rewards)
                part = Chunk("a", number, 2 * number, part.columns, f"task-{number}")
                house.experiments.stored(robot, made, part)
        path = f"/experiments/{made}/episodes"
        for query, count in {
            "": 4,
            "?robot=ball-1": 2,
            "?task=task-1": 2,
            "?source=policy": 4,
            "?source=human": 0,
            "?min_return=4": 2,
            "?max_return=4&robot=ball-2": 1,
            "?since=9e9": 0,
            "?until=1": 0,
            "?outcome=success": 0,
            "?discarded=false": 4,
            "?limit=3": 4,
        }.items():
            assert (await house.ask("GET", path + query))["total"] == count, query
        newest = await house.items(f"{path}?order=newest")
        assert newest == (await house.items(path))[::-1]
        one = f"{path}/{newest[0]['id']}"
        marked = await house.ask("PATCH", one, {"outcome": "failure"})
        assert marked == newest[0] | {"outcome": "failure"}
        marked = await house.ask("PATCH", one, {"discarded": True})
        assert marked == await house.ask("GET", one)
        assert (marked["outcome"], marked["discarded"]) == ("failure", True)
        assert (await house.ask("GET", f"{path}?discarded=true&outcome=failure"))["total"] == 1
        metric = f"/metrics?experiment={made}&name=episode_return"
        assert (await house.ask("GET", metric))["series"]["episode_return"]["value"] == [3, 10, 3]
        marked = await house.ask("PATCH", one, {"outcome": None, "discarded": False})
        assert marked == newest[0]
        for wrong in ("x", "W10", "WyJhIiwgImIiLCAiYyJd", newest[0]["id"][:-2]):
            await house.ask("GET", f"{path}/{wrong}", None, 404)
        await house.ask("PATCH", one, {"outcome": "great"}, 422)
        await house.ask("GET", f"{path}?min_return=nan", None, 422)

    in_house(tmp_path, act)


def test_an_episode_shows_its_signals_and_its_video(tmp_path):
    async def act(house):
        made = await running(house)
        house.join()
        recorder = Recorder(image=4)
        for _, part in [*recorder.chunks(7), *recorder.chunks(12)]:
            part.columns["step"][1] = float("nan")
            house.fleet.store(made).append("ball-1", part)
            house.experiments.stored("ball-1", made, part)
        episode = (await house.items(f"/experiments/{made}/episodes"))[1]
        path = f"/experiments/{made}/episodes/{episode['id']}"
        whole = await house.ask("GET", f"{path}/signals")
        assert whole["row"] == list(range(12))
        assert whole["cameras"] == ["camera"]
        assert "camera" not in whole["columns"]
        assert whole["columns"]["reward"] == [1000.0 + n for n in range(12)]
        assert whole["columns"]["step"][:3] == [[1000.0], [None], [1002.0]]
        few = await house.ask("GET", f"{path}/signals?name=reward&points=3")
        assert (few["rows"], few["row"]) == (12, [0, 6, 11])
        assert few["columns"] == {"reward": [1000.0, 1006.0, 1011.0]}
        await house.ask("GET", f"{path}/signals?name=camera", None, 404)
        film = await house.http.get(f"{path}/video/camera.png?frames=5")
        frame = await house.http.get(f"{path}/frames/camera/6.png")
        for wrong in ("video/reward.png", "frames/camera/12.png", "frames/x/0.png"):
            await house.ask("GET", f"{path}/{wrong}", None, 404)
        return film, frame

    film, frame = in_house(tmp_path, act)
    assert film.headers["content-type"] == "image/apng"
    pictures = Image.open(io.BytesIO(film.content))
    assert pictures.n_frames == 5
    pictures.seek(4)
    assert np.asarray(pictures.convert("RGB"))[0, 0].tolist() == [1011 % 251] * 3
    seen = np.asarray(Image.open(io.BytesIO(frame.content)))
    assert (seen == 1006 % 251).all()


def test_a_film_of_rows_that_are_minutes_apart_shows_each_as_long_as_the_format_can():
    frames = [np.full((2, 3, 3), shade, np.uint8) for shade in (0, 255)]
    with Image.open(io.BytesIO(encode_film(frames, 200.0))) as film:
        assert (film.n_frames, film.info["duration"]) == (2, 65_535)
