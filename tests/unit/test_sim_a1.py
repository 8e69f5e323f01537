"""The A1: its low-level control, filter, segments without reset, disturbances and corrections."""

from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pybullet_data
import pytest

from robot_client.robot import Reading
from robot_client.robots import make_robot
from robot_client.safety import LowPass
from robot_client.testing import check_robot
from sim import a1_urdf
from sim.a1 import A1, AREA
from sim.a1_body import KD, KP, Body, State, torques
from sim.a1_joints import HIGH, LOW, STANDING, angles, as_action
from sim.engine import Engine, empty
from sim.variation import World

STAND = STANDING.astype(np.float32)
GOLDEN = [
    0.04125353724172031,
    0.17941030284182657,
    0.3858292894517798,
    0.5932717683139689,
    0.767009359553657,
    0.8947540880466979,
    0.9777796301673469,
    1.0241199309927984,
]


@pytest.fixture
def make():
    made: list[A1] = []

    def connected(*args, **options) -> A1:
        made.append(A1(*args, **options))
        made[-1].connect()
        return made[-1]

    yield connected
    for robot in made:
        robot.close()


def run(robot: A1, steps: int, action: Callable[[int], np.ndarray] = lambda t: STAND):
    readings: list[Reading] = []
    for t in range(steps):
        robot.apply(action(t))
        readings.append(robot.observe())
    return readings


def vectors(readings: list[Reading]) -> np.ndarray:
    return np.stack([reading.obs["vector"] for reading in readings])


def rewards(readings: list[Reading]) -> np.ndarray:
    return np.array([reading.reward for reading in readings])


def test_the_robot_keeps_the_contract():
    check_robot(make_robot("a1"))
    check_robot(make_robot('a1 {"start": "random", "terrain": 0.05, "push_n": 30}'))


def test_holding_the_standing_pose_stands_for_a_segment_and_gives_about_nine(make):
    robot = make("stand")
    robot.reset(0)
    readings = run(robot, 250)
    assert rewards(readings).min() > 8.5
    assert 8.8 < rewards(readings).mean() < 9.2
    roll_pitch = vectors(readings)[:, :2]
    assert np.abs(roll_pitch).max() < 0.1


def test_lying_on_its_back_gives_five(make):
    robot = make()
    robot.reset(0)
    assert abs(robot.observe().obs["vector"][0]) > 3  # roll
    assert rewards(run(robot, 20)) == pytest.approx(5, abs=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_a_random_start_is_anywhere_but_within_its_limits(make, seed):
    robot = make("random")
    robot.reset(seed)
    assert robot.observation_space.contains(dict(robot.observe().obs))
    assert 0 < robot.observe().info["up"] < 1


def test_actions_span_the_fractions_of_the_motors_range_that_daydreamer_gives():
    low, high = angles(np.full(12, -1.0)), angles(np.ones(12))
    assert low[:3] == pytest.approx([-0.787, -0.995, -2.679], abs=1e-3)
    assert high[:3] == pytest.approx([0.787, 3.665, -1.628], abs=1e-3)
    assert angles(STANDING)[:3] == pytest.approx([0, 0.869, -1.628], abs=1e-3)
    some = np.linspace(-1, 1, 12)
    assert as_action(angles(some)) == pytest.approx(some)


def test_the_filter_is_the_butterworth_of_second_order_at_1_5_of_20_hz():
    """Response to a unit step of scipy.signal.butter(2, 1.5, fs=20)."""
    lowpass = LowPass(1.5, 20.0)
    step = [float(lowpass(np.ones(()))) for _ in range(8)]
    assert step == pytest.approx(GOLDEN, abs=1e-12)


def test_targets_come_from_the_filter_that_starts_at_the_joints_angles(make, monkeypatch):
    robot = make("stand")
    robot.reset(1)
    driven: list[tuple[np.ndarray, np.ndarray]] = []
    monkeypatch.setattr(Body, "drive", lambda _, start, goal, *rest: driven.append((start, goal)))
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 12)).astype(np.float32)
    lowpass, last = LowPass(1.5, 20.0), robot._body.joints()
    lowpass.reset(last)
    run(robot, 3, lambda t: actions[t])
    robot.reset(None)
    run(robot, 2, lambda t: actions[3 + t])
    for action, (start, goal) in zip(actions, driven, strict=True):
        assert np.array_equal(start, last)
        last = lowpass(angles(action))
        assert np.array_equal(goal, last)


