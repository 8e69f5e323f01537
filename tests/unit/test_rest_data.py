"""Metrics, events, the live stream, the replay, and how the server is, over REST."""

import asyncio
import csv
import io
import json
from contextlib import suppress
from dataclasses import replace

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError

from robot_client.messages import Event
from server.app import serve_web
from server.feed import Feed
from server.live import watch
from server.settings import Settings
from server.storage import Event as EventRow
from tests.unit.house import in_house
from tests.unit.replay_rows import Recorder


def say(house, experiment, time, **values):
    said = {"event": "metrics", "updates": int(time), "rows": 1, "time": time, "values": values}
    house.experiments.learner_said(experiment, said)


def test_a_series_is_thinned_to_mean_lowest_and_highest(tmp_path):
    async def act(house):
        made = await house.create()
        for n in range(1000):
            say(house, made, n + 1.0, loss=float(n % 10), other=1.0)
        path = f"/metrics?experiment={made}&name=loss"
        few = (await house.ask("GET", f"{path}&points=10"))["series"]["loss"]
        part = (await house.ask("GET", f"{path}&since=100&until=103"))["series"]["loss"]
        one = (await house.ask("GET", f"{path}&points=1"))["series"]["loss"]
        none = (await house.ask("GET", f"{path}&since=5000"))["series"]["loss"]
        names = await house.ask("GET", f"/metrics/names?experiment={made}")
        for wrong in ("points=0", "since=nan", "until=inf"):
            await house.ask("GET", f"{path}&{wrong}", None, 422)
        await house.ask("GET", "/metrics", None, 422)
        for there in ("/metrics", "/metrics/names", "/metrics/export.csv"):
            await house.ask("GET", f"{there}?experiment=nope", None, 404)
        return few, part, one, none, names

    few, part, one, none, names = in_house(tmp_path, act)
    assert 5 <= len(few["value"]) <= 10
    assert (set(few["low"]), set(few["high"])) == ({0.0}, {9.0})
    assert few["time"][-1] == 1000
    assert all(4 < mean < 5 for mean in few["value"])
    assert part["value"] == part["low"] == part["high"] == [0.0, 1.0, 2.0]
    assert (one["value"], one["low"], one["high"], one["time"]) == ([4.5], [0], [9], [1000])
    assert none["value"] == []
    returns, people = ["episode_return", "evaluation_return"], ["human_share", "interventions"]
    assert names == [*returns, *people, "loss", "other"]


def test_metrics_are_exported_whole(tmp_path):
    async def act(house):
        made = await house.create()
        for n in range(2500):
            say(house, made, float(n), loss=n / 2, other=1.0)
        path = f"/metrics/export.csv?experiment={made}"
        return await house.http.get(path), await house.http.get(f"{path}&name=loss")

    everything, loss = in_house(tmp_path, act)
    assert everything.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(everything.text)))
    assert len(rows) == 5000
    rows = list(csv.DictReader(io.StringIO(loss.text)))
    assert [float(r["value"]) for r in rows] == [n / 2 for n in range(2500)]
    assert {r["name"] for r in rows} == {"loss"}


def test_events_of_all_experiments_are_listed_and_filtered(tmp_path):
    async def act(house):
        made, other = await house.create(), await house.create()
        for experiment, robot, kind in (
            (made, "ball-1", "log"),
            (made, "ball-2", "safety"),
            (other, "ball-1", "safety"),
        ):
            house.experiments.event(robot, experiment, Event(kind, "x"))
        page = await house.ask("GET", "/events?limit=2")
        assert (page["total"], len(page["items"])) == (3, 2)
        assert page["items"][0]["experiment"] == other
        for query, count in (("robot=ball-1", 2), ("kind=safety", 2), (f"experiment={made}", 2)):
            assert (await house.ask("GET", f"/events?{query}"))["total"] == count
        await house.ask("GET", "/events?kind=%00", None, 422)

    in_house(tmp_path, act)


