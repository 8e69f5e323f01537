import asyncio

import numpy as np
import pytest

from agents.registry import agent_class
from benchmarks import service
from robot_client.robots import make_robot


@pytest.mark.parametrize("name", service.RUNS)
def test_every_run_names_a_robot_an_agent_and_settings_that_exist(name):
    run = service.RUNS[name]
    assert make_robot(run.robot, **run.options).task.episode_steps
    config = agent_class(run.agent).config_type
    config.model_validate({**config.presets["laptop"], **run.config})


def test_rewards_are_shared_out_by_level_and_counted_by_value():
    run = service.Run("r", "a", "", levels={"upright": 5.7}, counts={"grasped": 1.0})
    part = np.array([5.0, 5.8, 6.0, 1.0], np.float32)
    row = service._share(part, 0, run)
    assert row == {
        "tenth": 1,
        "steps": 4,
        "mean": pytest.approx(4.45),
        "upright": 0.5,
        "grasped": 1,
    }


def test_smoothing_is_the_mean_of_what_went_before():
    points = [(float(k), float(k)) for k in range(4)]
    assert service.smooth(points, width=2) == [(0, 0), (1, 0.5), (2, 1.5), (3, 2.5)]


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_a_run_learns_through_the_service_and_keeps_its_curve(tmp_path):
    run = service.Run(
        "pointmass",
        "random",
        "",
        preset=None,
        speed=float("inf"),
        learner={"min_rows": 100},
        counts={"none": 0.0},
    )
    outcome = asyncio.run(service.play(run, 0.1, 0, tmp_path))
    assert outcome["curve"][-1][1] <= outcome["steps"]
    assert sum(row["steps"] for row in outcome["rows"]) == outcome["steps"] > 100
