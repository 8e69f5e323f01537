"""Tasks of the DeepMind Control Suite (Tassa et al. 2018), as PlaNet and Dreamer use them."""

from __future__ import annotations

from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sim.envs.extras import drawn, needs
from sim.envs.mujoco_gl import choose_renderer, require_renderer

PLANET_REPEATS = {  # Hafner et al. 2019, PlaNet: its six tasks, and how often each repeats actions
    "cartpole-swingup": 8,
    "reacher-easy": 4,
    "cheetah-run": 4,
    "finger-spin": 2,
    "ball_in_cup-catch": 4,
    "walker-walk": 2,
}
DREAMER_REPEAT = 2  # Hafner et al. 2020, Dreamer: for all of its twenty
DREAMER_TASKS = (
    "acrobot-swingup",
    "ball_in_cup-catch",
    "cartpole-balance",
    "cartpole-balance_sparse",
    "cartpole-swingup",
    "cartpole-swingup_sparse",
    "cheetah-run",
    "finger-spin",
    "finger-turn_easy",
    "finger-turn_hard",
    "hopper-hop",
    "hopper-stand",
    "pendulum-swingup",
    "quadruped-run",
    "quadruped-walk",
    "reacher-easy",
    "reacher-hard",
    "walker-run",
    "walker-stand",
    "walker-walk",
)
CAMERAS = {"quadruped": 2}  # all others: 0
PIXELS = 64
RENDER_PIXELS = 256

Observation = dict[str, NDArray[Any]]


def register() -> None:
    """Make `dm_control/<domain>-<task>-v0` known to gymnasium. Again does no harm."""
    for name in DREAMER_TASKS:
        env_id = f"dm_control/{name}-v0"
        if env_id not in gymnasium.registry:
            options = dict(zip(("domain", "task"), name.split("-"), strict=True))
            gymnasium.register(env_id, "sim.envs.dm_control:DmControl", kwargs=options)


class DmControl(gymnasium.Env[Any, Any]):
    """One task. An episode is 1000 control steps of the suite, then `truncated`.

    Observations are a Dict: the suite's own keys, each flat (n,) float32; or `image`, (64, 64, 3)
    uint8; or both. Actions are in [-1, 1], stretched to the task's own range (only the quadruped's
    is another). Rewards of repeated steps are summed, so that a return is at most 1000.

    Args:
        domain, task: as in the suite, `reacher` and `easy`.
        action_repeat: how many of the suite's control steps an action lasts, or `planet` for the
            number that PlaNet chose for this task.
        pixels: whether `image` is observed.
        vector: whether the suite's keys are; None if there are no pixels.
        render_mode: `rgb_array` or nothing.

    Raises:
        RobotError: dm_control is missing, or there is nothing to draw with.
        ValueError: the suite has no such task, PlaNet has no number for it, or the number is not
            positive.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012, gymnasium's own type

    def __init__(
        self,
        domain: str,
        task: str,
        *,
        action_repeat: int | Literal["planet"] = DREAMER_REPEAT,
        pixels: bool = False,
        vector: bool | None = None,
        render_mode: str | None = None,
    ) -> None:
        choose_renderer()
        self._repeat = _repeat(f"{domain}-{task}", action_repeat)
        self._suite: Any = needs("dm_control.suite").load(domain, task)
        if pixels or render_mode is not None:
            require_renderer()
            _draw_simply(self._suite.physics.model)
        self._camera = CAMERAS.get(domain, 0)
        self._vector = not pixels if vector is None else vector
        self._pixels = pixels
        self.observation_space = self._observed()
        spec = self._suite.action_spec()
        self._middle = (spec.maximum + spec.minimum) / 2
        self._half = (spec.maximum - spec.minimum) / 2
        self.action_space = spaces.Box(-1.0, 1.0, spec.shape, np.float32)
        self.render_mode = drawn(render_mode)
        period = self._suite.control_timestep() * self._repeat  # s
        self.metadata = self.metadata | {"render_fps": 1 / period}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode, drawn from the task's distribution."""
        super().reset(seed=seed)
        self._suite.task.random.seed(int(self.np_random.integers(2**32)))
        return self._seen(self._suite.reset().observation), {}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Repeat an action; the end of the episode ends the repetition."""
        wanted, reward = self._middle + self._half * action.astype(np.float64), 0.0
        for _ in range(self._repeat):
            last = self._suite.step(wanted)
            reward += float(last.reward)
            if last.last():
                break
        terminated = bool(last.last() and last.discount == 0)
        truncated = bool(last.last() and not terminated)
        return self._seen(last.observation), reward, terminated, truncated, {}

    def render(self) -> NDArray[np.uint8] | None:
        """(256, 256, 3) picture, if `render_mode` is set."""
        return None if self.render_mode is None else self._picture(RENDER_PIXELS)

    def close(self) -> None:
        """Free the simulation; OSMesa complains at exit of pictures that were not."""
        if self._suite is not None:
            self._suite.physics.free()
        self._suite = None

    def _observed(self) -> spaces.Dict:
        found: dict[str, spaces.Space[Any]] = {}
        if self._vector:
            for key, spec in self._suite.observation_spec().items():
                found[key] = spaces.Box(-np.inf, np.inf, (int(np.prod(spec.shape)),), np.float32)
        if self._pixels:
            found["image"] = spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8)
        return spaces.Dict(found)

    def _seen(self, found: dict[str, Any]) -> Observation:
        obs: Observation = {}
        if self._vector:
            obs |= {key: np.array(value, np.float32).ravel() for key, value in found.items()}
        if self._pixels:
            obs["image"] = self._picture(PIXELS)
        return obs

    def _picture(self, pixels: int) -> NDArray[np.uint8]:
        drawn = self._suite.physics.render(pixels, pixels, camera_id=self._camera)
        return np.array(drawn, np.uint8)


def _repeat(name: str, action_repeat: int | str) -> int:
    if action_repeat == "planet":
        if name not in PLANET_REPEATS:
            raise ValueError(f"action_repeat: expected a number, as PlaNet has none for {name}")
        return PLANET_REPEATS[name]
    if not isinstance(action_repeat, int) or action_repeat < 1:
        expected = "a positive integer or 'planet'"
        raise ValueError(f"action_repeat: expected {expected}, got {action_repeat!r}")
    return action_repeat


def _draw_simply(model: Any) -> None:
    """No shadows, mirrors or smoothing: without a GPU they take most of a picture's time."""
    model.vis.quality.shadowsize = 0
    model.vis.quality.offsamples = 0
    model.mat_reflectance[:] = 0
