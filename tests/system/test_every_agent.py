"""Every registered agent learns through the service: an experiment is created and started, a robot
of its kind sends rows, acts by the second version of its policy, and the experiment is stopped.

That is five minutes of a processor, so without EVERY_AGENT=1 in the environment only a planner and
a student go. `tests/contracts/test_learner.py` takes every agent the same way without network and
processes.
"""

import json
import os

import pytest

from agents.registry import AGENTS
from tests.contracts.test_agents import SMALL
from tests.contracts.test_learner import LINE, QUICKLY, ROBOTS
from tests.system.harness import Child, Server, wait_until

PLANNERS = {"mpc", "planet"}
TEACHER = "dqn"
SOME = ("mpc",)
CHOSEN = sorted(set(AGENTS) - {"distill"}) if os.environ.get("EVERY_AGENT") else SOME


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as running:
        yield running


class Robot:
    """`dreamfleet-robot run` of a spec, while the context lasts."""

    def __init__(self, server, spec, name, *options):
        home = server.home / name
        home.mkdir()
        folders = ("--spool", home / "spool", "--cache", home / "cache")
        connection = ("--server", server.gateway, "--name", name, "--json")
        command = ("robot_client.cli", "run", spec, *connection, *folders, *options)
        self.child = Child(command, home / "robot.log")

    def __enter__(self):
        return self.child

    def __exit__(self, *_):
        self.child.kill()


def acts(server, experiment, name, child, version):
    """Wait until the robot acts by this version, or a later one, and rows of it are stored."""

    def acting():
        assert child.running, child.tail()
        robot = server.robot(name) or {}
        return robot.get("connected") and (robot["policy_version"] or 0) >= version

    wait_until(acting, lambda: f"{server.robot(name)} {child.tail()} {server.child.tail()}")
    rows = server.experiment(experiment)["rows"]
    return server.wait_for(experiment, lambda found: found["rows"] > max(rows, 20))


def stops(server, experiment):
    found = server.post(f"/experiments/{experiment}/stop")
    assert (found["state"], found["learner"]["state"]) == ("stopped", "none")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("agent", CHOSEN)
def test_it_goes_from_rows_to_a_second_version(server, agent):
    settings = {"min_rows": 40, "robots": [agent]}
    experiment = server.create(agent, SMALL[agent], **settings)
    plan = ("--plan", json.dumps(QUICKLY.plan)) if agent in PLANNERS else ()
    with Robot(server, ROBOTS.get(agent, LINE), agent, *plan) as child:
        found = acts(server, experiment, agent, child, 0 if agent == "random" else 2)
        assert found["learner"]["updates"] > 0 or agent == "random"
        stops(server, experiment)


@pytest.mark.timeout(240)
def test_a_student_goes_from_its_teachers_rows_to_a_second_version(server):
    taught = server.create(TEACHER, SMALL[TEACHER], min_rows=40, robots=["student"])
    with Robot(server, ROBOTS[TEACHER], "student") as child:
        acts(server, taught, "student", child, 1)
        stops(server, taught)
        path = f"/experiments/{taught}/policies/1/compress"
        student = server.post(path, {"config": SMALL["distill"], "robots": ["student"]})["id"]
        acts(server, student, "student", child, 2)
        stops(server, student)