def test_what_happens_is_streamed_to_who_watches(tmp_path):
    async def act(house):
        made, other = await house.create(), await house.create()
        service = replace(house.service, settings=Settings(tmp_path, port=0))
        seen = []
        async with serve_web(service) as address, httpx.AsyncClient(timeout=20) as client:
            path = f"{address}/api/v1/live?experiment={made}"
            async with client.stream("GET", path) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                lines = answer.aiter_lines()
                await anext(lines)  # the robots, at first none
                house.experiments.event("ball-1", other, Event("log", "not ours"))
                house.experiments.event("ball-1", made, Event("log", "hello"))
                say(house, made, 3.0, loss=0.5)
                await house.ask("POST", f"/experiments/{made}/start")
                house.join()
                async for line in lines:
                    if line.startswith("data:"):
                        seen.append(json.loads(line[5:]))
                    if "ball-1" in line and '"robots"' in line:
                        break
            async with client.stream("GET", f"{address}/api/v1/live?experiment=nope") as answer:
                assert answer.status_code == 404
        return seen

    seen = in_house(tmp_path, act)
    assert [e["text"] for e in seen if e.get("kind") == "log"] == ["hello"]
    assert {"loss": 0.5} in [e.get("values") for e in seen]
    assert [e["state"] for e in seen if "state" in e] == ["running"]
    assert [r["name"] for r in seen[-1]["robots"]] == ["ball-1"]


def test_who_reads_too_slowly_is_told_how_much_was_lost():
    async def act():
        feed = Feed()
        with feed.subscribe() as slow:
            for n in range(1005):
                feed.publish("event", None, {"n": n})
            first, second = await slow.get(), await slow.get()
        feed.publish("event", None, {})  # nobody listens any more
        return first, second

    lost, oldest = asyncio.run(act())
    assert (lost.kind, lost.data) == ("lost", {"count": 5})
    assert oldest.data == {"n": 5}


async def no_events():
    return []


def test_a_reader_who_comes_back_is_told_what_it_has_missed(tmp_path):
    async def act(house):
        made, other = await house.create(), await house.create()
        for time, about in ((10.0, made), (20.0, made), (30.0, None), (40.0, other)):
            row = EventRow(experiment=about, robot=None, kind="x", text="", time=time)
            house.service.writer.put(row)
        service = replace(house.service, settings=Settings(tmp_path, port=0))

        async def ids(client, path, last):
            headers = {"Last-Event-ID": last} if last else {}
            async with client.stream("GET", path, headers=headers) as answer:
                found, lines = [], answer.aiter_lines()
                while (line := await anext(lines)) != "event: robots":
                    found += [float(line[4:])] if line.startswith("id: ") else []
                return found

        async with serve_web(service) as address, httpx.AsyncClient(timeout=20) as client:
            live = f"{address}/api/v1/live"
            told = [await ids(client, live, last) for last in (None, "rubbish", "10.0")]
            return *told, await ids(client, f"{live}?experiment={made}", "10.0")

    new, odd, back, of_one = in_house(tmp_path, act)
    assert len(new) == len(odd) == 1
    assert new[0] > 1e9  # now
    assert (back[1:], of_one[1:]) == ([20.0, 30.0, 40.0], [20.0, 30.0])


def test_robots_are_told_again_only_when_they_have_changed(monkeypatch):
    monkeypatch.setattr("server.live._LOOK_S", 0.01)
    monkeypatch.setattr("server.live._QUIET_S", 0.05)
    looks = iter([[{"name": "a"}]] * 4 + [[{"name": "b"}]] * 1000)

    async def act():
        stream = watch(Feed(), None, lambda: next(looks), no_events, 0.0)
        found = [await anext(stream) for _ in range(4)][1:]
        with suppress(StopAsyncIteration):
            await stream.aclose()
        return found

    first, second, third = asyncio.run(act())
    assert '"a"' in first
    assert '"b"' in second
    assert third.startswith(":")


