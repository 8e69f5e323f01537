"""An agent that plans and one that learns nothing go through the whole life of an experiment. One
that acts by a policy goes through more in `test_exactly_once`, and others in `test_every_agent`."""

import signal
from dataclasses import asdict

import pytest

from agents.planet import LAPTOP_PLAN
from tests.system.harness import Counter, Server, wait_until

SMALL = {"size": "tiny", "batch_size": 2, "batch_length": 8, "plan": asdict(LAPTOP_PLAN)}
CONFIGS = {"planet": SMALL}  # too slow as it comes
LEARNS_NOTHING = {"random"}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("agent", ["planet", "random"])
def test_an_experiment_starts_learns_pauses_resumes_and_outlives_its_server(tmp_path, agent):
    newest = 0 if agent in LEARNS_NOTHING else 2
    with Server(tmp_path) as server:
        experiment = server.create(agent, CONFIGS.get(agent, {}), start=False)
        assert server.experiment(experiment)["state"] == "created"
        server.post(f"/experiments/{experiment}/start")
        with Counter(server) as counter:
            server.wait_for(experiment, lambda e: e["learner"]["state"] == "running")
            reaches_the_robot(server, counter, newest)
            pauses_and_resumes(server, experiment, counter)
            before = server.experiment(experiment)
            assert server.stop(signal.SIGTERM) == 0
            server.start()
            (absence,) = server.absences(experiment)
            assert absence.endswith("was stopped")
            after = server.wait_for(experiment, lambda e: e["learner"]["state"] == "running")
            assert after["state"] == "running"
            assert after["rows"] >= before["rows"]
            assert after["learner"]["updates"] >= before["learner"]["updates"]
            reaches_the_robot(server, counter, before["policy_version"])
            server.wait_for(experiment, lambda e: e["rows"] > after["rows"] + 20)
            if agent in LEARNS_NOTHING:
                goes_on_with_an_evaluation_after_a_kill(server, experiment)
            stops(server, experiment, counter)


def reaches_the_robot(server, counter, version):
    """The robot acts with this version of the policy, or a later one."""

    def acts():
        robot = server.robot(counter.name) or {}
        return robot.get("connected") and (robot["policy_version"] or 0) >= version

    wait_until(acts, lambda: f"{server.robot(counter.name)} {counter.child.tail()}")


def pauses_and_resumes(server, experiment, counter):
    assert server.post(f"/experiments/{experiment}/pause")["state"] == "paused"
    rests(server, counter)
    found = server.wait_for(experiment, lambda e: e["learner"]["state"] == "paused")
    assert server.post(f"/experiments/{experiment}/resume")["state"] == "running"
    server.wait_for(experiment, lambda e: e["rows"] > found["rows"] + 20)


def goes_on_with_an_evaluation_after_a_kill(server, experiment):
    path = f"/experiments/{experiment}/evaluations"
    begun = server.post(path, {"episodes": 12})
    shown = {}

    def find(condition):
        def holds():
            shown["now"] = server.get(f"{path}/{begun['id']}")
            return condition(shown["now"])

        wait_until(holds, lambda: f"{shown} {server.child.tail()}", 90)

    find(lambda found: 0 < found["played"] < 12)
    server.kill()
    server.start()
    assert server.get(f"{path}/{begun['id']}")["version"] == begun["version"]
    find(lambda found: found["state"] == "done")
    assert shown["now"]["played"] == len(shown["now"]["returns"]) == 12
    assert server.absences(experiment)[0].endswith("crashed or was killed")


def stops(server, experiment, counter):
    found = server.post(f"/experiments/{experiment}/stop")
    assert found["state"] == "stopped"
    assert found["learner"]["state"] == "none"
    rests(server, counter)


def rests(server, counter):
    """The robot stands still, and everything that it has recorded is stored."""

    def still():
        robot = server.robot(counter.name) or {}
        return robot.get("reason") == "paused by an operator" and robot["backlog_rows"] == 0

    wait_until(still, lambda: f"{server.robot(counter.name)} {counter.child.tail()}")
