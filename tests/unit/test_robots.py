from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from robot_client.clock import ManualClock
from robot_client.errors import RobotError, SchemaError
from robot_client.robot import Reading
from robot_client.robots import make_robot
from robot_client.robots.counting import CountingRobot
from robot_client.robots.env import RobotEnv
from robot_client.robots.gym import GymRobot
from robot_client.testing import check_robot


class Odd(gymnasium.Env[Any, Any]):
    """An environment with the spaces that a test gives it."""

    def __init__(self, observed: spaces.Space[Any], actions: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observed, actions
        self.got: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        self.got.append(action)
        return self.observation_space.sample(), 1, False, False, {}


class Registered:
    """Registers `Odd` while a test runs."""

    def __enter__(self) -> str:
        gymnasium.register("Odd-v0", Odd, max_episode_steps=4)
        return "gym:Odd-v0"

    def __exit__(self, *_: object) -> None:
        gymnasium.registry.pop("Odd-v0")


def odd(observed: spaces.Space[Any], actions: spaces.Space[Any]) -> Any:
    with Registered() as spec:
        return make_robot(spec, observed=observed, actions=actions)


BOX = spaces.Box(-1, 1, (2,), np.float64)


def test_float64_becomes_float32_and_back() -> None:
    robot = odd(BOX, BOX)
    assert robot.observation_space["obs"].dtype == np.float32
    robot.reset(0)
    assert robot.apply(np.array([3, -0.5], np.float32)).tolist() == [1, -0.5]
    assert robot._env.unwrapped.got[0].dtype == np.float64
    assert robot.observe().obs["obs"].dtype == np.float32


def test_an_image_is_named_so() -> None:
    robot = odd(spaces.Box(0, 255, (8, 8, 3), np.uint8), spaces.Discrete(2))
    assert list(robot.observation_space) == ["image"]
    robot.reset()
    assert robot.observe().obs["image"].dtype == np.uint8


def test_a_dict_keeps_its_keys_and_discrete_starts_at_zero() -> None:
    observed = spaces.Dict({"place": spaces.Discrete(3, start=5), "joint": BOX})
    robot = odd(observed, spaces.Discrete(2, start=7))
    assert set(robot.observation_space) == {"place", "joint"}
    robot.reset()
    assert 0 <= robot.observe().obs["place"] < 3
    robot.apply(np.asarray(1))
    assert robot._env.unwrapped.got == [8]


def test_bounds_too_wide_for_float32_are_none() -> None:
    robot = odd(spaces.Box(-1e300, 5, (1,), np.float64), spaces.Discrete(2))
    space = robot.observation_space["obs"]
    assert (space.low[0], space.high[0]) == (-np.inf, 5)


@pytest.mark.parametrize(
    ("observed", "actions", "field"),
    [
        (BOX, spaces.MultiDiscrete([2, 2]), "action_space"),
        (BOX, spaces.Box(0, 3, (1,), np.int32), "action_space"),
        (spaces.MultiBinary(3), spaces.Discrete(2), "observation_space.obs"),
        (spaces.Dict({"a": spaces.Dict({"b": BOX})}), spaces.Discrete(2), "observation_space.a"),
    ],
)
def test_other_spaces_are_refused_by_name(
    observed: spaces.Space[Any], actions: spaces.Space[Any], field: str
) -> None:
    with pytest.raises(SchemaError) as refused:
        odd(observed, actions)
    assert refused.value.field == field


def test_the_environments_time_limit_is_a_truncation() -> None:
    robot = odd(BOX, spaces.Discrete(2))
    robot.reset()
    flags = []
    for _ in range(4):
        robot.apply(np.asarray(0))
        flags.append(robot.observe().truncated)
    assert flags == [False, False, False, True]


def test_rates_come_from_the_metadata() -> None:
    assert make_robot("gym:Pendulum-v1").control_hz == 30
    assert odd(BOX, BOX).control_hz == 20


def test_a_gym_robot_says_how_long_its_episodes_are() -> None:
    assert make_robot("gym:Pendulum-v1").task.episode_steps == 200
    assert make_robot("gym:Pendulum-v1", max_episode_steps=30).task.episode_steps == 30
    assert make_robot("gym:CliffWalking-v1").task.episode_steps is None


def test_a_gym_robot_can_be_connected_again() -> None:
    robot = GymRobot("CartPole-v1")
    for _ in range(2):
        robot.connect()
        robot.reset(0)
        robot.apply(np.asarray(1))
        robot.stop()
        robot.close()
    with pytest.raises(RobotError, match="before reset"):
        robot.observe()


@pytest.mark.parametrize(
    ("spec", "options", "why"),
    [
        ("countin", {}, "did you mean 'counting'"),
        ("gym:Nowhere-v0", {}, "Nowhere"),
        ("no_such_module:Robot", {}, "no_such_module"),
        ("robot_client.robots.counting:Nothing", {}, "Nothing"),
        ("counting", {"speed": 3}, "speed"),
        ("pathlib:Path", {}, "it lacks observation_space"),
    ],
)
def test_a_wrong_name_says_what_is_wrong(spec: str, options: dict[str, Any], why: str) -> None:
    with pytest.raises(RobotError, match=why):
        make_robot(spec, **options)


def test_a_users_own_class() -> None:
    robot = make_robot("robot_client.robots.counting:CountingRobot", episode_steps=3)
    assert robot.task.episode_steps == 3


def test_any_robot_is_an_environment() -> None:
    clock = ManualClock()
    env = RobotEnv(CountingRobot(episode_steps=2, action="box"), clock)
    obs, _ = env.reset(seed=1)
    assert obs["count"].tolist() == [0, 0, 1]
    obs, reward, terminated, truncated, info = env.step(np.array([2.0]))
    assert (obs["count"].tolist(), reward, terminated, truncated) == ([0, 1, 2], 2, False, False)
    assert info["executed"].tolist() == [1]
    assert env.step(np.array([0.0]))[3]
    assert clock.monotonic() == pytest.approx(0.1)
    env.close()


def test_a_killed_counting_robot_goes_on(tmp_path: Path) -> None:
    path = str(tmp_path / "count.json")
    robot = CountingRobot(path=path)
    robot.connect()
    robot.reset()
    robot.apply(np.asarray(0))
    again = CountingRobot(path=path)
    again.connect()
    again.reset()
    assert again.observe().obs["count"].tolist() == [1, 0, 3]


class Broken(CountingRobot):
    """Breaks the contract in the way that a test names."""

    def __init__(self, how: str) -> None:
        super().__init__(action="box")
        self.how, self.looks = how, 0
        if how == "reserved":
            self.observation_space = spaces.Dict({"reward": BOX})
        if how == "rate":
            self.control_hz = 0.0
        if how == "float64 action":
            self.action_space = spaces.Box(-1, 1, (1,), np.float64)

    def observe(self) -> Reading:
        reading = super().observe()
        self.looks += 1
        count = reading.obs["count"]
        changed: dict[str, Any] = {
            "dtype": count.astype(np.float64),
            "shape": count[:2],
            "nan": count * np.nan,
            "bounds": -count - 1,
            "restless": count + self.looks,
        }
        if self.how == "key":
            return Reading({"other": count})
        reward = 1.0 if self.how == "reward" else reading.reward
        return Reading({"count": changed.get(self.how, count)}, reward)

    def apply(self, action: Any) -> Any:
        sent = super().apply(action)
        if self.how == "nothing":
            return None
        if self.how == "in place":
            action += 0.25
        return sent * 5 + 2 if self.how == "executed" else sent

    def stop(self) -> None:
        if self.how == "stop" and self.looks:
            raise OSError("stuck")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("reserved", "observation_space.reward"),
        ("rate", "control_hz"),
        ("float64 action", "action_space"),
        ("dtype", "float64"),
        ("shape", r"\(2,\)"),
        ("nan", "NaN"),
        ("bounds", "obs.count after reset: expected 0.0 to"),
        ("restless", "observe twice"),
        ("key", r"\['other'\]"),
        ("reward", "first reward"),
        ("nothing", "returned by apply of step 0"),
        ("in place", "changed the array"),
        ("executed", "returned by apply"),
    ],
)
def test_the_checker_finds(how: str, why: str) -> None:
    with pytest.raises((RobotError, SchemaError), match=why):
        check_robot(Broken(how), seeded=False)


