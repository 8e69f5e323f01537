"""Whatever a server is asked, it answers as its OpenAPI document says."""

from random import Random

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

ENDLESS = "/api/v1/live"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
FEW = settings(
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@schemathesis.serializer("application/x-tar")
def tar(_context, value):
    """Whatever was drawn, as the body of an import."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


def operations(address, headers):
    """Every operation that ends."""
    document = schemathesis.openapi.from_url(f"{address}/openapi.json", headers=headers)
    found = [operation.ok() for operation in document.get_all_operations()]
    return [operation for operation in found if operation.path != ENDLESS]


def order(operation):
    """To look comes first, and at a job when there is one; what takes things away comes last."""
    looking = operation.method == "get" and "{job}" not in operation.path
    taking = operation.method == "delete" or operation.path.endswith("/revoke")
    before = operation.path.endswith(("/back", "/restore"))  # a drawn pin or start would refuse it
    return (not looking, taking, not before, "{job}" in operation.path)


def check(operation, cases, where, names, examples=12):
    """Ask with whatever is drawn, for things that are there and for others."""
    (address, headers), chance = where, Random(0)

    @settings(FEW, max_examples=examples)
    @given(case=cases)
    def holds(case):
        if chance.random() < 0.7:  # else: names that mean nothing
            for name in set(case.path_parameters or {}) & set(names):
                case.path_parameters[name] = chance.choice(names[name])
            if "experiment" in (case.query or {}):
                case.query["experiment"] = names["experiment"][0]
        answer = case.call(base_url=address, headers=headers)
        case.validate_response(answer, checks=CHECKS)

    holds()
