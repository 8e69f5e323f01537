"""The simulated arms: the published kinematics, grasps by friction, and a script that carries."""

from collections.abc import Iterator

import numpy as np
import pytest

from robot_client.robot import Reading
from robot_client.robots.pick_place import CLOSED, GRIP, LIFT, OPEN
from sim import xarm
from sim.arm import SimPickPlace
from sim.arm_model import joints, load_arm, rotation_vector
from sim.arm_scripts import Carrier
from sim.arm_world import PHYSICS_HZ
from sim.bins import inside
from sim.engine import Engine
from sim.ur5 import MODEL, Ur5
from sim.xarm import XArm

ARMS = {"ur5": Ur5, "xarm": XArm}
UR5_DH = (  # a, alpha, d; Universal Robots' published parameters
    (0.0, np.pi / 2, 0.089159),
    (-0.425, 0.0, 0.0),
    (-0.39225, 0.0, 0.0),
    (0.0, np.pi / 2, 0.10915),
    (0.0, -np.pi / 2, 0.09465),
    (0.0, 0.0, 0.0823),
)


@pytest.fixture(params=ARMS)
def robot(request: pytest.FixtureRequest) -> Iterator[SimPickPlace]:
    robot = ARMS[request.param]()
    robot.connect()
    yield robot
    robot.stop()
    robot.close()


def carry(robot: SimPickPlace, steps: int, seed: int) -> list[Reading]:
    robot.reset(seed)
    script, readings = Carrier(robot, seed), []
    for _ in range(steps):
        robot.apply(script.action())
        readings.append(robot.observe())
    return readings


def test_a_hold_lasts_a_control_period_and_is_paid_nothing(robot):
    robot.reset(3)
    robot._reward = 10.0  # of the action before
    before = robot.arm.seconds
    robot.hold()
    assert robot.arm.seconds == pytest.approx(before + 1 / robot.control_hz)
    assert robot.observe().reward == 0


def transform(a: float, alpha: float, d: float, theta: float) -> np.ndarray:
    """From one frame to the next by Denavit and Hartenberg's convention."""
    ct, st, ca, sa = np.cos(theta), np.sin(theta), np.cos(alpha), np.sin(alpha)
    return np.array(
        [
            [ct, -st * ca, st * sa, a * ct],
            [st, ct * ca, -ct * sa, a * st],
            [0, sa, ca, d],
            [0, 0, 0, 1],
        ]
    )


def test_the_flange_of_the_ur5_is_where_the_published_parameters_put_it():
    engine = Engine()
    arm = load_arm(engine, MODEL)
    names = joints(engine, arm)
    rng = np.random.default_rng(0)
    for _ in range(5):
        angles, expected = rng.uniform(-3, 3, 6), np.eye(4)
        for row, angle in zip(UR5_DH, angles, strict=True):
            expected = expected @ transform(*row, angle)
        for joint, angle in enumerate(angles):
            engine.resetJointState(arm, joint, angle)
        state = engine.getLinkState(arm, names["flange_joint"], computeForwardKinematics=1)
        assert np.allclose(state[4], expected[:3, 3], atol=1e-4)
        turn = np.array(engine.getMatrixFromQuaternion(state[5])).reshape(3, 3)
        assert np.allclose(turn, expected[:3, :3], atol=1e-4)
    engine.disconnect()


@pytest.fixture(params=ARMS, scope="module")
def carried(request: pytest.FixtureRequest) -> list[Reading]:
    robot = ARMS[request.param]()
    robot.connect()
    readings = carry(robot, 60, seed=1)
    robot.close()
    return readings


def test_the_script_earns_eleven_a_cycle_several_times(carried):
    rewards = np.array([reading.reward for reading in carried])
    places, grasps, drops = ((rewards == value).sum() for value in (10, 1, -1))
    assert places >= 3
    held = grasps - places - drops
    assert held in (0, 1)  # each grasp ends in the other bin or in a drop, but perhaps the last
    assert rewards.sum() == 11 * places + held


def test_what_is_held_is_told_by_the_opening_and_carried_up(carried):
    for reading in carried:
        opening = float(reading.obs["gripper"][0])
        assert reading.info["holding"] == (reading.obs["grasped_side"][0] == 0)
        if reading.info["holding"]:
            assert CLOSED < opening < OPEN
    assert any(r.info["holding"] and r.obs["cartesian"][2] > 0.1 for r in carried)


def test_a_thing_goes_up_with_the_arm(robot):
    robot.reset(1)
    script = Carrier(robot, 1)
    for _ in range(60):
        robot.apply(script.action())
        hovers = robot.observe().obs["cartesian"][2] > 0.1
        if robot.observe().info["holding"] and hovers:
            break
    tool = robot.arm.world.tool()[0]
    distances = np.linalg.norm(robot.arm.world.positions() - tool, axis=1)
    assert distances.min() < 0.03


def test_a_grasp_that_is_let_go_in_the_same_bin_costs_one(robot):
    robot.reset(1)
    script = Carrier(robot, 1)
    for _ in range(60):
        robot.apply(script.action())
        if robot.observe().reward == 1:
            break
    robot.apply(np.asarray(LIFT))
    assert robot.observe().reward == 0
    robot.apply(np.asarray(GRIP))
    assert robot.observe().reward == -1
    assert robot.observe().obs["gripper"][0] > OPEN


