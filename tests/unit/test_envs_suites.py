"""The environments that come from libraries: DM Control, Atari, CarRacing, Take Cover."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from types import ModuleType

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from robot_client.errors import RobotError
from robot_client.robots import gym_sources, make_robot
from robot_client.testing import check_robot
from sim.envs import SUITES, atari, mujoco_gl
from sim.envs import dm_control as control
from sim.envs.extras import needs

RATES = {  # gym id and options -> steps a second of simulated time
    "dm_control/walker-walk-v0": 20,
    'dm_control/cartpole-swingup-v0 {"action_repeat": "planet", "pixels": true}': 12.5,
    'dm_control/quadruped-run-v0 {"action_repeat": 1}': 50,
    "dreamfleet/Atari-Pong-v0": 15,
    'dreamfleet/Atari-MsPacman-v0 {"gray": true, "full_actions": false}': 15,
    "dreamfleet/CarRacing-v0": 50,
    "dreamfleet/TakeCover-v0": 8.75,
}
NEEDS = [  # a module, an id that needs it, and the extra
    ("dm_control.suite", "dm_control/cheetah-run-v0", "envs"),
    ("ale_py", "dreamfleet/Atari-Pong-v0", "envs"),
    ("ale_py", "ALE/Pong-v5", "envs"),
    ("Box2D", "dreamfleet/CarRacing-v0", "envs"),
    ("Box2D", "CarRacing-v3", "envs"),
    ("envpool", 'dreamfleet/CarRacing-v0 {"engine": "envpool"}', "envpool"),
    ("vizdoom", "dreamfleet/TakeCover-v0", "envs"),
    ("vizdoom.gymnasium_wrapper", "VizdoomTakeCover-v1", "envs"),
    ("pybullet", "dreamfleet/Reach-v0", "sim"),
    ("pybullet", "dreamfleet/PushSparse-v0", "sim"),
]


@pytest.fixture(params=RATES)
def spec(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where VizDoom would leave files
    yield f"gym:{request.param}"
    assert not list(tmp_path.iterdir())


def rollout(robot, seed, steps=25):
    robot.reset(seed)
    readings = [robot.observe()]
    robot.action_space.seed(1)
    for _ in range(steps):
        robot.apply(np.asarray(robot.action_space.sample()))
        readings.append(robot.observe())
    return readings


def same(left, right):
    return all(
        a.reward == b.reward and all(np.array_equal(a.obs[k], b.obs[k]) for k in a.obs)
        for a, b in zip(left, right, strict=True)
    )


def test_it_is_a_robot_at_its_real_rate(spec):
    robot = make_robot(spec)
    assert robot.control_hz == pytest.approx(RATES[spec.removeprefix("gym:")])
    check_robot(robot, steps=8)


@pytest.mark.filterwarnings(  # the suite gives no bounds for its vectors
    "ignore:.*A Box observation space m..imum value is -?infinity"
)
def test_gymnasium_finds_no_fault(spec):
    name, _, options = spec.removeprefix("gym:").partition(" ")
    gym_sources.register(name)
    env = gymnasium.make(name, **json.loads(options or "{}"), render_mode="rgb_array")
    check_env(env.unwrapped)
    env.close()


def test_a_seed_fixes_the_episode_and_two_do_not_disturb_each_other(spec):
    one, two = make_robot(spec), make_robot(spec)
    one.connect()
    two.connect()
    first = rollout(one, seed=5)
    other = rollout(one, seed=6)
    rollout(two, seed=9, steps=3)
    again = rollout(one, seed=5)
    assert same(first, again)
    assert same(first, rollout(two, seed=5))
    assert not same(first, other)
    one.close()
    two.close()


@pytest.mark.parametrize(("module", "env_id", "extra"), NEEDS)
def test_a_missing_library_is_named_with_its_extra(module, env_id, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RobotError, match=rf"{module}.*pip install 'dreamfleet\[{extra}\]'"):
        make_robot(f"gym:{env_id}")


def test_the_libraries_own_ids_work_too():
    for env_id in ("ALE/Pong-v5", "CarRacing-v3"):
        check_robot(make_robot(f"gym:{env_id}"), steps=3)


@pytest.mark.parametrize(
    "name", [name for name in SUITES if "Atari" not in name] + ["Atari-Pong-v0"]
)
def test_only_pictures_are_drawn(name):
    module, _, cls = SUITES[name].target.partition(":")
    with pytest.raises(ValueError, match="render_mode: expected rgb_array or None, got 'human'"):
        getattr(needs(module), cls)(**SUITES[name].options, render_mode="human")


def test_the_suite_has_each_of_the_tasks():
    mujoco_gl.choose_renderer()
    found = {f"{domain}-{task}" for domain, task in needs("dm_control.suite").ALL_TASKS}
    assert len(set(control.DREAMER_TASKS)) == 20
    assert set(control.DREAMER_TASKS) <= found
    assert set(control.PLANET_REPEATS) <= set(control.DREAMER_TASKS)
    control.register()
    assert all(f"dm_control/{name}-v0" in gymnasium.registry for name in control.DREAMER_TASKS)


def test_ale_has_each_of_the_games():
    assert len(set(atari.GAMES)) == 55
    assert {atari.rom_name(game) for game in atari.GAMES} <= set(
        needs("ale_py.roms").get_all_rom_ids()
    )


def test_an_episode_of_the_suite_is_cut_after_1000_of_its_steps():
    env = control.DmControl("cartpole", "swingup", action_repeat="planet")
    env.reset(seed=0)
    ends = [env.step(np.zeros(1, np.float32))[2:4] for _ in range(125)]
    assert ends == [(False, False)] * 124 + [(False, True)]
    env.close()


def test_rewards_of_repeated_steps_are_summed():
    once, thrice = (control.DmControl("pendulum", "swingup", action_repeat=n) for n in (1, 3))
    once.reset(seed=4)
    thrice.reset(seed=4)
    push = np.full(1, 0.7, np.float32)
    for _ in range(60):
        single = [once.step(push) for _ in range(3)]
        obs, reward, *_ = thrice.step(push)
        assert reward == sum(step[1] for step in single)
        assert np.array_equal(obs["velocity"], single[-1][0]["velocity"])
    once.close()
    thrice.close()


def test_a_discount_of_zero_is_the_end_and_stops_the_repetition(monkeypatch):
    env = control.DmControl("point_mass", "easy", action_repeat=5)
    env.reset(seed=0)
    monkeypatch.setattr(env._suite.task, "get_termination", lambda physics: 0.0)
    monkeypatch.setattr(env._suite.task, "get_reward", lambda physics: 1.0)
    _, reward, terminated, truncated, _ = env.step(np.zeros(2, np.float32))
    assert (reward, terminated, truncated) == (1.0, True, False)
    env.close()


def test_actions_are_stretched_to_the_range_of_the_task():
    env = control.DmControl("quadruped", "walk")
    env.reset(seed=0)
    env.step(np.ones(12, np.float32))
    assert np.allclose(env._suite.physics.data.ctrl, env._suite.action_spec().maximum)
    env.step(-np.ones(12, np.float32))
    assert np.allclose(env._suite.physics.data.ctrl, env._suite.action_spec().minimum)
    env.close()


def test_vectors_and_pixels_or_either():
    options = [{}, {"pixels": True}, {"pixels": True, "vector": True}]
    made = [control.DmControl("walker", "walk", **option) for option in options]
    keys = [set(env.observation_space.spaces) for env in made]
    assert keys[0] == {"orientations", "height", "velocity"}
    assert keys[1] == {"image"}
    assert keys[2] == keys[0] | keys[1]
    image = made[1].reset(seed=0)[0]["image"]
    assert image.shape == (64, 64, 3)
    assert image.std() > 10  # something is to be seen
    for env in made:
        env.close()


@pytest.mark.parametrize(
    ("task", "repeat", "message"),
    [
        ("walker-run", "planet", "PlaNet has none for walker-run"),
        ("walker-walk", 0, "positive integer or 'planet', got 0"),
        ("walker-fly", 2, "fly"),
    ],
)
def test_what_the_suite_cannot_do_is_refused(task, repeat, message):
    with pytest.raises(ValueError, match=message):
        control.DmControl(*task.split("-"), action_repeat=repeat)


@pytest.mark.parametrize(
    ("libraries", "gpu", "platform", "chosen"),
    [
        ({"EGL", "OSMesa"}, False, "", "osmesa"),
        ({"EGL", "OSMesa"}, True, "", "egl"),
        ({"EGL", "OSMesa"}, True, "osmesa", "osmesa"),
        ({"EGL"}, False, "", "egl"),
        ({"OSMesa"}, True, "", "osmesa"),
        (set(), True, "", "disable"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MuJoCo chooses")
def test_mujoco_draws_with_what_there_is(libraries, gpu, platform, chosen, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setenv("PYOPENGL_PLATFORM", platform)
    monkeypatch.setattr(mujoco_gl, "find_library", lambda name: name if name in libraries else None)
    monkeypatch.setattr(mujoco_gl, "_has_gpu", lambda: gpu)
    mujoco_gl.choose_renderer()
    assert os.environ["MUJOCO_GL"] == chosen


def test_nothing_to_draw_with_is_said_and_vectors_do_not_need_it(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "disable")
    with pytest.raises(RobotError, match="libosmesa6"):
        make_robot("gym:dm_control/walker-walk-v0", pixels=True)
    make_robot("gym:dm_control/walker-walk-v0").close()


def test_a_closed_robot_leaves_python_in_silence():
    program = (
        "from robot_client.robots import make_robot\n"
        "robot = make_robot('gym:dm_control/pendulum-swingup-v0', pixels=True)\n"
        "robot.connect(); robot.reset(0); robot.observe(); robot.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_atari_games_begin_differently_and_stick():
    env = atari.Atari("Freeway", noops=30)
    first = env.reset(seed=1)[0]
    starts = [env.reset()[0] for _ in range(3)]
    assert any(not np.array_equal(first, start) for start in starts)
    assert env._ale.getFloat("repeat_action_probability") == 0.25


def test_a_lost_life_ends_the_episode_only_if_asked():
    asked, not_asked = (atari.Atari("Breakout", life_loss=life) for life in (True, False))
    for env in (asked, not_asked):
        env.reset(seed=0)
        lives = env._ale.lives()
        for _ in range(400):
            *_, terminated, _, info = env.step(1)  # serve, and let the ball fall
            if info["lives"] < lives:
                break
        assert info["lives"] == lives - 1
        assert terminated is (env is asked)


def test_pictures_of_atari_show_what_flickers():
    env = atari.Atari("Asteroids")
    env.reset(seed=0)
    env._screen = iter(
        [np.full((210, 160, 3), shade, np.uint8) for shade in (9, 1, 2, 30, 7)]
    ).__next__
    assert (env.step(0)[0] == 30).all()  # the greater of the third and the fourth frame


def test_gas_and_brake_are_off_around_zero_and_below(monkeypatch):
    robot = make_robot("gym:dreamfleet/CarRacing-v0")
    robot.connect()
    robot.reset(0)
    car = robot._env.unwrapped._track
    sent = []
    monkeypatch.setattr(car, "step", lambda action: sent.append(action.tolist()) or NOTHING)
    for action in ([0.5, -1, -1], [0, 1, 0.25]):
        robot.apply(np.array(action, np.float32))
    assert sent == [[0.5, 0, 0], [0, 1, 0.25]]
    robot.close()


class Pool:
    """As envpool's are: it shows the number of its seed, and its pictures are used again."""

    observation_space = gymnasium.spaces.Box(0, 255, (96, 96, 3), np.uint8)
    action_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)

    def __init__(self, name, num_envs, num_threads, seed=0):
        assert (name, num_envs, num_threads) == ("CarRacing-v3", 1, 1)
        self.picture, self.steps, self.closed = np.zeros((1, 96, 96, 3), np.uint8), 0, False
        self.seed = seed

    def reset(self):
        self.picture[:] = self.seed % 200
        return self.picture, {}

    def step(self, action):
        assert action.shape == (1, 3)
        self.steps += 1
        self.picture += 1
        ends = np.array([False]), np.array([self.steps == 3])
        return self.picture, np.array([-0.1], np.float32), *ends, {}

    def close(self):
        self.closed = True


