from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robot_client.bundle import Manifest, NoiseSpec, Planning, PlanSettings
from robot_client.errors import BundleError
from tests.unit.policies import bundle

NOISE = NoiseSpec((2, 3), "gumbel", acts=False)
PLANNING = Planning({"stoch": NOISE}, {"action": NOISE}, 0.99, PlanSettings("icem", horizon=5))


def planner() -> dict[str, Any]:
    return replace(bundle().manifest, kind="planner", planning=PLANNING).to_json()


def test_a_manifest_that_plans_survives_json() -> None:
    data = json.loads(json.dumps(planner()))
    found = Manifest.from_json(data)
    assert found.planning == PLANNING
    assert found.kind == "planner"


def test_a_manifest_without_planning_has_none() -> None:
    data = bundle().manifest.to_json()
    del data["planning"]
    assert Manifest.from_json(data).planning is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("method", "best"),
        ("horizon", 0),
        ("horizon", 2.0),
        ("horizon", True),
        ("candidates", 2**20),
        ("elites", 1001),
        ("proposals", -1),
        ("temperature", 0),
        ("temperature", float("nan")),
        ("colour", "white"),
        ("keep", 1.5),
        ("momentum", -0.1),
        ("warm_start", 1),
        ("unknown", 1),
    ],
)
def test_a_setting_out_of_bounds_is_refused_by_name(field: str, value: Any) -> None:
    data = planner()
    data["planning"]["settings"][field] = value
    with pytest.raises(BundleError, match=field):
        Manifest.from_json(data)


@pytest.mark.parametrize("discount", [1.5, -1, None, "1"])
def test_a_discount_out_of_bounds_is_refused(discount: Any) -> None:
    data = planner()
    data["planning"]["discount"] = discount
    with pytest.raises(BundleError, match="discount"):
        Manifest.from_json(data)


def test_noise_comes_in_rows() -> None:
    rng = np.random.default_rng(0)
    assert NOISE.sample(rng, 5).shape == (5, 2, 3)
    assert NOISE.sample(rng).shape == (1, 2, 3)


def test_recurrent_state_does_not_outlive_a_change_of_planning() -> None:
    one = replace(bundle().manifest, planning=PLANNING)
    other = replace(one, planning=replace(PLANNING, settings=PlanSettings(horizon=6)))
    assert one.same_build(replace(one, version=5))
    assert not one.same_build(other)
