"""Versions of policies over REST: listed, carried away, pinned, promoted, rolled back, tried."""

import io
import json
import zipfile

import pytest

from robot_client.bundle import sha256
from tests.unit.house import in_house
from tests.unit.test_api import chunk

NO_TRIAL = {"best": None, "trial": None}


def publish(house, tmp_path, experiment, version):
    """What a learner does: files first, then word of them."""
    blobs = tmp_path / "experiments" / experiment / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    data = {"graph": b"the graph", "weights": b"weights %d" % version}
    for part in data.values():
        (blobs / sha256(part)).write_bytes(part)
    manifest = {
        "version": version,
        "kind": "actor",
        "updates": 10 * version,
        "graphs": {"policy": sha256(data["graph"])},
        "weights": sha256(data["weights"]),
        "sizes": {sha256(part): len(part) for part in data.values()},
    }
    said = {"event": "policy", "version": version, "manifest": manifest}
    house.experiments.learner_said(experiment, said)
    return manifest


def prune(tmp_path, experiment, version):
    """What a learner does to an old version."""
    path = tmp_path / "experiments" / experiment / "blobs" / sha256(b"weights %d" % version)
    path.unlink()


def offers(house):
    return [manifest.get("version") for _, manifest in house.fleet.published]


def test_versions_are_listed_with_their_returns(tmp_path):
    async def act(house):
        made = await house.create()
        for version in range(3):
            publish(house, tmp_path, made, version)
        for number, rewards in enumerate(([1.0, 2.0], [5.0, 0.0], [9.0, 9.0])):
            part = chunk(number, 2 * number, rewards)
            part.columns["policy_version"][:] = 1
            house.experiments.stored("ball-1", made, part)
        episodes = await house.items(f"/experiments/{made}/episodes")
        path = f"/experiments/{made}/episodes/{episodes[2]['id']}"
        await house.ask("PATCH", path, {"discarded": True})
        page = await house.ask("GET", f"/experiments/{made}/policies?limit=2")
        one = await house.ask("GET", f"/experiments/{made}/policies/1")
        await house.ask("GET", f"/experiments/{made}/policies/7", None, 404)
        await house.ask("GET", "/experiments/nope/policies", None, 404)
        return page, one

    page, one = in_house(tmp_path, act)
    assert page["total"] == 3
    assert [(p["version"], p["offered"]) for p in page["items"]] == [(2, True), (1, False)]
    assert page["items"][1] == one
    returns = {"episodes": 2, "mean": 4.0, "low": 3.0, "high": 5.0}
    bounds = {name: one["returns"].pop(name) for name in ("lower", "upper")}
    assert one["returns"] == returns
    half = 12.706204736 * 2**0.5 / 2**0.5  # t of one degree, deviation sqrt(2), two episodes
    assert (bounds["lower"], bounds["upper"]) == pytest.approx((4 - half, 4 + half))
    assert (one["updates"], one["kind"], one["available"]) == (10, "actor", True)
    assert page["items"][0]["returns"] is None


def test_a_bundle_is_one_file_with_everything(tmp_path):
    async def act(house):
        made = await house.create()
        manifest = publish(house, tmp_path, made, 0)
        path = f"/experiments/{made}/policies/0/bundle.zip"
        answer = await house.http.get(path)
        assert answer.headers["content-type"] == "application/zip"
        prune(tmp_path, made, 0)
        problem = await house.ask("GET", path, None, 409)
        assert "lost its files" in problem["detail"]
        await house.ask("GET", f"/experiments/{made}/policies/3/bundle.zip", None, 404)
        return manifest, answer.content

    manifest, content = in_house(tmp_path, act)
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        assert json.loads(bundle.read("manifest.json")) == manifest
        assert bundle.read("graphs/policy.onnx") == b"the graph"
        assert bundle.read("weights.safetensors") == b"weights 0"