def test_a_command_is_approached_on_a_straight_line(make, monkeypatch):
    robot = make("stand")
    robot.reset(1)
    targets: list[np.ndarray] = []
    monkeypatch.setattr(
        "sim.a1_body.torques", lambda target, angle, rate: targets.append(target) or np.zeros(12)
    )
    robot._body.drive(np.zeros(12), np.arange(12.0), 50)
    assert len(targets) == 50
    assert targets[0] == pytest.approx(np.arange(12) / 50)
    assert targets[-1] == pytest.approx(np.arange(12))
    assert np.ptp(np.diff(targets, axis=0), axis=0) == pytest.approx(0, abs=1e-12)


def test_torques_by_hand():
    angle, rate = angles(STANDING), np.zeros(12)
    target = angle.copy()
    target[1] += 0.1  # 100 * 0.1
    target[4] += 3.0  # no farther than 0.2 rad
    rate[3], rate[5] = 2.0, -2.0  # kd 1 and 2
    rate[6] = 100.0  # saturates
    torque = torques(target, angle, rate)
    expected = {1: 10.0, 4: 20.0, 3: -2.0, 5: 4.0, 6: -33.5}
    for joint in range(12):
        assert torque[joint] == pytest.approx(expected.get(joint, 0.0))
    assert KP == 100
    assert KD[:3].tolist() == [1, 2, 2]


def test_no_command_lies_beyond_a_joints_limits():
    torque = torques(HIGH + 1, HIGH - 0.05, np.zeros(12))
    assert torque == pytest.approx(np.full(12, 100 * 0.05))
    torque = torques(LOW - 1, LOW + 0.05, np.zeros(12))
    assert torque == pytest.approx(np.full(12, -100 * 0.05))


def test_a_segment_without_a_seed_goes_on_as_if_there_had_been_none(make):
    robot, other = make(), make()
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (30, 12)).astype(np.float32)
    robot.reset(4)
    through = vectors(run(robot, 30, lambda t: actions[t]))
    other.reset(4)
    first = run(other, 15, lambda t: actions[t])
    other.reset(None)
    assert np.array_equal(other.observe().obs["vector"], first[-1].obs["vector"])
    second = run(other, 15, lambda t: actions[15 + t])
    assert np.array_equal(through, vectors(first + second))


def test_a_segment_may_have_another_mass_but_the_same_pose(make):
    robot = make("stand", vary={"mass": 0.3, "friction": 0.3})
    robot.reset(4)
    masses, poses = [], []
    for _ in range(3):
        run(robot, 3)
        before = robot.observe().obs["vector"]
        robot.reset(None)
        poses.append(np.array_equal(before, robot.observe().obs["vector"]))
        masses.append(robot._drawn.mass)
    assert all(poses)
    assert len(set(masses)) == 3
    assert rewards(run(robot, 40)).min() > 8


def test_a_varied_mass_scales_inertias_with_it(make):
    robot = make("stand")
    robot.reset(0)
    world, body = robot._world, robot._body
    before = [world.getDynamicsInfo(body._body, link) for link in range(-1, 12)]
    body.vary(World(mass=1.5, friction=0.5))
    for link, old in zip(range(-1, 12), before, strict=True):
        new = world.getDynamicsInfo(body._body, link)
        assert new[0] == pytest.approx(1.5 * old[0])
        assert new[1] == pytest.approx(0.5 * old[1])
        assert np.array(new[2]) == pytest.approx(1.5 * np.array(old[2]))


def place(robot: A1, x: float, y: float) -> None:
    robot._body.carry((x, y, 0.0))


@pytest.mark.parametrize(
    ("x", "y", "carried"), [(AREA - 0.5, 0, 0), (AREA + 0.5, 0, 1), (-3, 3, 1)]
)
def test_outside_its_area_it_is_carried_back_in_its_pose(make, x, y, carried):
    robot, alone = make("stand"), make("stand")
    for each in (robot, alone):
        each.reset(2)
    place(robot, x, y)
    moved, stayed = run(robot, 20), run(alone, 20)
    assert sum(reading.info["carried"] for reading in moved) == carried
    assert vectors(moved) == pytest.approx(vectors(stayed), abs=0.02)
    position = robot._body.state().position
    expected = (0, 0) if carried else (x, y)
    assert position[:2] == pytest.approx(expected, abs=0.05)


