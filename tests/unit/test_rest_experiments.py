"""Experiments over REST: names, copies, pages, deletion that a crash cannot halve; checkpoints."""

import asyncio

import pytest

from server.removal import Removal
from server.states import TRANSITIONS, as_markdown
from server.storage import Event
from tests.unit.house import in_house
from tests.unit.replay_rows import Recorder
from tests.unit.test_api import beat


def test_the_document_shows_the_table_that_the_code_obeys(tmp_path):
    async def act(house):
        return (await house.http.get("http://test/openapi.json")).json()

    document = in_house(tmp_path, act)
    verb = document["paths"]["/api/v1/experiments/{experiment}/{verb}"]["post"]
    assert as_markdown() in verb["description"]
    for name, (sources, target, meaning) in TRANSITIONS.items():
        line = f"| {name} | {', '.join(sorted(sources))} | {target} | {meaning} |"
        assert line in verb["description"]


def test_name_and_notes_change_and_the_rest_stays(tmp_path):
    async def first(house):
        made = await house.create(notes="on the carpet")
        path = f"/experiments/{made}"
        view = await house.ask("PATCH", path, {"name": "balls"})
        assert (view["name"], view["notes"]) == ("balls", "on the carpet")
        await house.ask("PATCH", path, {"notes": ""})
        await house.ask("PATCH", path, {"name": ""}, 422)
        await house.ask("PATCH", path, {"agent": "other"}, 422)
        await house.ask("PATCH", "/experiments/nope", {}, 404)
        return path

    path = in_house(tmp_path, first)

    async def second(house):
        return await house.ask("GET", path)

    view = in_house(tmp_path, second)
    assert (view["name"], view["notes"]) == ("balls", "")


def test_a_copy_has_the_settings_and_no_data(tmp_path):
    async def act(house):
        made = await house.create(seed=3, config={"rate": 1}, robots=["ball-1"], name="n" * 80)
        await house.ask("POST", f"/experiments/{made}/start")
        copy = await house.ask("POST", f"/experiments/{made}/duplicate", None, 201)
        await house.ask("POST", "/experiments/nope/duplicate", None, 404)
        return await house.ask("GET", f"/experiments/{made}"), copy

    old, copy = in_house(tmp_path, act)
    assert copy["id"] != old["id"]
    assert (copy["state"], copy["rows"]) == ("created", 0)
    assert copy["name"] == "n" * 73 + " (copy)"
    for same in ("agent", "config", "settings", "robots"):
        assert copy[same] == old[same]


def test_pages_have_a_stable_order_and_a_total(tmp_path):
    async def act(house):
        made = [await house.create(name=str(n)) for n in range(5)]
        page = await house.ask("GET", "/experiments?offset=1&limit=2")
        assert [e["id"] for e in page["items"]] == made[1:3]
        assert (page["total"], page["offset"], page["limit"]) == (5, 1, 2)
        assert await house.items("/experiments?offset=9") == []
        for wrong in ("limit=0", "limit=1001", "offset=-1", "limit=x"):
            await house.ask("GET", f"/experiments?{wrong}", None, 422)

    in_house(tmp_path, act)


async def lived(house):
    """A stopped experiment with rows, a policy, metrics, an event and a robot."""
    made = await house.create()
    await house.ask("POST", f"/experiments/{made}/start")
    house.join()
    await house.until(made, lambda v: v["policy_version"] == 2)
    for name, chunk in Recorder().chunks(12):
        house.fleet.store(made).append(name, chunk)
        house.experiments.stored("ball-1", made, chunk)
    await house.ask("POST", "/robots/ball-1/discard", None, 202)
    await house.ask("POST", f"/experiments/{made}/policies/2/pin")
    await house.ask("POST", f"/experiments/{made}/stop")
    return made


def test_deletion_asks_twice_and_takes_everything(tmp_path):
    async def act(house):
        made, other = await lived(house), await house.create()
        path = f"/experiments/{made}"
        problem = await house.ask("DELETE", path, None, 422)
        assert problem["field"] == "confirm"
        await house.ask("DELETE", f"{path}?confirm={other}", None, 422)
        busy = await house.ask("DELETE", f"{path}?confirm={made}", None, 409)
        assert "ball-1 still moves, or has 7 rows to deliver" in busy["detail"]
        house.fleet.connected["ball-1"].__dict__["heartbeat"] = beat("stop")
        await house.ask("DELETE", f"{path}?confirm={made}", None, 204)
        assert house.fleet.connected == {}
        assert not (tmp_path / "experiments" / made).exists()
        assert list((tmp_path / "trash").iterdir()) == []
        await house.ask("DELETE", f"{path}?confirm={made}", None, 404)
        await house.ask("POST", f"{path}/start", None, 404)
        (robot,) = await house.items("/robots")
        assert robot["experiment"] is None
        assert [e["id"] for e in await house.items("/experiments")] == [other]
        assert [e for e in await house.items("/events") if e["experiment"] == made] == []
        storage = house.service.storage
        assert await asyncio.to_thread(storage.count_policies, made) == 0
        assert await asyncio.to_thread(storage.metrics, made, "loss") == []

    in_house(tmp_path, act)