def test_the_checker_finds_a_stop_that_raises() -> None:
    with pytest.raises((RobotError, OSError), match="stuck"):
        check_robot(Broken("stop"), seeded=False)


def test_the_checker_compares_seeded_resets() -> None:
    with pytest.raises(RobotError, match=r"reset\(0\) twice"):
        check_robot(CountingRobot())
    check_robot(CountingRobot(), seeded=False)


class Shown(CountingRobot):
    """Shows its count, and gives the same array each time."""

    def __init__(self) -> None:
        super().__init__(action="box")
        self.observation_space = spaces.Dict({"count": BOX32, "place": spaces.Discrete(3, start=0)})
        self._obs = {"count": np.zeros(2, np.float32), "place": np.asarray(2)}

    def observe(self) -> Reading:
        return Reading(self._obs, info={"counts": self._obs["count"]})

    def picture(self, pixels: int = 256) -> Any:
        return np.full((pixels, pixels, 3), 7, np.uint8)


BOX32 = spaces.Box(-1, 1, (2,), np.float32)


def test_what_an_environment_returns_is_the_callers_own() -> None:
    robot = Shown()
    env = RobotEnv(robot)
    obs, info = env.reset()
    obs["count"][:] = info["counts"][:] = 9
    action = np.zeros(1, np.float32)
    after, *_, info = env.step(action)
    assert after["count"].tolist() == robot.observe().obs["count"].tolist() == [0, 0]
    assert type(after["place"]) is np.int64
    action += 5
    assert info["executed"].tolist() == [0]


def test_an_environment_renders_what_has_a_picture() -> None:
    env = RobotEnv(Shown(), render_mode="rgb_array")
    env.reset()
    assert env.metadata["render_modes"] == ["rgb_array"]
    assert env.render().shape == (256, 256, 3)
    assert RobotEnv(Shown()).render() is None
    with pytest.raises(SchemaError, match=r"render_mode: expected one of \[None\], got rgb_array"):
        RobotEnv(CountingRobot(), render_mode="rgb_array")


def test_an_environment_of_gymnasium_that_renders_has_a_picture() -> None:
    pytest.importorskip("pygame")
    assert not hasattr(make_robot("gym:CartPole-v1"), "picture")
    robot: Any = make_robot("gym:CartPole-v1", render_mode="rgb_array")
    with pytest.raises(RobotError, match="picture before reset"):
        robot.picture()
    robot.reset(0)
    assert robot.picture().shape == (400, 600, 3)
    robot.close()
