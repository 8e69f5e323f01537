"""Datasets through the API: jobs in other processes, and experiments that begin with them."""

import asyncio
import io
import json
import signal
import subprocess
import sys

import pytest

from robot_client.errors import SchemaError
from robot_client.schema import space_to_json
from server.datasets.archive import Parts, pack, unpack
from server.datasets.desk import Desk
from server.datasets.episodes import Recorded
from server.datasets.jobs import Jobs, work
from server.datasets.manifest import check_files, read_manifest
from server.datasets.shelf import REPLAY
from server.errors import Conflict, Invalid, NotFound, ServerError
from server.replay.store import ReplayStore
from server.settings import Settings
from tests.unit.dataset_rows import (
    KINDS,
    columns_of,
    episodes_of,
    exported,
    quiet,
    read_all,
    same,
    stored,
)
from tests.unit.house import in_house

ABOUT = KINDS["vector"]
SPACES = {
    "observation": space_to_json(ABOUT.observation_space),
    "action": space_to_json(ABOUT.action_space),
}
OTHER = space_to_json(KINDS["camera"].observation_space)


def an_export(tmp_path, format_name="minari"):
    replay = stored(tmp_path / "r", ABOUT, episodes_of(ABOUT))
    exported(replay, tmp_path / "out", ABOUT, format_name)
    return tmp_path / "out"