def test_envpools_car_is_seeded_by_a_new_pool_and_shows_pictures_of_its_own(monkeypatch):
    pools = []
    module = ModuleType("envpool")
    module.make_gymnasium = lambda *a, **k: pools.append(Pool(*a, **k)) or pools[-1]
    monkeypatch.setitem(sys.modules, "envpool", module)
    robot = make_robot('gym:dreamfleet/CarRacing-v0 {"engine": "envpool"}')
    robot.connect()

    def begins(seed):
        robot.reset(seed)
        return robot.observe().obs["image"].copy()

    first = [begins(seed) for seed in (1, 1, 2)]
    assert (first[0] == first[1]).all()
    assert (first[0] != first[2]).all()
    assert [pool.closed for pool in pools] == [True, True, True, False]
    seen = []
    while not (reading := robot.observe()).truncated:
        seen.append(reading.obs["image"])
        robot.apply(np.zeros(3, np.float32))
    assert not reading.terminated
    assert reading.reward == pytest.approx(-0.1)
    assert [int(picture[0, 0, 0]) - int(first[2][0, 0, 0]) for picture in seen] == [0, 1, 2]
    robot.close()
    assert all(pool.closed for pool in pools)


@pytest.mark.skipif(find_spec("envpool") is None, reason="the extra envpool")
def test_envpools_car_is_a_robot():
    check_robot(make_robot('gym:dreamfleet/CarRacing-v0 {"engine": "envpool"}'), steps=20)


def test_a_car_of_no_engine():
    with pytest.raises(RobotError, match="engine: expected one of gymnasium, envpool, got 'steam'"):
        make_robot('gym:dreamfleet/CarRacing-v0 {"engine": "steam"}')


NOTHING = (np.zeros((96, 96, 3), np.uint8), 0.0, False, False, {})


def test_take_cover_pays_a_tic_survived_and_ends_in_death(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    robot = make_robot("gym:dreamfleet/TakeCover-v0")
    robot.connect()
    robot.reset(0)
    rewards = []
    while not (reading := robot.observe()).terminated:
        assert not reading.truncated
        robot.apply(np.asarray(0))
        rewards.append(robot.observe().reward)
    assert set(rewards[:-1]) == {4.0}
    assert 100 < sum(rewards) < 2100
    robot.close()


def test_take_cover_is_truncated_after_a_minute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    robot = make_robot("gym:dreamfleet/TakeCover-v0")
    robot.connect()
    robot.reset(0)
    game = robot._env.unwrapped._game
    game.send_game_command("god")
    steps = 0
    while not (reading := robot.observe()).truncated:
        assert not reading.terminated
        robot.apply(np.asarray(0))
        steps += 1
    assert steps == 525
    robot.close()
