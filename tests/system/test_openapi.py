"""A server with a learner and a robot at work does what its OpenAPI document says."""

import pytest

from tests.conform import check, operations, order
from tests.system.harness import Counter, Server

EXAMPLES = 2  # of an operation; more are asked of a server that is quicker to furnish
BACK = {"created": "start", "stopped": "start", "failed": "start", "paused": "resume"}


@pytest.mark.timeout(240)
def test_nothing_undocumented_is_answered_while_a_learner_learns(tmp_path):
    with Server(tmp_path) as server:
        experiment, other = server.create(), server.create("random", {}, start=False)
        with Counter(server) as counter:
            learns(server, experiment)
            names = {
                "experiment": [experiment, experiment, other],
                "robot": [counter.name],
                "version": [0, 1],
                "camera": ["camera"],
                "agent": ["dreamer", "random"],
            }
            where = (f"http://127.0.0.1:{server.port}", {})
            for operation in sorted(operations(*where), key=order):
                check(operation, operation.as_strategy(), where, names, EXAMPLES)
                if operation.method != "get":
                    learns(server, experiment)
            assert server.post(f"/experiments/{experiment}/replay/verify")["problems"] == []


def learns(server, experiment):
    """Wait until the learner is at work; what was asked may have ended or paused the experiment."""
    verb = BACK.get(server.experiment(experiment)["state"])
    if verb:
        server.post(f"/experiments/{experiment}/{verb}")
    server.wait_for(experiment, lambda found: found["learner"]["state"] == "running")