def house_in(tmp_path):
    """A folder for the server's data."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


async def done(house, answer):
    """The job once it has ended."""
    assert answer.status_code == 202, answer.text
    job = answer.json()
    while job["state"] == "running":
        await asyncio.sleep(0.02)
        job = await house.ask("GET", f"/jobs/{job['id']}")
    return job


async def bring(house, folder, name="demos", **query):
    body = b"".join(pack(folder))
    return await done(house, await house.http.put(f"/datasets/{name}", content=body, params=query))


def test_out_and_in_again(tmp_path):
    async def act(house):
        made = await house.create()
        await house.ask("POST", f"/experiments/{made}/start")
        house.join(**SPACES)
        nothing = {"experiment": made, "format": "lerobot"}
        problem = await house.ask("POST", "/exports", nothing, 409)
        assert problem["detail"] == f"experiment {made} has no rows yet"
        stored(house.service.settings.experiment_dir(made) / "replay", ABOUT, episodes_of(ABOUT))
        house.experiments.get(made).rows = 92
        await house.writer.flush()
        job = await done(house, await house.http.post("/exports", json=nothing))
        assert (job["state"], job["done"], job["total"]) == ("done", 10, 10), job
        assert job["result"]["rows"] == 92
        assert await house.ask("GET", "/exports") == [job["id"]]
        answer = await house.http.get(f"/exports/{job['id']}/archive")
        unpack(io.BytesIO(answer.content), tmp_path / "fetched")
        assert (await house.http.delete(f"/exports/{job['id']}")).status_code == 204
        assert await house.ask("GET", "/exports") == []
        return await bring(house, tmp_path / "fetched"), await house.ask("GET", "/datasets")

    job, listed = in_house(house_in(tmp_path), act)
    assert job["state"] == "done", job
    assert listed == [job["result"]]
    manifest = read_manifest(tmp_path / "fetched")
    check_files(tmp_path / "fetched", manifest)
    assert manifest.control_hz == 20.0
    again = read_all(tmp_path / "data/datasets/demos" / REPLAY)
    assert [same(a, b) for a, b in zip(episodes_of(ABOUT), again, strict=True)] == [True] * 5


def test_an_experiment_begins_with_a_dataset_and_learns_before_a_robot_comes(tmp_path):
    out = an_export(tmp_path)

    async def act(house):
        await bring(house, out)
        made = await house.create(demonstrations=["demos"])
        shown = await house.ask("GET", f"/experiments/{made}")
        assert (shown["rows"], shown["observation_space"]) == (92, SPACES["observation"])
        await house.ask("POST", f"/experiments/{made}/start")
        await house.until(made, lambda view: view["learner"]["state"] == "running")
        assert house.join(**SPACES) == made
        with pytest.raises(
            SchemaError, match=r"observation_space.camera: expected none, as experiment"
        ):
            house.join("other", observation=OTHER, action=SPACES["action"])
        store = ReplayStore(house.service.settings.experiment_dir(made) / "replay", readonly=True)
        assert (store.rows, store.verify().problems) == (92, ())
        store.close()
        verified = await done(house, await house.http.post("/datasets/demos/verify"))
        assert verified["result"] == {"name": "demos", "rows": 92, "problems": []}
        assert (await house.http.delete("/datasets/demos")).status_code == 204
        await house.ask("GET", "/datasets/demos", status=404)

    in_house(house_in(tmp_path), act)


def test_a_duplicate_begins_with_the_same_demonstrations(tmp_path):
    out = an_export(tmp_path)

    async def act(house):
        await bring(house, out)
        (dataset,) = await house.ask("GET", "/datasets")
        made = await house.create(demonstrations=["demos"])
        old = await house.ask("GET", f"/experiments/{made}")
        assert old["demonstrations"] == {"demos": dataset["sha256"]}
        copy = await house.ask("POST", f"/experiments/{made}/duplicate", None, 201)
        for field in ("demonstrations", "rows", "observation_space", "action_space"):
            assert copy[field] == old[field]
        path = house.service.settings.data / "datasets/demos/dataset.json"
        path.write_text(path.read_text().replace(dataset["sha256"], "0" * 64))
        problem = await house.ask("POST", f"/experiments/{made}/duplicate", None, 409)
        assert "another dataset 'demos'" in problem["detail"]
        assert (await house.http.delete("/datasets/demos")).status_code == 204
        problem = await house.ask("POST", f"/experiments/{made}/duplicate", None, 409)
        assert "has been deleted" in problem["detail"]
        assert len(await house.items("/experiments")) == 2

    in_house(house_in(tmp_path), act)


def test_what_does_not_fit_is_refused_and_no_experiment_is_made(tmp_path):
    out = an_export(tmp_path)

    async def act(house):
        await bring(house, out)
        other = await house.create()
        await house.ask("POST", f"/experiments/{other}/start")
        house.join("ball-1", observation=OTHER, action=SPACES["action"])
        await house.writer.flush()
        body = {"name": "x", "agent": "fake", "demonstrations": ["demos"]}
        problem = await house.ask("POST", "/experiments", body | {"robots": ["ball-1"]}, 422)
        assert problem["field"] == "demonstrations.demos.observation_space.camera"
        assert problem["expected"].endswith("as robot ball-1")
        assert problem["got"] == "nothing"
        await house.ask("POST", "/experiments", body | {"demonstrations": ["none"]}, 404)
        twice = body | {"demonstrations": ["demos", "demos"]}
        assert (await house.ask("POST", "/experiments", twice, 422))["field"] == "demonstrations"
        assert [e["id"] for e in await house.items("/experiments")] == [other]

    in_house(house_in(tmp_path), act)


def test_an_import_that_is_broken_says_why_and_leaves_nothing(tmp_path):
    out = an_export(tmp_path)

    async def act(house):
        half = b"".join(pack(out))[:-5000]
        job = await done(house, await house.http.put("/datasets/demos", content=half))
        assert (job["state"], job["result"]) == ("failed", None)
        assert job["error"].startswith("archive: expected a whole tar")
        no_robot = await house.http.put("/datasets/demos", content=half, params={"robot": "x"})
        assert no_robot.status_code == 404
        assert (await house.http.put("/datasets/.x", content=half)).status_code == 422
        assert list((tmp_path / "data/datasets").iterdir()) == []
        assert (await bring(house, out))["state"] == "done"
        assert (await house.http.put("/datasets/demos", content=half)).status_code == 409

    in_house(house_in(tmp_path), act)


def test_what_is_not_there(tmp_path):
    async def act(house):
        for method, path in (
            ("GET", "/datasets/x"),
            ("POST", "/datasets/x/verify"),
            ("DELETE", "/datasets/x"),
            ("GET", "/exports/x/archive"),
            ("GET", "/exports/..%2F..%2Fdatasets/archive"),
            ("DELETE", "/exports/x"),
            ("GET", "/jobs/x"),
        ):
            assert (await house.http.request(method, path)).status_code == 404, path
        missing = {"experiment": "x", "format": "minari"}
        await house.ask("POST", "/exports", missing, 404)
        wrong = await house.ask("POST", "/exports", missing | {"format": "rlds"}, 422)
        assert wrong["field"] == "format"
        assert await house.ask("GET", "/jobs") == []

    in_house(tmp_path, act)


def test_what_a_killed_server_left_is_cleared_away(tmp_path):
    home, exports = tmp_path / "datasets", tmp_path / "exports"
    for folder in (home / ".a.part" / "replay", exports / ".b.part"):
        folder.mkdir(parents=True)
    (home / ".a-1234.tar").touch()
    Desk(Settings(tmp_path), None)
    assert [*home.iterdir(), *exports.iterdir()] == []


def test_work_that_fails_raises_what_it_raised(tmp_path):
    async def act():
        order = {"home": str(tmp_path), "name": "none"}
        with pytest.raises(NotFound, match="no dataset 'none'"):
            await work({"do": "verify", **order}, quiet)
        with pytest.raises(Invalid, match="name: expected"):
            await work({"do": "verify", **order, "name": "/"}, quiet)
        with pytest.raises(ServerError, match="AssertionError"):
            await work({"do": "dance"}, quiet)

    asyncio.run(act())


def long_export(tmp_path):
    """A process that exports many episodes, and has begun."""
    columns = [columns_of(ABOUT, 3, seed=number) for number in range(300)]
    many = [Recorded("a", "b", number, "", rows) for number, rows in enumerate(columns)]
    order = {
        "do": "export",
        "experiment": "e",
        "title": "t",
        "replay": str(stored(tmp_path / "r", ABOUT, many)),
        "out": str(tmp_path / "out"),
        "format": "lerobot",
        "observation_space": SPACES["observation"],
        "action_space": SPACES["action"],
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "server.datasets.work"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    assert "progress" in json.loads(process.stdout.readline())
    return process


@pytest.mark.parametrize("how", ["killed", "orphaned"])
def test_an_export_that_is_killed_has_no_name_and_is_not_in_the_way(tmp_path, how):
    with long_export(tmp_path) as process:
        process.kill() if how == "killed" else process.stdin.close()
        assert process.wait(60) == (-signal.SIGKILL if how == "killed" else 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.part", "r"]
    exported(tmp_path / "r", tmp_path / "out", ABOUT, "lerobot", episodes="0-9")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "r"]


def test_the_same_work_is_not_done_twice_at_a_time(tmp_path):
    async def act():
        jobs, order = Jobs(), {"home": str(tmp_path), "name": "x"}
        job = jobs.start("verify", "x", order)
        with pytest.raises(Conflict, match=f"job {job.id} is doing that already"):
            jobs.start("verify", "x", order)
        while job.state == "running":
            await asyncio.sleep(0.02)
        assert (job.state, job.error) == ("failed", "no dataset 'x'")
        assert jobs.get(job.id) is job

    asyncio.run(act())


SLOW_TO_END = """#!{python}
import sys, time
sys.stdin.readline()
print('{{"result": {{}}}}', flush=True)
sys.stdin.read()
time.sleep(0.5)
"""


def test_a_server_that_stops_leaves_no_process_behind_it(tmp_path, monkeypatch):
    """Not even one that had said its result, and was about to end."""
    script = tmp_path / "slow"
    script.write_text(SLOW_TO_END.format(python=sys.executable))
    script.chmod(0o755)
    monkeypatch.setattr("server.datasets.jobs.sys.executable", str(script))
    begun = []
    begin = asyncio.create_subprocess_exec

    async def noted(*command, **how):
        begun.append(await begin(*command, **how))
        return begun[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)

    async def act():
        jobs = Jobs()
        jobs.start("verify", "a", {})
        while not begun or not begun[0].stdin.is_closing():
            await asyncio.sleep(0.01)
        assert begun[0].returncode is None
        await jobs.close()
        assert begun[0].returncode == 0

    asyncio.run(act())


def test_an_archive_holds_what_it_was_made_of_and_keeps_to_its_folder(tmp_path):
    one = tmp_path / "one"
    (one / "deep" / ("d" * 120)).mkdir(parents=True)
    (one / "empty").touch()
    (one / "deep" / ("d" * 120) / "big").write_bytes(bytes(range(256)) * 5000)
    stream = Parts(part[:1000] for whole in pack(one) for part in _cut(whole))
    unpack(io.BufferedReader(stream), tmp_path / "two")
    for path in one.rglob("*"):
        if path.is_file():
            assert (tmp_path / "two" / path.relative_to(one)).read_bytes() == path.read_bytes()
    evil = b"".join(pack(one)).replace(b"empty", b"../up")
    with pytest.raises(Invalid, match="archive"):
        unpack(io.BytesIO(_summed(evil)), tmp_path / "three")
    assert not (tmp_path / "up").exists()


def _cut(whole):
    return (whole[i : i + 1000] for i in range(0, len(whole), 1000))


def _summed(tar):
    """With the checksum of its changed header put right."""
    at = tar.index(b"../up")
    header = bytearray(tar[at : at + 512])
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return tar[:at] + bytes(header) + tar[at + 512 :]