def test_the_tool_arrives_where_it_was_sent(robot):
    robot.reset(2)
    rng = np.random.default_rng(2)
    for _ in range(15):
        robot.apply(np.asarray(rng.integers(4)))
        pose = robot.observe().obs["cartesian"]
        layout, (x, y) = robot.layout, (float(pose[0]), float(pose[1]))
        side = layout.side(x, y)
        point = layout.point(side, layout.nearest(side, x, y, inner=False), layout.low)
        assert np.allclose(pose[:3], point, atol=2e-3)
        assert np.allclose(pose[3:], [np.pi, 0, 0], atol=0.02)


def test_a_step_lasts_its_period_or_the_time_of_its_moves(robot):
    robot.reset(3)
    begun = robot.arm.world.seconds
    for _ in range(10):
        robot.apply(np.asarray(1))
    assert robot.arm.world.seconds - begun == pytest.approx(10 / robot.control_hz, abs=0.1)


def test_without_a_seed_things_stay_where_they_are():
    robot = Ur5()
    robot.connect()
    carry(robot, 25, seed=1)
    before = robot.arm.world.positions()
    robot.reset()
    after = robot.arm.world.positions()
    sides = [[inside(robot.layout, *at) for at in positions] for positions in (before, after)]
    assert sides[0] == sides[1]
    assert np.abs(before - after)[:, 2].max() < 0.15
    robot.reset(1)
    assert not np.allclose(robot.arm.world.positions(), after)
    robot.close()


def test_the_string_keeps_the_thing_near_the_gripper():
    robot = XArm()
    robot.connect()
    robot.reset(4)
    rng = np.random.default_rng(4)
    for _ in range(30):
        robot.apply(np.asarray(rng.integers(6)))
        away = np.linalg.norm(robot.arm.world.positions()[0] - robot.arm.world.tool()[0])
        assert away < xarm.STRING + 0.05
    robot.close()


def test_what_fell_beside_the_bins_is_put_back_by_the_next_episode():
    robot = Ur5()
    robot.connect()
    robot.reset(5)
    world = robot.arm.world
    world.engine.resetBasePositionAndOrientation(world.things[0], [0.8, 0.5, 0.05], [0, 0, 0, 1])
    robot.reset()
    assert inside(robot.layout, *world.positions()[0]) is not None
    robot.close()


def test_the_depth_image_shows_the_gripper_nearer_than_the_bins():
    robot = XArm()
    robot.connect()
    robot.reset(1)
    obs = robot.observe().obs
    assert obs["depth"].shape == (64, 64, 1)
    assert obs["depth"].std() > 10
    rows, columns = np.nonzero(obs["image"].max(-1) < 40)  # the palm, over one of the bins
    assert len(rows) > 10
    palm, floor = obs["depth"][rows, columns], obs["depth"][rows, 63 - columns]
    assert palm.mean() < floor.mean() - 20
    robot.close()


def test_the_camera_sees_the_things():
    robot = Ur5()
    robot.connect()
    robot.reset(1)
    image = robot.observe().obs["image"].astype(int)
    red = (image[..., 0] > 120) & (image[..., 1] < 90) & (image[..., 2] < 90)
    assert red.sum() >= 4
    assert robot.picture(96).shape == (96, 96, 3)
    robot.close()


def test_vary_changes_masses_frictions_and_light():
    robot = Ur5(vary={"mass": 0.5, "friction": 0.5, "light": 0.5})
    robot.connect()
    dynamics, pictures = [], []
    for seed in (1, 2):
        robot.reset(seed)
        world = robot.arm.world
        dynamics.append(world.engine.getDynamicsInfo(world.things[0], -1)[:2])
        pictures.append(robot.observe().obs["image"][-8:].mean())
    assert dynamics[0] != dynamics[1]
    assert pictures[0] != pictures[1]
    assert all(0.5 <= mass / 0.04 <= 1.5 for mass, _ in dynamics)
    robot.close()


def test_the_sun_rises_with_simulated_time():
    robot = Ur5(vary={"sunrise_s": 20.0})
    robot.connect()
    robot.reset(1)
    night = robot.observe().obs["image"][-8:].mean()
    robot.arm.world.advance(10 * PHYSICS_HZ)
    robot.reset(2)  # a new world, but the same day
    assert robot.observe().obs["image"][-8:].mean() > night + 15
    robot.close()


@pytest.mark.parametrize("angle", [0.0, 1.0, 3.0])
def test_a_rotation_vector_is_the_axis_times_the_angle(angle):
    quaternion = (np.sin(angle / 2), 0.0, 0.0, np.cos(angle / 2))
    assert rotation_vector(quaternion) == pytest.approx([angle, 0, 0])
    turned = rotation_vector(tuple(-part for part in quaternion))
    assert turned == pytest.approx([angle, 0, 0])


def test_no_thing_is_pressed_through_the_floor():
    robot = Ur5()
    robot.connect()
    robot.reset(6)
    world = robot.arm.world
    for _ in range(4):
        x, y, _ = world.tool()[0]
        world.move((float(x), float(y), robot.layout.hover))
        under = [float(x), float(y) + 0.048, 0.022]  # a finger comes down on it
        world.engine.resetBasePositionAndOrientation(world.things[0], under, [0, 0, 0, 1])
        world.move((float(x), float(y), robot.layout.low))
        assert world.positions()[:, 2].min() > 0
    robot.close()