def test_carrying_keeps_all_velocities(make):
    robot = make("random")
    robot.reset(2)
    run(robot, 10, lambda t: np.sin(np.arange(12) + t).astype(np.float32))
    before = robot._body.state()
    robot._body.carry((1.0, -2.0, 0.1))
    after = robot._body.state()
    assert after.position - before.position == pytest.approx([1, -2, 0.1])
    for part in ("rotation", "velocity", "spin", "joints"):
        assert getattr(after, part) == pytest.approx(getattr(before, part))


def test_pushes_come_at_random_times_and_throw_it_about(make):
    calm, pushed, again = make("stand"), make("stand", push_n=60.0), make("stand", push_n=60.0)
    for robot in (calm, pushed, again):
        robot.reset(5)
        run(robot, 20)  # until it stands still
    speeds = [
        np.array([abs(reading.info["speed"]) for reading in run(robot, 160)])
        for robot in (calm, pushed, again)
    ]
    assert speeds[0].max() < 0.02
    assert speeds[1].max() > 0.2
    assert np.median(speeds[1]) < 0.1  # most of the time nobody pushes
    assert np.array_equal(speeds[1], speeds[2])


def test_it_holds_what_it_was_last_asked_for(make):
    robot, other = make("stand"), make("stand")
    action = np.clip(STAND + 0.1, -1, 1)
    for each in (robot, other):
        each.reset(3)
        each.apply(action)
    assert np.array_equal(robot.hold(), action)
    other.apply(action)
    assert np.array_equal(robot.observe().obs["vector"], other.observe().obs["vector"])


def test_holding_right_after_the_start_keeps_the_pose(make):
    robot = make("back")
    robot.reset(3)
    before = robot.observe().obs["vector"]
    for _ in range(5):
        robot.hold()
    assert robot.observe().obs["vector"][4:] == pytest.approx(before[4:], abs=0.1)


def test_it_stands_on_hills(make):
    robot = make("stand", terrain=0.05)
    robot.reset(1)
    assert rewards(run(robot, 60)).min() > 7.5
    other = make("stand", terrain=0.05)
    other.reset(1)
    assert np.array_equal(vectors(run(other, 60))[-1], robot.observe().obs["vector"])


def test_it_is_lifted_over_hills_when_it_is_carried(make):
    robot = make("stand", terrain=0.05)
    robot.reset(1)
    run(robot, 5)
    robot._body.carry((AREA + 0.2, 0.0, 0.2))
    readings = run(robot, 60)
    x, y, z = robot._body.state().position
    assert abs(x) + abs(y) < 0.5
    assert z > 0.2
    assert readings[-1].info["up"] > 0.9


def test_pictures_follow_the_robot(make):
    robot = make("stand")
    robot.reset(0)
    before = robot.picture(64)
    assert before.shape == (64, 64, 3)
    assert before.dtype == np.uint8
    place(robot, 2.0, 0.0)
    assert np.abs(robot.picture(64).astype(int) - before).mean() < 30
    orange = (before[..., 0] > 150) & (before[..., 2] < 110)
    assert 20 < orange.sum() < 1000


@pytest.mark.parametrize("terrain", [0.0, 0.08])
def test_pictures_disturb_nothing(make, terrain):
    watched, alone = make("random", terrain=terrain), make("random", terrain=terrain)
    for robot in (watched, alone):
        robot.reset(0)
    for step in range(20):
        action = np.sin(np.arange(12) + step).astype(np.float32)
        for robot in (watched, alone):
            robot.apply(action)
        watched.picture(32)
        assert np.array_equal(watched.observe().obs["vector"], alone.observe().obs["vector"])