def test_the_replay_is_counted_and_verified(tmp_path):
    async def act(house):
        made = await house.create()
        empty = await house.ask("GET", f"/experiments/{made}/replay")
        for name, part in Recorder().chunks(12):
            house.fleet.store(made).append(name, part)
        house.fleet.store(made).discard("robot-0", "boot-0", 0)
        found = await house.ask("GET", f"/experiments/{made}/replay")
        audit = await house.ask("POST", f"/experiments/{made}/replay/verify")
        for method, path in (("GET", "replay"), ("POST", "replay/verify")):
            await house.ask(method, f"/experiments/nope/{path}", None, 404)
        return empty, found, audit

    empty, found, audit = in_house(tmp_path, act)
    assert (empty["rows"], empty["streams"]) == (0, [])
    assert (found["rows"], found["chunks"], found["discarded_episodes"]) == (12, 3, 1)
    assert found["streams"] == [
        {"robot": "robot-0", "epoch": "boot-0", "next_seq": 12, "episode": 0, "ended": True}
    ]
    assert found["nbytes"] > 0
    assert audit == {"rows": 12, "chunks": 3, "streams": 1, "problems": []}


def test_the_server_is_ready_while_it_can_store(tmp_path, monkeypatch):
    async def act(house):
        assert await house.ask("GET", "/ready") == {"status": "ready"}
        house.fleet.problem = "the disk is full"
        problem = await house.ask("GET", "/ready", None, 503)
        assert problem["detail"] == "rows cannot be stored: the disk is full"
        house.fleet.problem = ""

        def gone():
            raise OperationalError("SELECT 1", {}, Exception("gone"))

        monkeypatch.setattr(house.service.storage, "ping", gone)
        assert "database" in (await house.ask("GET", "/ready", None, 503))["detail"]

    in_house(tmp_path, act)


def test_prometheus_can_read_how_everything_is(tmp_path):
    async def act(house):
        made = await house.create()
        await house.ask("POST", f"/experiments/{made}/start")
        house.join()
        await house.until(made, lambda v: v["learner"]["updates"] == 6)
        return made, await house.http.get("http://test/metrics")

    made, answer = in_house(tmp_path, act)
    assert answer.headers["content-type"].startswith("text/plain")
    found = {
        (sample.name, *(v for _, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert found["dreamfleet_experiments", "running"] == 1
    assert found["dreamfleet_experiments", "failed"] == 0
    assert found["dreamfleet_updates", made] == 6
    assert found["dreamfleet_robot_loop_hz", made, "ball-1"] == 19.9
    assert found["dreamfleet_robot_safety", made, "ball-1", "fresh"] == 1
    assert found["dreamfleet_storing",] == 1


def test_one_agent_says_what_it_accepts(tmp_path):
    async def act(house):
        await house.ask("GET", "/agents/nope", None, 404)
        return await house.ask("GET", "/agents/fake")

    assert in_house(tmp_path, act)["accepts"] == ["discrete"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_another_method_is_refused_with_those_that_are_allowed(tmp_path, method):
    async def act(house):
        answer = await house.http.request(method, "/experiments")
        assert answer.status_code == 405
        assert answer.headers["allow"] in ("GET", "POST")
        assert answer.json()["status"] == 405

    in_house(tmp_path, act)


@pytest.mark.parametrize(
    "body", [b"{", b'{"name": "\\ud800", "agent": "fake"}', b"\xff", b'{"name": NaN}']
)
def test_what_is_no_json_is_a_problem(tmp_path, body):
    async def act(house):
        headers = {"Content-Type": "application/json"}
        answer = await house.http.post("/experiments", content=body, headers=headers)
        assert answer.status_code in (400, 422)
        assert answer.headers["content-type"] == "application/problem+json"

    in_house(tmp_path, act)


@pytest.mark.parametrize(
    "config", [b'{"rate": NaN}', b'{"rate": Infinity}', b'{"rate": "\\udfff"}']
)
def test_a_config_that_cannot_be_json_is_refused(tmp_path, config):
    async def act(house):
        body = b'{"name": "x", "agent": "fake", "config": ' + config + b"}"
        headers = {"Content-Type": "application/json"}
        answer = await house.http.post("/experiments", content=body, headers=headers)
        assert answer.status_code == 422
        assert answer.json()["field"].startswith("config")

    in_house(tmp_path, act)
