"""The API does what its OpenAPI document says: whatever is asked, nothing else is answered."""

import re
from contextlib import suppress

import jsonschema_rs
import pytest
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core import NOT_SET

from robot_client import keys
from server.api import examples
from server.app import build_app
from tests.conform import CHECKS, check, operations, order
from tests.unit.furnished import furnished
from tests.unit.house import in_house

TAR = b"whatever it is, a job finds out"
RIGHT = {  # operation -> the body with which it is done; what is drawn hardly ever is right
    "create_experiment": {"name": "right", "agent": "fake", "preset": "laptop"},
    "export_episodes": {"experiment": "{shown}", "format": "minari"},
    "enrol_key": {"key": keys.generate().public},
    "rotate_key": {"key": keys.generate().public},
    "revoke_key": {"key": None},
    "login": {"token": "{token}"},
    "assign_robot": {"experiment": "{experiment}"},
    "set_canary": {"version": 2},
    "compress_policy": {"robots": ["small-1"]},
}
NAMES = {  # operation -> what its path names, if not the things that every operation may look at
    "delete_experiment": {"experiment": "doomed"},
    "delete_robot": {"robot": "mistyped"},
    "compress_policy": {"experiment": "taught"},
    "get_compression": {"experiment": "student"},
    "restore_checkpoint": {"experiment": "stopped", "number": "checkpoint"},
    "enrol_key": {"robot": "stranger"},
    "create_token": {"name": "stranger"},
    "import_dataset": {"name": "stranger"},
    "get_job": {"job": "export_job"},
}


def test_every_operation_can_be_done(tmp_path):
    with furnished(tmp_path) as (address, headers, names):
        names["token"] = [headers["Authorization"].split()[1]]
        for operation in sorted(operations(address, headers), key=order):
            answer = done(operation, (address, headers), names)
            if operation.label == "POST /api/v1/exports":
                names["export_job"] = [answer.json()["id"]]


@pytest.mark.timeout(150)
def test_nothing_undocumented_is_answered(tmp_path):
    with furnished(tmp_path) as (address, headers, names):
        for operation in sorted(operations(address, headers), key=order):
            check(operation, operation.as_strategy(), (address, headers), names)


def done(operation, where, names):
    """Ask for what is there, with a right body: it must be done, as it is documented."""
    address, headers = where
    name = operation.definition.raw["operationId"]
    chosen = names | {own: names[use] for own, use in NAMES.get(name, {}).items()}
    case = operation.Case(
        path_parameters={p.name: right(p, chosen) for p in operation.path_parameters},
        query={p.name: right(p, chosen) for p in operation.query if p.is_required},
        body=body_of(operation, name, names),
        media_type=next((body.media_type for body in operation.body), None),
    )
    answer = case.call(base_url=address, headers=headers)
    assert answer.status_code < 400, (operation.label, answer.text)
    case.validate_response(answer, checks=CHECKS)
    return answer


def right(parameter, names):
    """A value of a parameter that names something, or else its example."""
    if parameter.name == "confirm":
        return names["experiment"][0]
    if parameter.name in names:
        return names[parameter.name][0]
    schema = parameter.definition["schema"]
    return schema.get("enum", [None])[0] or schema["examples"][0]


def body_of(operation, name, names):
    """The right body: the one of the table, or the document's own example."""
    if not operation.body:
        return NOT_SET
    if name == "import_dataset":
        return TAR
    content = operation.definition.raw["requestBody"]["content"]["application/json"]
    body = RIGHT.get(name) or content["example"]
    return {
        key: names[value[1:-1]][0] if str(value)[1:-1] in names else value
        for key, value in body.items()
    }


@pytest.mark.timeout(150)
def test_what_the_document_forbids_is_refused_as_it_says(tmp_path):
    with furnished(tmp_path) as (address, headers, names):
        for operation in operations(address, headers):
            if operation.query or operation.path_parameters or operation.body:
                wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
                with suppress(Unsatisfiable):  # any string is a name: none is wrong
                    check(operation, wrong, (address, headers), names)


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


def test_everything_that_is_taken_or_answered_has_an_example_that_fits(tmp_path):
    async def act(house):
        return build_app(house.service).openapi()

    document = in_house(tmp_path, act)
    used = set()
    for operation, content in examples._contents(document):
        name = operation["operationId"]
        found = content.get("examples", {})
        found = [each["value"] for each in found.values()] or [content.get("example")]
        assert None not in found, name
        used |= set(re.findall(r"schemas/(?:Page_)?(\w+?)_?\b", str(content["schema"])))
        schema = content["schema"] | {"components": document["components"]}
        validator = jsonschema_rs.Draft202012Validator(schema)
        for example in found:
            assert [error.message for error in validator.iter_errors(example)] == [], name
    assert used == set(examples.EXAMPLES)
