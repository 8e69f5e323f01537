"""Any robot with a real one's faults: observations late, noisy, lost or frozen, and actions late.

From the sensor to the policy each observation passes: noise, a frozen camera, the delay, the loss
of frames. Only what is seen is faulty. Reward, `terminated`, `truncated` and `info` are the present
step's, as the robot gave them: returns stay right, episodes end when they end, and no reward is
lost in a line that the end cuts off. A late observation is thus paired with the reward of a state
that it will show later; who learns must bridge that, as on hardware. Nothing declares the faults in
`info`: they are what nobody knows of.

An action that is late reaches the robot whole steps after it was asked for; before the first one
arrives the robot gets its rest action. `apply` returns what the robot executed now, which was asked
for earlier, because that is what moved it: rows then hold true transitions, and beside them, as
`action_requested`, what was asked. `stop` is never late, and forgets the actions under way. The
client limits an action's rate against the one executed last and knows none of those under way, so
a robot's `max_rate` is kept here once more.
"""

from __future__ import annotations

import difflib
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.errors import RobotError, SchemaError
from robot_client.robot import Action, Reading, Robot, as_action, rest_action

Observed = dict[str, NDArray[Any]]

MAX_DELAY = 1000  # steps
_STREAM = (0xFA,)  # of random numbers: the robot itself may draw from the plain seed


