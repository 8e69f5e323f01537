"""Robots of different kinds in common spaces: what fits, what is sent, what is recorded."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from robot_client.errors import RobotError, SchemaError
from robot_client.robot import Action, Reading, Robot, as_action
from robot_client.robots import Fitted, common_spaces, fit, make_robot
from robot_client.safety import SafetyFilter
from robot_client.schema import ActionSpace, Task, check_columns, row_fields, space_to_json
from robot_client.testing import check_robot
from tests.unit.control import Chooser, start

ALIKE = ("pointmass", "gym:Pendulum-v1", 'pointmass {"dims": 1}')


def vector(*bounds: tuple[float, float]) -> spaces.Box:
    low, high = np.array(bounds, np.float32).T
    return spaces.Box(low, high, dtype=np.float32)


def image(size: int) -> spaces.Box:
    return spaces.Box(0, 255, (size, size, 3), np.uint8)


class Still:
    """Has the spaces that a test gives it, sees their upper bounds, remembers what it is sent."""

    control_hz = 20.0
    task = Task("stand", 5)

    def __init__(self, actions: ActionSpace, **observed: spaces.Space[Any]) -> None:
        self.action_space, self.observation_space = actions, spaces.Dict(observed)
        self.sent: list[Any] = []
        self.calls: list[str] = []

    def connect(self) -> None: ...
    def reset(self, seed: int | None = None) -> None: ...
    def close(self) -> None: ...

    def stop(self) -> None:
        self.calls.append("stop")

    def apply(self, action: Action) -> Action:
        self.sent.append(action.tolist())
        return action

    def observe(self) -> Reading:
        obs: dict[str, Any] = {
            key: np.asarray(space.n - 1) if isinstance(space, spaces.Discrete) else space.high
            for key, space in self.observation_space.items()
            if isinstance(space, spaces.Box | spaces.Discrete)
        }
        return Reading(obs, info={"age_s": 0.5})


GAS = vector((0, 1), (-2, 2))  # a pedal and a wheel
ONE = spaces.Box(-1.0, 1.0, (1,), np.float32)


def test_the_common_spaces_are_the_smallest_and_their_bounds_the_union() -> None:
    first = Still(GAS, joints=vector((-1, 2), (3, 4)), mode=spaces.Discrete(2), camera=image(4))
    second = Still(
        vector((-9, 9), (0, 1), (0, 5)),
        joints=vector((-5, 1), (3.5, 6), (1, 7)),
        mode=spaces.Discrete(5),
        camera=image(4),
    )
    observed, actions = common_spaces([first, second])
    assert observed["joints"] == vector((-5, 2), (3, 6), (0, 7))  # 0: there the first is padded
    assert observed["mode"] == spaces.Discrete(5)
    assert observed["camera"] == image(4)
    assert actions == spaces.Box(-1, 1, (3,), np.float32)


def test_discrete_actions_are_as_many_as_the_largest_has() -> None:
    robots = [Still(spaces.Discrete(n), x=ONE) for n in (2, 5, 3)]
    assert common_spaces(robots)[1] == spaces.Discrete(5)


def test_the_order_of_the_robots_does_not_matter() -> None:
    robots = [
        Still(ONE, pose=vector((-1, 1)), left=image(4)),
        Still(GAS, vector=vector((-3, 1), (0, 2)), camera=image(4)),
        Still(ONE, pose=vector((0, 8)), zoom=image(4)),
    ]
    found = {
        tuple(str(space_to_json(space)) for space in common_spaces(order))
        for order in itertools.permutations(robots)
    }
    assert len(found) == 1
    assert set(common_spaces(robots)[0].spaces) == {"pose", "camera"}


@pytest.mark.parametrize(
    ("other", "field"),
    [
        (Still(spaces.Discrete(2), x=ONE, see=image(4)), "action_space"),
        (Still(spaces.Box(-np.inf, np.inf, (1,)), x=ONE, see=image(4)), "action_space"),
        (Still(ONE, x=ONE, see=image(8)), "observation_space.see"),
        (Still(ONE, x=ONE), "observation_space"),
        (Still(ONE, x=ONE, y=ONE, see=image(4)), "observation_space"),
        (Still(ONE, x=spaces.Discrete(3), see=image(4)), "observation_space.x"),
        (Still(ONE, y=ONE, z=ONE, see=image(4)), "observation_space"),
    ],
)
def test_where_there_are_no_common_spaces_the_field_is_named(other: Robot, field: str) -> None:
    robot = Still(ONE, x=ONE, see=image(4))
    for robots in ([robot, other], [other, robot]):
        with pytest.raises(SchemaError) as caught:
            common_spaces(robots)
        assert caught.value.field == field


def test_what_is_too_big_does_not_fit() -> None:
    small, big = Still(ONE, x=ONE), Still(GAS, x=vector((-1, 1), (-1, 1)))
    observed, actions = common_spaces([small])
    with pytest.raises(SchemaError, match=r"observation_space\.x: expected a part of"):
        Fitted(big, observed, actions)
    with pytest.raises(SchemaError, match="action_space: expected"):
        Fitted(Still(GAS, x=ONE), observed, actions)
    with pytest.raises(SchemaError, match="action_space"):
        Fitted(Still(ONE, x=ONE), observed, spaces.Discrete(4))


def test_an_action_is_scaled_to_the_bounds_and_the_rest_of_it_ignored() -> None:
    robot = Still(GAS, x=ONE)
    fitted, _ = fit([robot, Still(vector(*[(-1, 1)] * 4), x=ONE)])
    wanted = np.array([-0.5, 0.25, 0.7, -1], np.float32)
    executed = fitted.apply(wanted)
    assert robot.sent == [[0.25, 0.5]]
    assert executed.tolist() == wanted.tolist()  # what is ignored is recorded as it was asked for
    assert executed.dtype == np.float32
    for end, sent in ((-1, [0, -2]), (1, [1, 2])):
        assert fitted.apply(np.full(4, end, np.float32)).tolist() == [end] * 4
        assert robot.sent[-1] == sent


def test_the_executed_action_is_the_one_that_the_robot_took() -> None:
    class Weak(Still):
        def apply(self, action: Action) -> Action:
            return np.minimum(action, np.float32(0.75))

    fitted = fit([Weak(GAS, x=ONE)])[0]
    assert fitted.apply(np.array([1, 1], np.float32)).tolist() == [0.5, 0.375]


def test_a_number_without_range_counts_as_zero() -> None:
    robot = Still(vector((2, 2), (0, 4)), x=ONE)
    assert fit([robot])[0].apply(np.array([1, 0.5], np.float32)).tolist() == [0, 0.5]
    assert robot.sent == [[2, 3]]


def test_surplus_choices_are_taken_modulo_and_recorded_so() -> None:
    robot = Still(spaces.Discrete(3), x=ONE)
    fitted, _ = fit([robot, Still(spaces.Discrete(8), x=ONE)])
    executed = [fitted.apply(np.asarray(choice)) for choice in range(8)]
    assert [int(action) for action in executed] == robot.sent == [0, 1, 2, 0, 1, 2, 0, 1]
    assert {action.dtype for action in executed} == {np.dtype(np.int64)}


def test_vectors_are_followed_by_zeros_and_nothing_else_changes() -> None:
    robot = Still(ONE, x=vector((-1, 2), (0, 3)), see=image(4), mode=spaces.Discrete(2))
    other = Still(ONE, x=vector(*[(-1, 1)] * 4), see=image(4), mode=spaces.Discrete(7))
    reading = fit([robot, other])[0].observe()
    assert reading.obs["x"].tolist() == [2, 3, 0, 0]
    assert (reading.obs["see"] == 255).all()
    assert reading.obs["mode"] == 1
    assert reading.info == {"age_s": 0.5}


def test_a_robot_that_sees_less_than_it_declares_is_not_padded() -> None:
    robot = Still(ONE, x=vector((0, 1), (0, 1)))
    robot.observe = lambda: Reading({"x": np.zeros(1, np.float32)})  # type: ignore[method-assign]
    with pytest.raises(RobotError, match="x is float32"):
        fit([robot])[0].observe()


def test_what_a_robot_declares_for_its_safety_holds_on() -> None:
    robot = Still(GAS, x=ONE)
    assert not hasattr(fit([robot])[0], "max_rate")
    robot.max_rate, robot.blend_steps = 0.1, 0  # type: ignore[attr-defined]
    fitted = fit([robot])[0]
    safe = SafetyFilter.for_robot(fitted)
    # The pedal rests at 0, which is -1 here, and moves by a tenth of its range a step.
    assert fitted.rest_action.tolist() == [-1, 0]
    np.testing.assert_allclose(safe(np.ones(2, np.float32)), [-0.8, 0.2], atol=1e-6)
    own = SafetyFilter.for_robot(robot)
    np.testing.assert_allclose(own(np.array([1, 2], np.float32)), [0.1, 0.4], atol=1e-6)


def test_holding_is_the_robots_own_or_rest() -> None:
    robot = Still(GAS, x=ONE)
    fitted = fit([robot])[0]
    assert fitted.hold().tolist() == [-1, 0]
    assert robot.calls == ["stop"]
    robot.hold = lambda: as_action(GAS, [0.5, 1])  # type: ignore[attr-defined]
    assert fitted.hold().tolist() == [0, 0.5]
    assert robot.calls == ["stop"]


@pytest.mark.parametrize("names", list(itertools.permutations(ALIKE)))
def test_real_robots_keep_the_contract_when_they_are_fitted(names: tuple[str, ...]) -> None:
    robot = fit([make_robot(name) for name in names])[0]
    check_robot(robot)
    assert list(robot.observation_space.spaces) == ["obs"]
    assert robot.observation_space["obs"].shape == (4,)
    assert robot.action_space == spaces.Box(-1, 1, (2,), np.float32)


def test_discrete_robots_keep_the_contract_when_they_are_fitted() -> None:
    names = ("gym:FrozenLake-v1", "gym:Taxi-v4")
    for robot in fit([make_robot(name) for name in names]):
        check_robot(robot)
        assert robot.action_space == spaces.Discrete(6)


def test_the_rows_of_a_fitted_robot_obey_the_schema_and_tell_what_was_executed() -> None:
    robot, _ = fit([make_robot("gym:Pendulum-v1"), make_robot("pointmass")])
    chosen = np.array([0.5, 0.9], np.float32)
    runtime, kept, _ = start(robot, Chooser(lambda _: chosen), seed=0, max_steps=8)
    runtime.run()
    for row in kept.rows:
        del row["episode"], row["policy/asked"]
    columns = {name: np.stack([row[name] for row in kept.rows]) for name in kept.rows[0]}
    check_columns(row_fields(robot.observation_space, robot.action_space), columns)
    np.testing.assert_allclose(columns["action"][:-1], [[0.5, 0.9]] * 8, rtol=1e-6)
    np.testing.assert_allclose(columns["action_requested"][0], [0.5, 0.9], rtol=1e-6)
    assert not columns["obs"][:, 3].any()
    assert columns["obs"][:, 0].any()