def test_a_pinned_version_stays_offered_over_restarts_until_it_is_unpinned(tmp_path):
    async def first(house):
        made = await house.create()
        for version in range(3):
            publish(house, tmp_path, made, version)
        path = f"/experiments/{made}"
        found = await house.ask("POST", f"{path}/policies/1/pin")
        assert found == {"newest": 2, "offered": 1, "pinned": 1, "canaries": {}} | NO_TRIAL
        publish(house, tmp_path, made, 3)
        prune(tmp_path, made, 1)  # the learner's own copy
        assert offers(house) == [0, 1, 2, 1]
        return made

    made = in_house(tmp_path, first)

    async def second(house):
        path = f"/experiments/{made}"
        assert offers(house) == [1]
        assert (await house.ask("GET", path))["policy_offered"] == 1
        assert (await house.http.get(f"{path}/policies/1/bundle.zip")).status_code == 200
        for _ in range(2):
            found = await house.ask("DELETE", f"{path}/rollout/pin")
            assert found == {"newest": 3, "offered": 3, "pinned": None, "canaries": {}} | NO_TRIAL
        assert offers(house) == [1, 3]
        publish(house, tmp_path, made, 4)
        assert offers(house) == [1, 3, 4]
        problem = await house.ask("POST", f"{path}/policies/1/pin", None, 409)
        assert "lost its files" in problem["detail"]
        await house.ask("POST", f"{path}/policies/9/pin", None, 404)
        await house.ask("POST", f"{path}/policies/-1/pin", None, 422)

    in_house(tmp_path, second)


def test_rolling_back_goes_from_version_to_version(tmp_path):
    async def act(house):
        made = await house.create()
        back = f"/experiments/{made}/rollout/back"
        await house.ask("POST", back, None, 409)  # there is none yet
        for version in range(4):
            publish(house, tmp_path, made, version)
        prune(tmp_path, made, 2)
        assert (await house.ask("POST", back))["pinned"] == 1  # 2 has lost its files
        assert (await house.ask("POST", back))["pinned"] == 0
        problem = await house.ask("POST", back, None, 409)
        assert problem["detail"] == "no version before 0 has its files any more"
        await house.ask("POST", "/experiments/nope/rollout/back", None, 404)

    in_house(tmp_path, act)


def test_one_robot_tries_a_version_before_all_get_it(tmp_path):
    async def act(house):
        made = await house.create()
        await house.ask("POST", f"/experiments/{made}/start")
        house.join()
        await house.until(made, lambda v: v["policy_version"] == 2)
        for version in (3, 4):
            publish(house, tmp_path, made, version)
        path = f"/experiments/{made}"
        await house.ask("POST", f"{path}/policies/3/pin")
        canary = f"{path}/rollout/canaries/ball-1"
        found = await house.ask("PUT", canary, {"version": 4})
        assert (
            found == {"newest": 4, "offered": 3, "pinned": 3, "canaries": {"ball-1": 4}} | NO_TRIAL
        )
        assert house.fleet.own["ball-1", made]["version"] == 4
        listed = {p["version"]: p["robots"] for p in await house.items(f"{path}/policies")}
        assert listed == {4: ["ball-1"], 3: [], 2: []}
        assert (await house.ask("GET", "/robots/ball-1"))["policy_offered"] == 4
        promoted = await house.ask("POST", f"{path}/policies/4/promote")
        assert promoted == {"newest": 4, "offered": 4, "pinned": 4, "canaries": {}} | NO_TRIAL
        assert house.fleet.own["ball-1", made] is None
        assert offers(house)[-1] == 4
        await house.ask("PUT", canary, {"version": 3})
        for _ in range(2):
            assert (await house.ask("DELETE", canary))["canaries"] == {}
        await house.ask("PUT", f"{path}/rollout/canaries/nobody", {"version": 4}, 404)
        await house.ask("PUT", canary, {"version": 40}, 404)
        await house.ask("PUT", canary, {"version": "4"}, 422)

    in_house(tmp_path, act)


@pytest.mark.parametrize("path", ["rollout", "policies/0", "policies/0/bundle.zip"])
def test_an_experiment_that_is_not_there_has_no_policies(tmp_path, path):
    async def act(house):
        await house.ask("GET", f"/experiments/nope/{path}", None, 404)

    in_house(tmp_path, act)