@dataclass(frozen=True)
class Faults:
    """What goes wrong, and how much. Everything is off by default.

    Args:
        observation_delay: control steps from the sensor to the policy.
        action_delay: control steps from the policy to the robot.
        noise: standard deviation of Gaussian noise on float observations: a share of each number's
            range, or absolute where it has no two finite bounds; results stay within the bounds.
        image_noise: the same on uint8 images, a share of 255.
        drop: probability per step that an observation is lost and the one before it is seen again.
        freeze: probability per step that a camera (any observation of three axes) stands still.
        freeze_s: for how many seconds it does, at least one step; a reset wakes it.

    Raises:
        SchemaError: a value makes no sense.
    """

    observation_delay: int = 0
    action_delay: int = 0
    noise: float = 0.0
    image_noise: float = 0.0
    drop: float = 0.0
    freeze: float = 0.0
    freeze_s: float = 1.0

    def __post_init__(self) -> None:
        for name in ("observation_delay", "action_delay"):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= MAX_DELAY:
                raise SchemaError(f"faults.{name}", f"0 to {MAX_DELAY} whole steps", repr(value))
        tops = {"noise": math.inf, "image_noise": 1, "drop": 1, "freeze": 1, "freeze_s": math.inf}
        for name, top in tops.items():
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 <= value <= top or math.isinf(value):
                raise SchemaError(f"faults.{name}", f"a number from 0 to {top}", repr(value))

    @staticmethod
    def from_json(data: Any) -> Faults:
        """From an object of JSON. Raises SchemaError, also for a field that does not exist."""
        names = [field.name for field in fields(Faults)]
        if not isinstance(data, Mapping):
            raise SchemaError("faults", f"an object with any of {', '.join(names)}", repr(data))
        for name in data:
            if name not in names:
                close = difflib.get_close_matches(str(name), names, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise SchemaError(f"faults.{name}", f"one of {', '.join(names)}", f"that{hint}")
        return Faults(**data)


class Faulty:
    """A robot with faults. What else it has or declares, as for its safety, is passed on.

    Its generator is its own, seeded by `reset(seed)`; without a seed it goes on. Steps are counted
    by first looks: `observe` again without an action, a hold or a stop between gives the same.

    Args:
        robot: not yet connected.
        faults: what goes wrong.
    """

    def __init__(self, robot: Robot, faults: Faults) -> None:
        self._robot, self._faults = robot, faults
        self.observation_space, self.action_space = robot.observation_space, robot.action_space
        self.control_hz, self.task = robot.control_hz, robot.task
        self._rng = np.random.default_rng()
        self._sensors = [
            _Sensor(key, space, faults, robot.control_hz)
            for key, space in sorted(robot.observation_space.items())
        ]
        self._frames: deque[Observed] = deque(maxlen=faults.observation_delay + 1)
        self._seen: Observed = {}  # by the policy, last
        self._reading: Reading | None = None  # of this step
        self._rest = self._executed = rest_action(robot)
        self._asked = self._line(self._rest)
        if hasattr(robot, "hold"):
            self.hold = self._hold

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # ours, not there yet
            raise AttributeError(name)
        return getattr(self._robot, name)

    def connect(self) -> None:
        """Open the device."""
        self._robot.connect()

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode: no frame and no action of the one before is still under way."""
        if seed is not None:
            self._rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=_STREAM))
        self._robot.reset(seed)
        self._frames.clear()
        self._executed = self._rest
        self._asked, self._reading = self._line(self._rest), None

    def apply(self, action: Action) -> Action:
        """Send the action asked for `action_delay` steps ago; what the robot made of it.

        Raises RobotError when this one is not finite or of another shape.
        """
        space = self.action_space
        if np.shape(action) != (space.shape or ()) or not np.isfinite(action).all():
            raise RobotError(f"expected finite numbers of shape {space.shape}, got {action!r}")
        line = self._asked  # a stop from another thread puts a new one in its place
        line.append(as_action(space, action).copy())
        self._reading = None
        self._executed = self._robot.apply(self._limited(line.popleft()))
        return self._executed

    def observe(self) -> Reading:
        """What arrives at this step, with the present reward."""
        reading = self._reading  # a stop from another thread may take it away at any time
        if reading is None:
            raw = self._robot.observe()
            self._reading = reading = replace(raw, obs=self._arriving(raw.obs))
        return reading

    def stop(self) -> None:
        """Go to a safe state at once. What was asked for before never happens."""
        self._robot.stop()
        self._asked, self._reading = self._line(self._rest), None

    def close(self) -> None:
        """Release the device."""
        self._robot.close()
        self._reading = None

    def _hold(self) -> Action:
        """The robot's own way to hold, at once; it goes on until a later action arrives."""
        held: Action = self._robot.hold()  # type: ignore[attr-defined]
        self._executed = held
        self._asked, self._reading = self._line(held), None
        return held

    def _line(self, action: Action) -> deque[Action]:
        return deque([action] * self._faults.action_delay)

    def _limited(self, action: Action) -> Action:
        """The action, at most `max_rate` of the range from the one executed before."""
        rate, space = getattr(self._robot, "max_rate", 1.0), self.action_space
        if rate >= 1 or not self._faults.action_delay or isinstance(space, spaces.Discrete):
            return action
        step = rate * (space.high - space.low)
        near = np.clip(action, self._executed - step, self._executed + step)
        return as_action(space, near)

    def _arriving(self, raw: Mapping[str, NDArray[Any]]) -> Observed:
        """What the policy sees. The first observation of an episode always arrives, at once."""
        first = not self._frames
        frame = {s.key: s.sense(raw[s.key], self._rng, first) for s in self._sensors}
        self._frames.append(frame)  # until the line is full the oldest is the episode's first
        if not self._happens(self._faults.drop) or first:
            self._seen = self._frames[0]
        return dict(self._seen)

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._rng.random() < probability


class _Sensor:
    """One key of the observation: its noise, and how long it stands still yet."""

    def __init__(
        self, key: str, space: spaces.Space[Any], faults: Faults, control_hz: float
    ) -> None:
        self.key = key
        self._camera = isinstance(space, spaces.Box) and len(space.shape) == 3
        self._freeze = faults.freeze if self._camera else 0.0
        self._freeze_steps = max(1, round(faults.freeze_s * control_hz))
        self._frozen_steps = 0
        self._last: NDArray[Any] = np.zeros(())
        self._space, self._scale = space, _noise_scale(space, faults)

    def sense(self, raw: NDArray[Any], rng: np.random.Generator, first: bool) -> NDArray[Any]:
        """The next value, or the last one again while frozen; a copy, for it is kept."""
        if first:
            self._frozen_steps = 0
        elif self._frozen_steps == 0 and self._freeze > 0 and rng.random() < self._freeze:
            self._frozen_steps = self._freeze_steps
        if self._frozen_steps:
            self._frozen_steps -= 1
        else:
            self._last = self._noisy(raw, rng)
        return self._last

    def _noisy(self, raw: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        if self._scale is None:
            return np.array(raw)
        assert isinstance(self._space, spaces.Box)
        value = raw + self._scale * rng.standard_normal(raw.shape)
        if raw.dtype == np.uint8:
            value = np.round(value)
        return np.clip(value, self._space.low, self._space.high).astype(raw.dtype)


def _noise_scale(space: spaces.Space[Any], faults: Faults) -> NDArray[np.float64] | None:
    """Standard deviation of each number; None where there is no noise."""
    if not isinstance(space, spaces.Box):
        return None
    if space.dtype == np.uint8:
        image = len(space.shape) == 3 and faults.image_noise > 0
        return np.full(space.shape, faults.image_noise * 255) if image else None
    span = space.high.astype(np.float64) - space.low.astype(np.float64)
    return faults.noise * np.where(np.isfinite(span), span, 1.0) if faults.noise > 0 else None
