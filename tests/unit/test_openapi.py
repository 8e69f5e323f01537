"""The API does what its OpenAPI document says: whatever is asked, nothing else is answered."""

import asyncio
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from robot_client import keys
from robot_client.schema import Chunk
from server.access import RobotKeys, Tokens
from server.app import build_app, serve_web
from server.settings import Settings
from tests.unit.dataset_rows import KINDS, episodes_of, exported, imported, stored
from tests.unit.house import in_house, open_house
from tests.unit.replay_rows import Recorder

ENDLESS = "/api/v1/live"
EXPORT = "0a1b2c3d"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
UNLIKELY = {  # what is drawn at random is hardly ever right
    "POST /api/v1/experiments",
    "DELETE /api/v1/experiments/{experiment}",
    "POST /api/v1/experiments/{experiment}/rollout/back",
    "POST /api/v1/experiments/{experiment}/checkpoints/{number}/restore",
    "PUT /api/v1/experiments/{experiment}/rollout/canaries/{robot}",
    "POST /api/v1/datasets/{name}/verify",  # it has been deleted
    "POST /api/v1/exports",
    "POST /api/v1/keys/{robot}/enrol",
    "POST /api/v1/keys/{robot}/rotate",
    "POST /api/v1/login",
    "GET /api/v1/jobs/{job}",
}
FEW = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@schemathesis.serializer("application/x-tar")
def tar(_context, value):
    """Whatever was drawn, as the body of an import."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


def furnish_shelf(data):
    """A dataset and an export, a robot's key and a token, all with names that mean something."""
    about = KINDS["vector"]
    replay = stored(data / "other", about, episodes_of(about))
    exported(replay, data / "exports" / EXPORT, about, "minari")
    imported(data / "exports" / EXPORT, data / "datasets", "ann")
    RobotKeys(data).enrol("ball-1", keys.generate().public, "test")
    Tokens(data).create("ann", "viewer", "test")


async def furnish(house):
    """A running experiment with rows, an episode, a policy and a robot; and one that is stopped."""
    running, stopped = await house.create(), await house.create(name="other")
    await house.ask("POST", f"/experiments/{running}/start")
    await house.ask("POST", f"/experiments/{stopped}/stop")
    house.join()
    await house.until(running, lambda view: view["policy_version"] == 2)
    for _, chunk in Recorder(image=4).chunks(12):
        chunk = Chunk("a", chunk.episode, chunk.first_seq, chunk.columns)
        house.fleet.store(running).append("ball-1", chunk)
        house.experiments.stored("ball-1", running, chunk)
    house.fleet.frame = np.zeros((4, 4, 3), np.uint8)
    house.fleet.command("ball-1", "pause")
    reports = house.service.settings.experiment_dir(running) / "reports"
    reports.mkdir()
    (reports / "6.png").write_bytes(b"picture")
    (episode,) = await house.items(f"/experiments/{running}/episodes")
    return {
        "name": ["ann"],
        "export": [EXPORT],
        "experiment": [running, running, stopped],
        "robot": ["ball-1"],
        "version": [2],
        "agent": ["fake"],
        "episode": [episode["id"]],
        "camera": ["camera"],
        "command": [1],
        "row": [3],
    }


@contextmanager
def furnished(tmp_path):
    """The address of a server in a thread of its own, an operator's headers, and names that mean
    something there."""
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
        assert ready.wait(30)
        yield found["address"], headers, found["names"]
    finally:
        done.set()
        thread.join()


@pytest.mark.timeout(150)
def test_nothing_undocumented_is_answered(tmp_path):
    with furnished(tmp_path) as (address, headers, names):
        document = schemathesis.openapi.from_url(f"{address}/openapi.json", headers=headers)
        found = [operation.ok() for operation in document.get_all_operations()]
        for operation in sorted(found, key=lambda o: o.method != "get"):  # before it is stopped
            if operation.path != ENDLESS:
                statuses = check(operation, operation.as_strategy(), (address, headers), names)
                assert min(statuses) < 400 or operation.label in UNLIKELY, operation.label


@pytest.mark.timeout(150)
def test_what_the_document_forbids_is_refused_as_it_says(tmp_path):
    with furnished(tmp_path) as (address, headers, names):
        document = schemathesis.openapi.from_url(f"{address}/openapi.json", headers=headers)
        for operation in (found.ok() for found in document.get_all_operations()):
            takes_values = operation.query or operation.path_parameters or operation.body
            if operation.path != ENDLESS and takes_values:
                wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
                with suppress(Unsatisfiable):  # any string is a name: none is wrong
                    check(operation, wrong, (address, headers), names)


def check(operation, cases, where, names):
    """Ask with whatever is drawn, for things that are there and for others."""
    (address, headers), chance, statuses = where, Random(0), set()

    @FEW
    @given(case=cases)
    def holds(case):
        if chance.random() < 0.7:  # else: names that mean nothing
            for name in set(case.path_parameters or {}) & set(names):
                case.path_parameters[name] = chance.choice(names[name])
            if "experiment" in (case.query or {}):
                case.query["experiment"] = names["experiment"][0]
        answer = case.call(base_url=address, headers=headers)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    holds()
    return statuses


def test_operation_ids_are_stable_names_and_every_route_tells_its_errors(tmp_path):
    async def act(house):
        return build_app(house.service).openapi()

    document = in_house(tmp_path, act)
    seen = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            seen.append(operation["operationId"])
            assert operation["operationId"].isidentifier()
            assert operation["description"], path
            if path.startswith("/api/v1"):
                assert {"400", "401", "403", "422", "429"} < set(operation["responses"]), (
                    method,
                    path,
                )
            if "{experiment}" in path or "/robots/{robot}" in path:
                assert "404" in operation["responses"], (method, path)
    assert len(seen) == len(set(seen))
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert "Problem" in document["components"]["schemas"]