@pytest.mark.parametrize(
    "options",
    [{"start": "sitting"}, {"push_n": -1.0}, {"terrain": np.inf}, {"vary": {"mass": 1.0}}],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        A1(**options)


def described() -> tuple[ElementTree.Element, ElementTree.Element]:
    original = ElementTree.parse(f"{pybullet_data.getDataPath()}/a1/a1.urdf").getroot()
    mended = ElementTree.parse(f"{pybullet_data.getDataPath()}/a1/a1.urdf").getroot()
    a1_urdf.correct(mended)
    return original, mended


def test_the_corrected_description_has_twelve_links_and_the_same_mass():
    original, mended = described()
    masses = [
        sum(float(mass.attrib["value"]) for mass in robot.iter("mass"))
        for robot in (original, mended)
    ]
    assert masses[1] == pytest.approx(masses[0])
    assert len(mended.findall("joint")) == 12
    assert len(mended.findall("link")) == 13
    assert len(list(original.iter("collision"))) == len(list(mended.iter("collision")))
    assert {limit.attrib["effort"] for limit in mended.iter("limit")} == {"33.5"}


def test_every_inertia_is_one_that_the_mass_can_have_within_its_link():
    """A lower leg is 0.2 m long, with its toe 0.02 m more; the pristine file's cannot be."""
    _, mended = described()
    for link in mended.findall("link"):
        mass, centre, inertia = a1_urdf._inertial(link)
        moments = np.linalg.eigvalsh(inertia)
        assert moments[0] > 0
        assert moments[2] <= moments[0] + moments[1] + 1e-5
        if "lower" in link.attrib["name"]:
            reach = (-centre[2]) * (0.22 + centre[2])  # most that masses at both ends could give
            assert moments[2] < mass * reach


def test_the_engine_takes_the_inertias_of_the_file_and_lets_legs_collide():
    world = Engine()
    empty(world, 1000)
    body = a1_urdf.load(world)
    trunk = world.getDynamicsInfo(body, -1)
    assert sorted(trunk[2]) == pytest.approx([0.0169, 0.0567, 0.0648], rel=0.01)
    for joint, angle in enumerate(angles(STANDING)):
        world.resetJointState(body, joint, angle)
    world.performCollisionDetection()
    assert not world.getContactPoints(body, body)
    for joint in (0, 3):  # both front hips inwards
        world.resetJointState(body, joint, (0.8, -0.8)[joint // 3])
    world.performCollisionDetection()
    assert world.getContactPoints(body, body)
    world.disconnect()


def test_the_pose_is_that_of_the_trunk_and_not_of_its_axes_of_inertia(make):
    robot = make("stand")
    robot.reset(0)
    body, half = robot._body, np.sin(np.pi / 4)
    body.place((1.0, 2.0, 3.0), (0.0, 0.0, half, half), angles(STANDING))
    state = body.state()
    assert state.position == pytest.approx([1, 2, 3], abs=1e-6)
    assert state.rotation == pytest.approx(np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]), abs=1e-6)
    front_right = robot._world.getLinkState(body._body, 0)[4]
    assert front_right == pytest.approx([1 + 0.047, 2 + 0.183, 3], abs=1e-5)


@pytest.mark.parametrize(("roll", "pitch"), [(0.3, 0.0), (0.0, 0.4), (-3.0, -1.0), (2.0, 1.2)])
def test_roll_and_pitch_are_those_of_the_engine(roll, pitch):
    world = Engine()
    quaternion = world.getQuaternionFromEuler([roll, pitch, 0.7])
    rotation = np.array(world.getMatrixFromQuaternion(quaternion)).reshape(3, 3)
    none = np.zeros(3)
    assert State(none, rotation, none, none, none).tilt == pytest.approx((roll, pitch), abs=1e-6)
    world.disconnect()


def test_a_fall_is_told_once_and_only_where_it_begins_standing(make):
    """Turned over by hand, back on its feet, and over again."""
    upright, over = (0.0, 0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0)
    for start, falls in (("stand", 2), ("back", 0)):
        robot, told = make(start=start), 0
        robot.reset(0)
        for orientation in (upright, over, over, upright, over):
            robot._body.place((0.0, 0.0, 0.4), orientation, STANDING)
            robot.apply(STAND)
            told += robot.observe().info.get("fell", 0)
            robot.reset()  # the next segment is no new fall
        assert told == falls
