"""The pick-and-place task by hand, with an arm that only notes what it is told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_client.errors import RobotError, SchemaError
from robot_client.robots.bins import Bin, Layout, Point
from robot_client.robots.pick_place import GRIP, LIFT, ArmState, DepthBand, PickPlace
from robot_client.testing import check_robot

FORTH, BACK, LEFT, RIGHT = range(4)
LOW, HOVER = 0.03, 0.16
LAYOUT = Layout(
    left=Bin(0.36, 0.1, 4, 4), right=Bin(0.36, -0.22, 4, 4), low=LOW, hover=HOVER
)  # rows at 0.10 to 0.22 and at -0.22 to -0.10, columns at 0.36 to 0.48


class FakeArm:
    """Is at once where it is sent. `ball` lies at a point; gripping there holds it."""

    def __init__(self, ball: Point = (0.36, 0.1, LOW)) -> None:
        self.at: Point = (0.40, 0.14, HOVER)
        self.ball: Point | None = ball
        self.opening = 1.0
        self.moves: list[Point] = []
        self.grips: list[float] = []
        self.fails = False

    def connect(self) -> None: ...

    def begin(self, seed: int | None) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...

    def state(self) -> ArmState:
        pose = np.array([*self.at, 3.1, 0.0, 0.0], np.float32)
        return ArmState(pose, np.zeros(6, np.float32), self.opening)

    def move(self, x: float, y: float, z: float) -> None:
        if self.fails:
            raise RobotError("lost")
        self.moves.append((x, y, z))
        self.at = (x, y, z)

    def grip(self, opening: float) -> None:
        self.grips.append(opening)
        here = self.ball is not None and np.allclose(self.ball, self.at, atol=1e-3)
        self.opening = 0.5 if here and not opening else opening

    def picture(self) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((64, 64, 3), np.uint8), np.full((64, 64), 0.9, np.float32)


@pytest.fixture
def arm() -> FakeArm:
    return FakeArm()


@pytest.fixture
def robot(arm: FakeArm) -> PickPlace:
    """Low in the left bin, on the cell where the ball lies."""
    robot = PickPlace(arm, LAYOUT, "fake", control_hz=2.0, joints=6)
    robot.connect()
    robot.reset(0)
    arm.ball = arm.at
    arm.moves.clear()
    arm.grips.clear()
    return robot


def act(robot: PickPlace, *actions: int) -> list[float]:
    rewards = []
    for action in actions:
        robot.apply(np.asarray(action))
        rewards.append(robot.observe().reward)
    return rewards


def hot(robot: PickPlace, key: str) -> int:
    return int(np.argmax(robot.observe().obs[key]))


def to_cell(robot: PickPlace, arm: FakeArm, column: int, row: int) -> None:
    """To a cell, low, in the left bin."""
    while arm.at[0] > LAYOUT.left.x + column * 0.04 + 1e-3:
        act(robot, BACK)
    while arm.at[0] < LAYOUT.left.x + column * 0.04 - 1e-3:
        act(robot, FORTH)
    while arm.at[1] > LAYOUT.left.y + row * 0.04 + 1e-3:
        act(robot, RIGHT)
    while arm.at[1] < LAYOUT.left.y + row * 0.04 - 1e-3:
        act(robot, LEFT)


def test_it_keeps_the_contract_of_robots():
    check_robot(PickPlace(FakeArm(), LAYOUT, "fake", control_hz=2.0, joints=6), steps=60)
    band = DepthBand(0.5, 1.0)
    check_robot(PickPlace(FakeArm(), LAYOUT, "fake", control_hz=0.5, joints=6, depth=band))


def test_the_steps_go_a_cell_along_each_axis(robot, arm):
    to_cell(robot, arm, 1, 1)
    for action, way in ((FORTH, (1, 0)), (BACK, (-1, 0)), (LEFT, (0, 1)), (RIGHT, (0, -1))):
        before = arm.at
        assert act(robot, action) == [0]
        moved = np.subtract(arm.at, before)
        assert moved == pytest.approx([0.04 * way[0], 0.04 * way[1], 0], abs=1e-9)


def test_low_the_outer_limits_stop_every_step_without_a_move(robot, arm):
    for action, limit, axis in (
        (BACK, 0.36, 0),
        (FORTH, 0.48, 0),
        (RIGHT, 0.1, 1),
        (LEFT, 0.22, 1),
    ):
        act(robot, *[action] * 4)
        assert arm.at[axis] == pytest.approx(limit)
        arm.moves.clear()
        assert act(robot, action) == [0]
        assert robot.observe().info["blocked"]
        assert arm.moves == []


def test_a_grasp_is_worth_one_and_its_side_is_observed(robot, arm):
    assert (hot(robot, "gripper_side"), hot(robot, "grasped_side")) == (1, 0)
    assert act(robot, GRIP) == [1]
    assert robot.observe().obs["gripper"] == pytest.approx([0.5])
    assert (hot(robot, "gripper_side"), hot(robot, "grasped_side")) == (1, 1)
    assert act(robot, RIGHT) == [0]  # only once


def test_a_hold_is_not_paid_for_the_action_before(robot, arm):
    assert act(robot, GRIP) == [1]
    pose = arm.at
    assert robot.action_space.contains(robot.hold())
    assert arm.at == pose
    assert robot.observe().reward == 0
    assert hot(robot, "grasped_side") == 1


def test_what_is_seen_while_it_holds_is_new(robot, arm):
    before = robot.observe().obs["gripper"]
    arm.opening = 0.25
    robot.hold()
    assert before == [1]
    assert robot.observe().obs["gripper"] == [0.25]


@pytest.mark.parametrize(("opening", "reward"), [(0.0, 0), (0.015, 0), (0.016, 1), (0.984, 1)])
def test_only_a_gripper_that_is_neither_closed_nor_open_holds(robot, arm, opening, reward):
    arm.grip = lambda wanted: setattr(arm, "opening", wanted or opening)
    assert act(robot, GRIP) == [reward]


def test_a_gripper_that_closed_on_nothing_opens_next(robot, arm):
    arm.ball = None
    assert act(robot, GRIP, GRIP, GRIP) == [0, 0, 0]
    assert arm.grips == [0, 1, 0]


def test_letting_go_in_the_same_bin_costs_one_low_or_hovering(robot, arm):
    assert act(robot, GRIP, GRIP) == [1, -1]
    assert hot(robot, "grasped_side") == 0
    assert act(robot, GRIP, LIFT, GRIP) == [1, 0, -1]


def test_losing_it_in_the_same_bin_costs_as_much(robot, arm):
    act(robot, GRIP, LIFT)
    arm.opening = 0.0
    assert act(robot, FORTH if arm.at[0] < 0.42 else BACK) == [-1]
    assert not robot.observe().info["holding"]


def test_only_what_is_held_is_lifted(robot, arm):
    assert act(robot, LIFT) == [0]
    assert robot.observe().info["blocked"]
    assert arm.moves == []


def test_it_is_lifted_by_way_of_the_nearest_cell_within_the_inner_limits(robot, arm):
    to_cell(robot, arm, 0, 3)
    arm.ball, arm.moves = arm.at, []
    assert act(robot, GRIP, LIFT) == [1, 0]
    low, high = arm.moves
    assert low == pytest.approx((0.40, 0.18, LOW))
    assert high == pytest.approx((0.40, 0.18, HOVER))
    act(robot, LIFT)
    assert arm.at == pytest.approx((0.40, 0.18, LOW))


def test_hovering_the_inner_limits_stop_it(robot, arm):
    act(robot, GRIP, LIFT, LEFT, LEFT, LEFT, BACK, BACK, BACK)
    assert arm.at == pytest.approx((0.40, 0.18, HOVER))
    assert robot.observe().info["blocked"]


def test_something_carried_to_the_other_bin_is_worth_ten_and_let_go_there(robot, arm):
    act(robot, GRIP, LIFT)
    while arm.at[1] > 0.14 + 1e-3:
        assert act(robot, RIGHT) == [0]
    arm.moves.clear()
    x = arm.at[0]
    assert act(robot, RIGHT) == [10]
    assert arm.moves[0] == pytest.approx((x, -0.14, HOVER))
    assert arm.grips[-1] == 1
    assert arm.moves[1] == pytest.approx((x, -0.14, LOW))
    assert arm.at[2] == LOW
    assert LAYOUT.side(*arm.at[:2]) == "right"
    assert (hot(robot, "gripper_side"), hot(robot, "grasped_side")) == (2, 0)
    arm.ball = arm.at
    assert act(robot, GRIP) == [1]
    assert hot(robot, "grasped_side") == 2


def test_without_anything_held_it_does_not_cross(robot, arm):
    act(robot, GRIP, LIFT)
    arm.opening = 0.0
    act(robot, *[RIGHT] * 5)
    assert LAYOUT.side(*arm.at[:2]) == "left"
    assert robot.observe().info["blocked"]


def test_low_it_does_not_cross_even_with_something_held(robot, arm):
    act(robot, GRIP, *[RIGHT] * 6)
    assert robot.observe().info["blocked"]
    assert LAYOUT.side(*arm.at[:2]) == "left"


def test_what_is_lost_on_the_way_across_earns_nothing_and_a_reset_goes_back_for_it(robot, arm):
    act(robot, GRIP, LIFT)
    while arm.at[1] > 0.14 + 1e-3:
        act(robot, RIGHT)
    go = arm.move

    def lose(x: float, y: float, z: float) -> None:
        go(x, y, z)
        arm.opening = 0.0

    arm.move = lose
    assert act(robot, RIGHT) == [0]
    arm.move = go
    assert LAYOUT.side(*arm.at[:2]) == "right"
    robot.reset()
    assert LAYOUT.side(*arm.at[:2]) == "left"


def test_a_reset_opens_stays_with_the_object_and_goes_to_a_random_cell(robot, arm):
    act(robot, GRIP, LIFT)
    arm.grips.clear()
    cells = set()
    for _ in range(40):
        robot.reset()
        assert arm.grips.pop(0) == 1
        assert arm.at[2] == LOW
        assert robot.observe().reward == 0
        assert not robot.observe().info["holding"]
        cells.add(arm.at)
    assert len(cells) > 8
    assert {LAYOUT.side(*at[:2]) for at in cells} == {"left"}


def test_a_sweep_visits_the_four_corners_low():
    arm = FakeArm()
    robot = PickPlace(arm, LAYOUT, "fake", control_hz=2.0, joints=6, sweep=True)
    robot.reset(0)
    corners = {(0.36, 0.1), (0.36, 0.22), (0.48, 0.22), (0.48, 0.1)}
    visited = {tuple(np.round(move[:2], 3)) for move in arm.moves if move[2] == LOW}
    assert corners <= visited


@pytest.mark.parametrize("at", [(0.2, 0.14, HOVER), (0.4, 0.0, HOVER), (0.4, 0.14, 0.3)])
def test_a_tool_that_is_nowhere_near_is_not_moved(arm, at):
    robot = PickPlace(arm, LAYOUT, "fake", control_hz=2.0, joints=6)
    arm.at = at
    with pytest.raises(RobotError, match="move from"):
        robot.reset(0)
    assert (arm.moves, arm.grips) == ([], [])


def test_after_a_failed_move_only_a_reset_may_follow(robot, arm):
    to_cell(robot, arm, 1, 1)
    arm.fails = True
    with pytest.raises(RobotError, match="lost"):
        robot.apply(np.asarray(FORTH))
    arm.fails = False
    with pytest.raises(RobotError, match="reset it first"):
        robot.apply(np.asarray(FORTH))
    robot.reset()
    act(robot, GRIP)


@pytest.mark.parametrize("action", [-1, 6, np.nan, 0.5, [1, 2]])
def test_anything_but_one_of_the_six_actions_is_refused(robot, arm, action):
    with pytest.raises(RobotError, match="whole number"):
        robot.apply(np.asarray(action))
    assert arm.moves == []


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(0, 99))
def test_whatever_is_asked_the_arm_stays_within_its_limits(actions, seed):
    arm = FakeArm()
    robot = PickPlace(arm, LAYOUT, "fake", control_hz=2.0, joints=6)
    robot.reset(seed)
    for action in actions:
        arm.ball = arm.at if arm.at[2] == LOW else arm.ball
        robot.apply(np.asarray(action))
    for x, y, z in arm.moves:
        side = LAYOUT.side(x, y)
        assert side is not None
        assert z in (LOW, HOVER)
        low, high = LAYOUT.limits(side, inner=z == HOVER)
        assert (low - 1e-9 <= (x, y)).all()
        assert ((x, y) <= high + 1e-9).all()
    for start, goal in zip(arm.moves, arm.moves[1:], strict=False):
        if LAYOUT.side(*start[:2]) != LAYOUT.side(*goal[:2]):
            assert start[2] == goal[2] == HOVER


OVER, INNER, EDGE = (0.40, 0.14, HOVER), (0.40, 0.14, LOW), (0.36, 0.10, LOW)


@pytest.mark.parametrize(
    ("start", "goal", "message"),
    [
        (INNER, (0.40, 0.14, 0.0), "height"),
        (OVER, (0.40, 0.14, 0.2), "height"),
        (INNER, (0.40, 0.30, LOW), "outer"),
        (INNER, (0.55, 0.14, LOW), "outer"),  # x has limits of its own
        (EDGE, (0.36, 0.10, HOVER), "inner"),
        (OVER, (0.36, 0.14, HOVER), "inner"),
        (OVER, (0.40, 0.10, HOVER), "inner"),
        (EDGE, OVER, "inner"),
        (INNER, (0.40, -0.14, LOW), "between the bins"),
        (INNER, (0.40, -0.14, HOVER), "between the bins"),
        (OVER, (0.40, np.nan, HOVER), "finite"),
    ],
)
def test_an_unsafe_way_is_refused(start, goal, message):
    with pytest.raises(RobotError, match=message):
        LAYOUT.check(start, goal)


@pytest.mark.parametrize("goal", [INNER, OVER, (0.44, 0.18, HOVER), (0.40, -0.14, HOVER)])
def test_a_safe_way_is_not(goal):
    LAYOUT.check(OVER, goal)


@pytest.mark.parametrize(
    "wrong",
    [{"hover": LOW}, {"margin": 2}, {"left": Bin(0.36, -0.1, 4, 4)}, {"cell": 0.0}, {"margin": -1}],
)
def test_a_layout_that_cannot_be_is_refused(wrong):
    whole = {"left": LAYOUT.left, "right": LAYOUT.right, "low": LOW, "hover": HOVER}
    with pytest.raises(SchemaError, match="layout"):
        Layout(**{**whole, **wrong})


def test_the_depth_band_saturates_and_takes_the_unknown_for_far():
    metres = np.array([[0.4, 0.5, 0.75, 1.0, 2.0, 0.0, np.nan]], np.float32)
    image = DepthBand(0.5, 1.0).image(metres)
    assert image.shape == (1, 7, 1)
    assert image[0, :, 0].tolist() == [0, 0, 128, 255, 255, 255, 255]


def test_the_rotation_of_a_tool_pointing_down_does_not_jump(robot, arm):
    def turned(x: float) -> np.ndarray:
        pose = np.array([*arm.at, x, 0.0, 0.01], np.float32)
        arm.state = lambda: ArmState(pose, np.zeros(6, np.float32), 1.0)
        robot.apply(np.asarray(LIFT))
        return robot.observe().obs["cartesian"]

    assert np.abs(turned(3.14) - turned(-3.14)).max() < 0.03
    assert turned(-0.1)[3] == pytest.approx(-0.1)  # a small turn is left alone


@pytest.mark.parametrize(("near", "far"), [(1.2, 0.5), (0.5, 0.5), (-0.1, 1.0), (0.5, np.inf)])
def test_a_depth_band_that_makes_no_sense_is_refused(near, far):
    with pytest.raises(SchemaError):
        DepthBand(near, far)
