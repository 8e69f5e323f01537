"""Faults do what they say, no more, and the same for the same seed."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_client.errors import RobotError, SchemaError
from robot_client.guard import GuardedRobot
from robot_client.robot import Action, Reading, Robot
from robot_client.robots import Faults, Faulty, make_robot
from robot_client.robots.fitted import fit
from robot_client.safety import SafetyFilter
from robot_client.schema import Task
from tests.unit.control import Chooser, start

DELAYS = st.integers(0, 5)


class Steps:
    """Sees in which step of the episode it is; remembers what it executed."""

    control_hz = 4.0
    task = Task("count", 50)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation_space = spaces.Dict(
        {
            "camera": spaces.Box(0, 255, (16, 16, 3), np.uint8),
            "free": spaces.Box(-np.inf, np.inf, (400,), np.float32),
            "n": spaces.Discrete(100),
            "vector": spaces.Box(-20.0, 180.0, (400,), np.float32),
        }
    )

    def __init__(self) -> None:
        self.t, self.executed, self.calls = 0, [], []  # type: ignore[var-annotated]

    def connect(self) -> None:
        self.calls.append("connect")

    def reset(self, seed: int | None = None) -> None:
        self.t = 0

    def apply(self, action: Action) -> Action:
        self.t += 1
        self.executed.append(float(action[0]))
        return np.clip(action, -0.5, 0.5)

    def observe(self) -> Reading:
        obs = {
            "camera": np.full((16, 16, 3), self.t, np.uint8),
            "free": np.full(400, self.t, np.float32),
            "n": np.asarray(self.t),
            "vector": np.full(400, self.t, np.float32),
        }
        return Reading(obs, float(self.t), self.t == 40, info={"t": self.t})

    def stop(self) -> None:
        self.calls.append("stop")

    def close(self) -> None:
        self.calls.append("close")


def faulty(**faults: Any) -> tuple[Faulty, Steps]:
    robot = Steps()
    return Faulty(robot, Faults(**faults)), robot


def play(robot: Robot, steps: int, seed: int | None = 0) -> list[Reading]:
    robot.reset(seed)
    readings = [robot.observe()]
    for _ in range(steps):
        robot.apply(np.zeros(1, np.float32))
        readings.append(robot.observe())
    return readings


def seen(readings: list[Reading], key: str = "n") -> list[int]:
    return [int(reading.obs[key].flat[0]) for reading in readings]


def same(left: list[Reading], right: list[Reading]) -> bool:
    return all(
        a.reward == b.reward and all(np.array_equal(a.obs[k], b.obs[k]) for k in a.obs)
        for a, b in zip(left, right, strict=True)
    )


def test_without_faults_nothing_changes() -> None:
    robot, inner = faulty()
    assert same(play(robot, 8), play(inner, 8))
    assert robot.apply(np.ones(1, np.float32)).tolist() == [0.5]


@given(delay=DELAYS, steps=st.integers(0, 12))
def test_observations_are_late_by_whole_steps_and_nothing_else_is(delay: int, steps: int) -> None:
    robot, _ = faulty(observation_delay=delay)
    for _ in range(2):  # the second episode sees nothing of the first
        readings = play(robot, steps)
        assert seen(readings) == [max(0, t - delay) for t in range(steps + 1)]
        assert seen(readings, "camera") == seen(readings)
        assert [reading.reward for reading in readings] == list(range(steps + 1))
        assert [reading.info["t"] for reading in readings] == list(range(steps + 1))


def test_an_episode_ends_when_it_ends_however_late_that_is_seen() -> None:
    readings = play(faulty(observation_delay=3)[0], 40)
    assert [reading.terminated for reading in readings] == [False] * 40 + [True]
    assert seen(readings)[-1] == 37


@given(delay=DELAYS, wanted=st.lists(st.floats(-0.5, 0.5, width=32), max_size=12))
def test_actions_are_late_and_the_executed_one_is_returned(delay: int, wanted: list[float]) -> None:
    robot, inner = faulty(action_delay=delay)
    expected = ([0.0] * delay + wanted)[: len(wanted)]
    for _ in range(2):
        robot.reset(0)
        inner.executed.clear()
        action = np.zeros(1, np.float32)
        executed = []
        for value in wanted:
            action[0] = value  # the array may be used again
            executed.append(float(robot.apply(action)[0]))
        assert executed == inner.executed == expected


def test_what_is_returned_has_passed_the_robots_own_limits() -> None:
    robot, inner = faulty(action_delay=1)
    robot.reset(0)
    returned = [robot.apply(np.full(1, value, np.float32))[0] for value in (0.9, -0.25, 0)]
    assert inner.executed == pytest.approx([0, 0.9, -0.25])
    assert returned == pytest.approx([0, 0.5, -0.25])


@given(
    delay=DELAYS,
    rate=st.sampled_from([0.05, 0.25]),
    wanted=st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=20),
)
def test_late_actions_keep_the_rate_that_the_robot_declares(
    delay: int, rate: float, wanted: list[float]
) -> None:
    inner = Steps()
    inner.max_rate = rate  # type: ignore[attr-defined]
    robot = Faulty(inner, Faults(action_delay=delay))
    limit = SafetyFilter(robot.action_space, robot.control_hz, max_rate=rate)
    robot.reset(0)
    for value in wanted:  # as the runtime does
        limit.executed(robot.apply(limit(np.full(1, value / 2, np.float32))))
    assert np.abs(np.diff([0.0, *inner.executed])).max() <= 2 * rate + 1e-6


def test_until_the_first_action_arrives_the_robot_rests_as_it_declares() -> None:
    inner = Steps()
    inner.rest_action = np.array([0.25], np.float32)  # type: ignore[attr-defined]
    robot = Faulty(inner, Faults(action_delay=2))
    play(robot, 3)
    assert inner.executed == [0.25, 0.25, 0]


@given(drop=st.floats(0.0, 1.0), delay=DELAYS, seed=st.integers(0, 2**32))
def test_a_lost_observation_is_the_one_before_again(drop: float, delay: int, seed: int) -> None:
    readings = play(faulty(drop=drop, observation_delay=delay)[0], 15, seed)
    found = seen(readings)
    assert found[0] == 0
    for t, (before, now) in enumerate(itertools.pairwise(found), 1):
        assert now in (before, max(0, t - delay))
    assert all(seen(readings, key) == found for key in ("camera", "vector", "free"))
    assert [reading.reward for reading in readings] == list(range(16))


def test_frames_are_lost_as_often_as_asked_for() -> None:
    found = np.array([seen(play(faulty(drop=0.3)[0], 39, seed)) for seed in range(50)])
    assert (np.diff(found) == 0).mean() == pytest.approx(0.3, abs=0.05)
    assert set(seen(play(faulty(drop=1.0)[0], 9))) == {0}


@given(seed=st.integers(0, 2**32), freeze_s=st.sampled_from([0.0, 0.25, 0.5, 1.25]))
def test_a_frozen_camera_stands_still_for_its_time_and_only_it(seed: int, freeze_s: float) -> None:
    readings = play(faulty(freeze=0.2, freeze_s=freeze_s)[0], 39, seed)
    assert seen(readings) == seen(readings, "vector") == list(range(40))
    steps = max(1, round(freeze_s * 4))
    found = np.array(seen(readings, "camera"))
    late = np.arange(40) - found
    assert (late >= 0).all()
    thaws = np.flatnonzero((late[1:] == 0) & (late[:-1] > 0))
    assert all(late[t] % steps == 0 for t in thaws)  # one freeze may follow another


def test_a_freeze_lasts_a_step_at_least() -> None:
    assert set(seen(play(faulty(freeze=1.0, freeze_s=0.0)[0], 9), "camera")) == {0}


def test_a_reset_wakes_a_frozen_camera() -> None:
    robot, _ = faulty(freeze=1.0, freeze_s=100.0)
    assert set(seen(play(robot, 5), "camera")) == {0}
    robot._robot.t = 7
    robot._robot.reset = lambda seed: None  # type: ignore[method-assign]
    robot.reset()
    assert seen([robot.observe()], "camera") == [7]


def test_noise_is_a_share_of_the_range_or_absolute_where_there_is_none() -> None:
    readings = play(faulty(noise=0.05)[0], 39)
    for key, deviation in (("vector", 0.05 * 200), ("free", 0.05)):
        errors = np.array([r.obs[key] - t for t, r in enumerate(readings)])
        assert errors.std() == pytest.approx(deviation, rel=0.05)
        assert abs(errors.mean()) < 0.05 * deviation
        assert readings[0].obs[key].dtype == np.float32
    assert seen(readings) == seen(readings, "camera") == list(range(40))


def test_noise_on_images_is_a_share_of_full_brightness() -> None:
    robot, inner = faulty(image_noise=0.02)
    inner.reset = lambda seed: setattr(inner, "t", 99)  # type: ignore[method-assign]
    readings = [play(robot, 0, seed)[0] for seed in range(20)]
    cameras = np.array([reading.obs["camera"] for reading in readings])
    assert cameras.dtype == np.uint8
    assert cameras.std() == pytest.approx(5.1, rel=0.05)
    assert cameras.mean() == pytest.approx(99, abs=0.2)  # rounded, not cut off
    assert all((reading.obs["vector"] == 99).all() for reading in readings)


def test_a_stop_from_another_thread_leaves_a_reading() -> None:
    robot, inner = faulty()
    robot.reset(0)
    look = inner.observe

    def observe() -> Reading:
        thread = threading.Thread(target=robot.stop)
        thread.start()
        thread.join()
        return look()

    inner.observe = observe  # type: ignore[method-assign]
    assert seen([robot.observe()]) == [0]


@settings(max_examples=20)
@given(noise=st.floats(0.0, 10.0), image_noise=st.floats(0.0, 1.0))
def test_what_is_seen_stays_in_the_declared_space(noise: float, image_noise: float) -> None:
    robot, _ = faulty(noise=noise, image_noise=image_noise)
    for reading in play(robot, 5):
        assert robot.observation_space.contains(dict(reading.obs))


ALL = {
    "observation_delay": 2,
    "action_delay": 1,
    "noise": 0.1,
    "image_noise": 0.1,
    "drop": 0.3,
    "freeze": 0.2,
    "freeze_s": 0.5,
}


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_a_seed_fixes_the_faults_whatever_went_before(seed: int) -> None:
    robot, _ = faulty(**ALL)
    play(robot, 7, seed=1)
    first = play(robot, 20, seed)
    second = play(robot, 20, None)
    assert same(first, play(faulty(**ALL)[0], 20, seed))
    assert same(first, play(robot, 20, seed))
    assert same(second, play(robot, 20, None))  # what follows a seed is fixed too
    assert not same(first, second)


def test_the_faults_share_no_random_numbers_with_the_robot() -> None:
    robot, _ = faulty(noise=1.0)
    error = play(robot, 0, seed=5)[0].obs["free"]
    assert not np.allclose(error, np.random.default_rng(5).standard_normal(400))


def test_looking_twice_shows_the_same_and_no_later_fault_changes_it() -> None:
    robot, _ = faulty(**ALL)
    readings = play(robot, 10)
    copies = [{k: v.copy() for k, v in reading.obs.items()} for reading in readings]
    assert same([robot.observe()], [readings[-1]])
    play(robot, 10, None)
    for reading, copy in zip(readings, copies, strict=True):
        assert all(np.array_equal(reading.obs[key], copy[key]) for key in copy)


def test_a_robot_that_reuses_its_arrays_is_seen_late_all_the_same() -> None:
    robot, inner = faulty(observation_delay=2)
    shared = inner.observe().obs["vector"]
    look = inner.observe

    def observe() -> Reading:
        reading = look()
        shared[:] = inner.t
        return Reading({**reading.obs, "vector": shared}, reading.reward)

    inner.observe = observe  # type: ignore[method-assign]
    assert seen(play(robot, 5), "vector") == [0, 0, 0, 1, 2, 3]


def test_stop_and_close_pass_at_once_and_what_was_asked_before_never_happens() -> None:
    robot, inner = faulty(action_delay=2)
    robot.connect()
    robot.reset(0)
    for value in (0.1, 0.2):
        robot.apply(np.full(1, value, np.float32))
    thread = threading.Thread(target=robot.stop)
    thread.start()
    thread.join()
    assert inner.calls == ["connect", "stop"]
    for value in (0.3, 0.4, 0.5):
        robot.apply(np.full(1, value, np.float32))
    assert inner.executed == pytest.approx([0, 0, 0, 0, 0.3])
    robot.stop()
    robot.close()
    assert inner.calls == ["connect", "stop", "stop", "close"]


def test_time_goes_on_in_a_robot_that_is_stopped() -> None:
    robot, inner = faulty(observation_delay=1)
    play(robot, 2)
    inner.t += 1
    assert seen([robot.observe()]) == [1]
    robot.stop()
    assert seen([robot.observe()]) == [2]


def test_holding_is_at_once_and_goes_on_until_an_action_arrives() -> None:
    inner = Steps()
    inner.hold = lambda: np.array([0.125], np.float32)  # type: ignore[attr-defined]
    robot = Faulty(inner, Faults(action_delay=1))
    robot.reset(0)
    robot.apply(np.full(1, 0.5, np.float32))
    assert GuardedRobot(robot).hold() == 0.125
    robot.apply(np.full(1, 0.25, np.float32))
    robot.apply(np.zeros(1, np.float32))
    assert inner.executed == [0, 0.125, 0.25]
    assert GuardedRobot(faulty()[0]).hold() is None


def test_what_the_robot_declares_and_can_is_passed_on() -> None:
    inner = Steps()
    inner.max_rate, inner.blend_steps, inner.action_filter_hz = 0.1, 0, 1.5  # type: ignore[attr-defined]
    inner.picture = lambda pixels: np.zeros((pixels, pixels, 3), np.uint8)  # type: ignore[attr-defined]
    robot = Faulty(inner, Faults(noise=0.1))
    declared = (robot.max_rate, robot.blend_steps, robot.action_filter_hz)
    assert declared == (0.1, 0, 1.5)
    assert robot.picture(8).shape == (8, 8, 3)
    assert not hasattr(robot, "rest_action")
    assert fit([robot])[0].max_rate == 0.1  # type: ignore[attr-defined]
    step = SafetyFilter.for_robot(Faulty(make_robot("pointmass"), Faults()))
    assert step(np.ones(2, np.float32)).tolist() == [1, 1]  # not blended: blend_steps is 0


@pytest.mark.parametrize("action", [np.array([np.nan], np.float32), np.zeros(2, np.float32)])
def test_a_bad_action_is_refused_when_it_is_asked_for(action: Action) -> None:
    robot, inner = faulty(action_delay=3)
    robot.reset(0)
    with pytest.raises(RobotError, match="finite numbers of shape"):
        robot.apply(action)
    assert inner.executed == []


def test_rows_hold_what_was_executed_and_what_was_asked() -> None:
    robot, inner = faulty(action_delay=2, observation_delay=1)
    inner.blend_steps = 0  # type: ignore[attr-defined]
    wanted = iter(np.arange(1, 20) / 64)
    chooser = Chooser(lambda _: np.full(1, next(wanted), np.float32))
    runtime, kept, _ = start(robot, chooser, seed=0, max_steps=6)
    runtime.run()
    rows = kept.rows[:6]
    assert [row["action_requested"] * 64 for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["action"] * 64 for row in rows] == [0, 0, 1, 2, 3, 4]
    assert [row["reward"] for row in kept.rows] == list(range(7))
    assert [int(row["n"]) for row in kept.rows] == [0, 0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("faults", "field", "text"),
    [
        ({"observation_dely": 2}, "faults.observation_dely", "did you mean 'observation_delay'"),
        ({"observation_delay": 1.5}, "faults.observation_delay", "whole steps, got 1.5"),
        ({"action_delay": True}, "faults.action_delay", "whole steps"),
        ({"action_delay": -1}, "faults.action_delay", "whole steps"),
        ({"drop": 1.1}, "faults.drop", "a number from 0 to 1"),
        ({"freeze": "often"}, "faults.freeze", "'often'"),
        ({"noise": float("nan")}, "faults.noise", "nan"),
        ({"freeze_s": float("inf")}, "faults.freeze_s", "inf"),
        ([], "faults", "an object"),
    ],
)
@pytest.mark.parametrize("name", ["pointmass", "gym:Pendulum-v1"])
def test_faults_that_make_no_sense_are_refused_by_name(
    name: str, faults: Any, field: str, text: str
) -> None:
    with pytest.raises(SchemaError, match=text) as refused:
        make_robot(name, faults=faults)
    assert refused.value.field == field


def test_any_robot_is_made_with_faults_by_its_name() -> None:
    robot = make_robot('pointmass {"dims": 1, "faults": {"observation_delay": 2}}')
    plain = make_robot('pointmass {"dims": 1}')
    late, now = ([r.obs["vector"] for r in play(each, 9)] for each in (robot, plain))
    assert isinstance(robot, Faulty)
    assert np.array_equal(late[2:], now[:-2])
    assert not isinstance(make_robot("pointmass", faults=None), Faulty)