@pytest.mark.parametrize("verbs", [["start"], ["start", "pause"]])
def test_what_is_live_is_not_deleted(tmp_path, verbs):
    async def act(house):
        made = await house.create()
        for verb in verbs:
            await house.ask("POST", f"/experiments/{made}/{verb}")
        problem = await house.ask("DELETE", f"/experiments/{made}?confirm={made}", None, 409)
        assert "stop it first" in problem["detail"]

    in_house(tmp_path, act)


@pytest.mark.parametrize(
    "moment", ["server.removal.sync_directory", "server.removal.shutil.rmtree"]
)
def test_a_deletion_that_was_cut_short_is_finished_by_the_next_start(tmp_path, monkeypatch, moment):
    async def first(house):
        made = await lived(house)
        house.fleet.connected.clear()
        with monkeypatch.context() as broken:

            def crash(*_):
                raise SystemError("the power has gone")

            broken.setattr(moment, crash)
            await house.ask("DELETE", f"/experiments/{made}?confirm={made}", None, 500)
        return made

    made = in_house(tmp_path, first)
    assert (tmp_path / "trash" / made).exists()

    async def second(house):
        return await house.items("/experiments"), await house.items("/events")

    assert in_house(tmp_path, second) == ([], [])
    assert list((tmp_path / "trash").iterdir()) == []


def test_removing_twice_is_fine(tmp_path):
    async def act(house):
        made = await house.create()
        house.writer.put(Event(experiment=made, robot=None, kind="log", text="", time=1.0))
        await house.writer.flush()
        removal = Removal(house.service.settings, house.service.storage)
        for _ in range(2):
            await asyncio.to_thread(removal.remove, made)
        removal.recover()

    in_house(tmp_path, act)


def checkpoint(tmp_path, experiment, number):
    folder = tmp_path / "experiments" / experiment / "checkpoints" / f"{number:012d}"
    folder.mkdir(parents=True)
    (folder / "tensors.safetensors").write_bytes(b"x" * 10)
    (folder / "done").write_bytes(b"")
    return folder


def test_a_checkpoint_is_restored_for_the_next_start_and_the_newer_ones_wait(tmp_path):
    async def act(house):
        made = await house.create()
        path = f"/experiments/{made}/checkpoints"
        assert await house.items(path) == []
        for number in (5, 7, 9):
            checkpoint(tmp_path, made, number)
        checkpoint(tmp_path, made, 11).joinpath("done").unlink()  # not whole
        assert [(c["number"], c["nbytes"]) for c in await house.items(path)] == [
            (9, 10),
            (7, 10),
            (5, 10),
        ]
        for _ in range(2):
            found = await house.ask("POST", f"{path}/5/restore")
            assert [(c["number"], c["aside"]) for c in found] == [(9, True), (7, True), (5, False)]
        found = await house.ask("POST", f"{path}/7/restore")
        assert [(c["number"], c["aside"]) for c in found] == [(9, True), (7, False), (5, False)]
        await house.ask("POST", f"{path}/8/restore", None, 404)
        await house.ask("POST", f"{path}/x/restore", None, 422)
        await house.ask("GET", "/experiments/nope/checkpoints", None, 404)
        await house.ask("POST", f"/experiments/{made}/start")
        problem = await house.ask("POST", f"{path}/5/restore", None, 409)
        assert problem["detail"] == "cannot restore in a running experiment; stop it first"

    in_house(tmp_path, act)


def test_a_learner_goes_on_from_the_restored_checkpoint(tmp_path):
    torch = pytest.importorskip("torch")
    from server.checkpoint import Checkpoints
    from server.checkpoint_files import restore

    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=3)
    for number in (1, 2, 3):
        checkpoints.save(number, {"w": torch.full((2,), float(number))}, {})
    restore(tmp_path, 2)
    assert checkpoints.load_newest().number == 2
    checkpoints.save(3, {"w": torch.zeros(2)}, {})
    assert checkpoints.load_newest().tensors["w"].tolist() == [0, 0]
    restore(tmp_path, 2)
    assert checkpoints.numbers() == [1, 2]
