"""A stage with something on it: two experiments with rows, versions, pictures and checkpoints."""

import asyncio
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from unittest.mock import patch

import numpy as np

from robot_client.schema import Chunk, Source, space_to_json
from server.access import Tokens
from server.datasets.jobs import work
from server.datasets.work import Teller, do
from server.film import encode_png
from tests.browser.stage import stage
from tests.unit.dataset_rows import KINDS, columns_of
from tests.unit.house import Checker
from tests.unit.test_evaluations import running
from tests.unit.test_rest_policies import publish

ABOUT = KINDS["camera"]  # a camera and two numbers to act with
SPACES = {
    "observation": space_to_json(ABOUT.observation_space),
    "action": space_to_json(ABOUT.action_space),
}
ROWS = 12  # of each episode
RETURNS = {"ball": [1.0, 2.0, 3.0], "arm": [5.0, 7.0]}  # of each experiment's episodes
DREAM = "open_loop_camera"
CHECKPOINTS = (20, 40)
STUDENT = {
    "widths": {"type": "array", "default": [64, 64], "description": "Hidden layers."},
    "temperature": {"type": "number", "default": 0.01, "exclusiveMinimum": 0},
    "teachers": {"type": "array", "default": []},
}


class Catalog(Checker):
    """Knows what students are made of, too."""

    async def agents(self):
        about = {"doc": "A student.", "presets": [], "accepts": ["continuous"], "error": None}
        schema = {"type": "object", "properties": STUDENT}
        return [*await super().agents(), about | {"name": "distill", "schema": schema}]


class Hushed(Teller):
    """Tells an order's progress to its job, not to another process."""

    def __init__(self, progress):
        self.progress = progress


async def work_here(order, progress):
    """As `server.datasets.jobs.work`, without the seconds that a new process takes; but what opens
    the replay of an experiment, which this process has open, is work for another."""
    if order["do"] == "export":
        return await work(order, progress)
    return await asyncio.to_thread(do, {**order}, Hushed(progress))


@contextmanager
def lab(home):
    """The stage; `ball` runs and `arm` is stopped; `viewer` is the token of one who only looks."""
    with ExitStack() as changed:
        changed.enter_context(patch("tests.unit.house.Checker", Catalog))
        changed.enter_context(patch("server.datasets.jobs.work", work_here))
        for page in ("policies", "data", "datasets"):  # which look for news all the time then
            changed.enter_context(patch(f"server.dashboard.{page}._LOOK_S", 0.0))
        found = changed.enter_context(stage(home))
        found.home = home
        found.ball, found.arm = found.do(furnish(found.house, home))
        found.viewer = Tokens(home).create("visitor", "viewer", "test")[1]
        yield found


async def furnish(house, home):
    """Returns the ids."""
    made = [await furnish_one(house, home, name) for name in ("ball", "arm")]
    keep_checkpoints(house, made[1])
    await house.ask("POST", f"/experiments/{made[1]}/stop")
    for version in (0, 1):
        dream(house, made[0], version)
    await house.writer.flush()
    return made


async def furnish_one(house, home, name):
    """Three versions, and episodes of the second."""
    robot = f"{name}-1"
    made = await running(house, home, versions=3, name=name, robots=[robot])
    house.join(robot, **SPACES)
    for number, total in enumerate(RETURNS[name]):
        columns = columns_of(ABOUT, ROWS, "terminal", number)
        columns["reward"][:] = 0
        columns["reward"][-1] = total
        columns["policy_version"][:] = 1
        columns["source"][:] = Source.POLICY
        part = Chunk("a", number, number * ROWS, columns, "roll")
        house.fleet.store(made).append(robot, part)
        house.experiments.stored(robot, made, part)
    return made


def keep_checkpoints(house, experiment):
    home = house.service.settings.experiment_dir(experiment)
    for number in CHECKPOINTS:
        folder = home / "checkpoints" / f"{number:012d}"
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(bytes(4096))
        (folder / "done").touch()


def dream(house, experiment, number):
    """What a learner draws: three rows of pictures."""
    folder = house.service.settings.experiment_dir(experiment) / "reports"
    folder.mkdir(exist_ok=True)
    picture = np.random.default_rng(number).integers(0, 255, (48, 320, 3), np.uint8)
    (folder / f"{number}.png").write_bytes(encode_png(picture))
    said = {"event": "report", "name": DREAM, "path": f"reports/{number}.png"}
    house.experiments.learner_said(experiment, said)


def published(found, experiment, version):
    """A learner has published one more."""

    async def act():
        publish(found.house, found.home, experiment, version)

    found.do(act())


def refused(found, problem):
    """The robot that was told something last says that it will not do it."""

    async def act():
        orders = found.house.fleet.orders
        newest = max(orders)
        orders[newest] = replace(orders[newest], error=problem)

    found.do(act())
