"""The API does what its OpenAPI document says: whatever is asked, nothing else is answered."""

from contextlib import suppress
from random import Random

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

from server.app import build_app
from tests.unit.furnished import furnished
from tests.unit.house import in_house

ENDLESS = "/api/v1/live"
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
