"""Any robot of LeRobot (Cadene et al., Hugging Face) as a robot of ours.

LeRobot's interface: flat dicts, features that are declared without a connection, `send_action` that
returns what was really sent. Its joints are in degrees or in -100 to 100, a gripper in 0 to 100, as
its config says; these units stay.

What LeRobot leaves to its user is on here: no joint is asked to be faster than `max_speed`, or to
be further from where it is than `max_lead`, so that neither the first action nor a blocked arm can
jump; and every run ends with LeRobot's `disconnect`, which takes the power off the motors.

Checked with LeRobot 0.4.4's base class, registry and config parser, and a simulated arm behind
them. Not tried on an arm of metal, with a real bus, or with LeRobot's camera classes.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.clock import Clock, SystemClock
from robot_client.errors import RobotError, SchemaError
from robot_client.robot import Action, Reading, as_action
from robot_client.robots.hardware import load_function, load_sdk
from robot_client.schema import Task

Numbers = NDArray[np.float64]

STATE = "state"
PACKAGE = "lerobot"
VELOCITY = ".vel"  # an action of this name is a speed: at rest it is 0. All others are positions.
STOP_WAIT_S = 0.2  # that `stop` waits for a call under way to leave the bus
STALL_S = 3.0  # later than this at home, the way is blocked

# Of an SO-101 in degrees, within what its joints can do; the gripper in percent.
SO101: Mapping[str, tuple[float, float]] = {
    "shoulder_pan.pos": (-90.0, 90.0),
    "shoulder_lift.pos": (-90.0, 90.0),
    "elbow_flex.pos": (-90.0, 90.0),
    "wrist_flex.pos": (-90.0, 90.0),
    "wrist_roll.pos": (-90.0, 90.0),
    "gripper.pos": (0.0, 100.0),
}

_log = logging.getLogger(__name__)


class LeRobotRobot:
    """A LeRobot robot. Which features it has is declared here and compared when it is connected.

    Observations:
        state     (N,) float32: the features of `state` in that order, in LeRobot's units
        a camera  (H, W, 3) uint8, under its LeRobot name and in its own size

    Actions: (A,) float32, the features of `limits` in that order: goals of positions, or speeds for
    features that end in `.vel`. LeRobot does not know what it is rewarded for: 0, unless `reward`.

    The robot must have been calibrated by LeRobot's own command: nothing is asked for here. `stop`
    holds the positions there are, and speeds of 0; the next action needs a reset. `close` does what
    LeRobot does: it takes the power off, and an arm that nothing holds then sinks.

    Args:
        robot: LeRobot's name of the type, such as so101_follower or lekiwi_client.
        config: its config, cameras included, as LeRobot writes it in a file.
        limits: feature -> least and greatest action, in LeRobot's units; the first is the first
            number of an action.
        cameras: name -> height and width, of those to observe.
        state: observed features; those of the actions where it is None.
        control_hz: actions per second.
        task, episode_steps: what the robot is to do, and for how long (`schema.Task`).
        home: position -> where it goes at each reset; None: an episode begins where the last ended.
        max_speed: of a position, units per second.
        max_lead: how far a position that is asked for may be from the measured one, units. Too
            little, and an arm cannot lift its own weight.
        reward: `module:function` of the observations (a mapping of arrays) -> number.
        clock: paces the way home.

    Raises:
        SchemaError: limits, cameras, state, home, or one of the numbers make no sense.
        RobotError: `reward` names no function.
    """

    def __init__(
        self,
        robot: str = "so101_follower",
        config: Mapping[str, Any] | None = None,
        *,
        limits: Mapping[str, Sequence[float]] = SO101,
        cameras: Mapping[str, Sequence[int]] | None = None,
        state: Sequence[str] | None = None,
        control_hz: float = 30.0,
        task: str = "lerobot",
        episode_steps: int | None = None,
        home: Mapping[str, float] | None = None,
        max_speed: float = 60.0,
        max_lead: float = 15.0,
        reward: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._type, self._config = robot, dict(config or {})
        self._low, self._high = _limits(limits)
        self._actions, self._state = list(limits), list(limits if state is None else state)
        self._cameras = {name: (*size, 3) for name, size in (cameras or {}).items()}
        self._places = _places(self._actions, self._state)
        self._home = None if home is None else self._home_goal(home)
        numbers = {"control_hz": control_hz, "max_speed": max_speed, "max_lead": max_lead}
        for name, value in numbers.items():
            if not 0 < value < math.inf:
                raise SchemaError(name, "a number above 0", value)
        self._step, self._lead = max_speed / control_hz, max_lead
        self._reward = None if reward is None else load_function(reward)
        self._clock = clock or SystemClock()

        self.observation_space = _observations(self._state, self._cameras)
        self.action_space = spaces.Box(
            self._low.astype(np.float32), self._high.astype(np.float32), dtype=np.float32
        )
        self.control_hz = control_hz
        self.task = Task(task, episode_steps)
        rest = np.zeros(len(self._actions)) if self._home is None else self._home
        self.rest_action = as_action(self.action_space, np.clip(rest, self._low, self._high))

        self._device: Any = None
        self._bus = threading.Lock()
        self._stopped = threading.Event()
        self._still = False  # whether the motors hold since the last action
        self._raw: Mapping[str, Any] | None = None  # LeRobot's last observation
        self._goal: Numbers | None = None  # what was sent last; None: reset first
        self._reading: Reading | None = None

    def connect(self) -> None:
        """Open the device and let it hold the positions that it has.

        Raises:
            RobotError: LeRobot or a package of this type is not installed, the config is none, the
                robot is not calibrated, has other features than declared, or cannot be reached.
        """
        device = _make(self._type, self._config)
        self._compare("limits", set(self._actions), set(device.action_features))
        features = device.observation_features
        self._compare("state", set(self._state), set(features) & set(self._state))
        shapes = {k: tuple(v) for k, v in features.items() if isinstance(v, tuple | list)}
        self._compare("cameras", self._cameras, {k: shapes.get(k) for k in self._cameras})
        try:
            device.connect(calibrate=False)
            if not device.is_calibrated:
                raise RobotError(f"{self._type}: not calibrated: run lerobot-calibrate first")
        except Exception as error:
            with suppress(RobotError):  # the first error is the one to tell
                _release(self._type, device)
            raise RobotError(f"{self._type}: cannot connect: {error}") from error
        self._device, self._still, self._raw = device, False, None
        self.stop()

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode where the robot is, or at `home`, which it goes to at `max_speed`.

        Raises:
            RobotError: a position is outside its limits, the way home is blocked, or `stop` came.
        """
        self._reading = self._goal = None
        self._stopped.clear()
        self._read()
        self._goal = self._present()
        if self._home is not None:
            self._go_home(self._home)
        self._reading = self._judged(first=True)

    def apply(self, action: Action) -> Action:
        """Send an action within all limits; what was really sent.

        Raises:
            RobotError: it is not finite, or of another shape; `stop` was called since the last
                reset; a position is outside its limits; or the device is lost.
        """
        wanted = np.asarray(action, np.float64)
        if wanted.shape != self.action_space.shape or not np.isfinite(wanted).all():
            size = len(self._actions)
            raise RobotError(f"{self._type}: expected {size} finite numbers, got {action!r}")
        if self._goal is None or self._stopped.is_set():
            raise RobotError(f"{self._type}: stopped: reset it first")
        self._reading = None
        self._send(self._safe(wanted))
        return self._executed()

    def observe(self) -> Reading:
        """Read the motors and cameras, once after each action or hold."""
        if self._goal is None:
            raise RobotError(f"{self._type}: reset it first")
        if self._reading is None:
            self._read()
            self._reading = self._judged(first=False)
        return self._reading

    def hold(self) -> Action:
        """Keep the positions there are, and speeds of 0: the action that this amounts to."""
        if self._goal is None:
            raise RobotError(f"{self._type}: reset it first")
        self._reading = None
        if not self._still:
            self._send(self._present())
            self._still = True
        return self._executed()

    def stop(self) -> None:
        """Hold still at once. Asked for again it does nothing: a tired arm would sink each time."""
        self._stopped.set()
        if self._device is None:
            return
        free = self._bus.acquire(timeout=STOP_WAIT_S)  # a hanging camera must not prevent it
        try:
            if not self._still:
                self._hold_still(read=free)
        except Exception as error:  # noqa: BLE001 - drivers raise anything, and `stop` nothing
            _log.error("%s: could not be told to hold still: %s", self._type, error)
        finally:
            if free:
                self._bus.release()

    def close(self) -> None:
        """Disconnect. Raises RobotError when the motors may still be under power."""
        device, self._device = self._device, None
        self._goal = self._reading = self._raw = None
        if device is not None:
            _release(self._type, device)

    def _home_goal(self, home: Mapping[str, float]) -> Numbers:
        """(A,) goal of the way home; speeds are 0."""
        positions = {self._actions[i] for i in self._places}
        if set(home) != positions:
            raise SchemaError("home", f"a number for each of {sorted(positions)}", sorted(home))
        goal = np.array([home.get(name, 0.0) for name in self._actions], np.float64)
        if not ((self._low <= goal) & (goal <= self._high)).all():
            raise SchemaError("home", "positions within the limits", dict(home))
        return goal

    def _compare(self, what: str, declared: object, found: object) -> None:
        if declared != found:
            raise RobotError(f"{self._type}: {what}: expected {found}, got {declared}")

    def _opened(self) -> Any:
        if self._device is None:
            raise RobotError(f"{self._type}: not connected")
        return self._device

    def _read(self) -> None:
        device = self._opened()
        with self._bus:
            self._raw = device.get_observation()

    def _present(self) -> Numbers:
        """(A,) the action that holds still where the robot was last seen.

        Raises:
            RobotError: a position is so far outside its limits that the way back would be a jump.
        """
        assert self._raw is not None
        goal = np.zeros(len(self._actions))
        for i, name in self._places.items():
            goal[i] = float(self._raw[name])
            nearest = float(np.clip(goal[i], self._low[i], self._high[i]))
            if not abs(goal[i] - nearest) <= self._lead:
                limits = f"within {self._low[i]:g} and {self._high[i]:g}"
                raise RobotError(f"{self._type}: {name}: expected {limits}, got {goal[i]:.1f}")
        return np.clip(goal, self._low, self._high)

    def _safe(self, wanted: Numbers) -> Numbers:
        """Within the limits, near to what was asked for last, and near to where the robot is."""
        assert self._goal is not None
        goal, present, places = wanted.copy(), self._present(), list(self._places)
        last = self._goal[places]
        goal[places] = np.clip(goal[places], last - self._step, last + self._step)
        here = present[places]
        goal[places] = np.clip(goal[places], here - self._lead, here + self._lead)
        return np.clip(goal, self._low, self._high)

    def _send(self, goal: Numbers) -> None:
        """Send a goal. What LeRobot really sent is the last goal from then on."""
        device = self._opened()
        with self._bus:
            if self._stopped.is_set():  # while this thread waited for the bus
                raise RobotError(f"{self._type}: stopped: reset it first")
            self._still = False
            sent = device.send_action(dict(zip(self._actions, goal.tolist(), strict=True)))
            self._goal = np.array([float(sent[name]) for name in self._actions])
            if self._stopped.is_set():  # by another thread, whose goal this one may have passed
                self._hold_still(read=True)
                raise RobotError(f"{self._type}: stopped: reset it first")

    def _executed(self) -> Action:
        assert self._goal is not None
        return as_action(self.action_space, np.clip(self._goal, self._low, self._high))

    def _hold_still(self, read: bool) -> None:
        """With what was seen last if the bus is busy. A robot that was never seen holds anyway."""
        if read:
            with suppress(Exception):  # then it is where it was seen last
                self._raw = self._device.get_observation()
        if self._raw is None:
            return
        goal = np.zeros(len(self._actions))
        for i, name in self._places.items():
            goal[i] = float(self._raw[name])
        if not np.isfinite(goal).all():
            raise RobotError(f"{self._type}: positions that are no numbers: {goal}")
        self._device.send_action(dict(zip(self._actions, goal.tolist(), strict=True)))
        self._still = True
        if self._goal is not None:
            self._goal = goal

    def _go_home(self, home: Numbers) -> None:
        """At the control rate. Raises RobotError when it takes much longer than it should."""
        assert self._goal is not None
        period = 1 / self.control_hz
        steps = float(np.abs(home - self._goal).max()) / self._step
        begun = self._clock.monotonic()
        late = begun + steps * period + STALL_S
        tick = 0
        while not np.allclose(self._goal, home):
            if self._clock.monotonic() > late:
                self.stop()
                raise RobotError(f"{self._type}: the way home is blocked at {self._present()}")
            self._send(self._safe(home))
            tick += 1
            self._clock.sleep_until(begun + tick * period)
            self._read()

    def _judged(self, first: bool) -> Reading:
        """The last observation in the declared form, with its reward."""
        assert self._raw is not None
        state = [float(self._raw[name]) for name in self._state]
        obs: dict[str, NDArray[Any]] = {STATE: np.array(state, np.float32)}
        for name, shape in self._cameras.items():
            obs[name] = _image(f"{self._type}: {name}", self._raw[name], shape)
        reward = 0.0 if first or self._reward is None else float(self._reward(obs))
        return Reading(obs, reward)


def _limits(limits: Mapping[str, Sequence[float]]) -> tuple[Numbers, Numbers]:
    """(A,) least and greatest actions. Raises SchemaError unless they are bounds."""
    for name, pair in limits.items():
        if len(pair) != 2 or not -math.inf < pair[0] < pair[1] < math.inf:
            raise SchemaError(f"limits.{name}", "two numbers, the lesser first", pair)
        if name.endswith(VELOCITY) and not pair[0] <= 0 <= pair[1]:
            raise SchemaError(f"limits.{name}", "a range with 0 in it", pair)
    if not limits:
        raise SchemaError("limits", "at least one feature", limits)
    low, high = np.array([tuple(pair) for pair in limits.values()], np.float64).T
    return low, high


def _places(actions: Sequence[str], state: Sequence[str]) -> dict[int, str]:
    """Which numbers of an action are positions. Raises SchemaError when one is not observed."""
    found = {i: name for i, name in enumerate(actions) if not name.endswith(VELOCITY)}
    unseen = sorted(set(found.values()) - set(state))
    if unseen:
        raise SchemaError("state", f"with the positions {unseen}", list(state))
    return found


def _observations(state: Sequence[str], cameras: Mapping[str, tuple[int, ...]]) -> spaces.Dict:
    if STATE in cameras:
        raise SchemaError("cameras", f"no camera of the name {STATE}", sorted(cameras))
    vector = {STATE: spaces.Box(-np.inf, np.inf, (len(state),), np.float32)}
    images = {name: spaces.Box(0, 255, shape, np.uint8) for name, shape in cameras.items()}
    return spaces.Dict({**vector, **images})


def _image(where: str, found: Any, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    picture = np.asarray(found)
    if picture.dtype != np.uint8 or picture.shape != shape:
        got = f"{picture.dtype} {picture.shape}"
        raise RobotError(f"{where}: expected uint8 {shape}, got {got}")
    return picture.copy()  # LeRobot's camera thread may write into its own


def _make(kind: str, config: Mapping[str, Any]) -> Any:
    """LeRobot's own object, not connected. Raises RobotError."""
    lerobot = load_sdk("lerobot.robots", PACKAGE)
    draccus = load_sdk("draccus", PACKAGE)
    cameras = load_sdk("lerobot.cameras", PACKAGE)
    missing = _register(lerobot) + _register(cameras)
    try:
        made = draccus.decode(lerobot.RobotConfig, {"type": kind, **config})
        return lerobot.make_robot_from_config(made)
    except Exception as error:
        hint = f" (not installed: {'; '.join(missing)})" if missing else ""
        raise RobotError(f"{kind}: LeRobot cannot make it: {error}{hint}") from error


def _register(package: Any) -> list[str]:
    """Import LeRobot's types, which register themselves; what of them needs another package."""
    missing = []
    for module in iter_modules(package.__path__):
        if module.ispkg:
            try:
                import_module(f"{package.__name__}.{module.name}")
            except ImportError as error:
                missing.append(f"{module.name}: {error}")
    return missing


def _release(kind: str, device: Any) -> None:
    """Disconnect; by the motors' bus itself where LeRobot refuses, as it does without its camera.

    Raises:
        RobotError: neither succeeded.
    """
    ways: list[Callable[[], object]] = [
        lambda: device.disconnect(),
        lambda: device.bus.disconnect(True),
    ]
    problems = []
    for disconnect in ways:
        try:
            disconnect()
        except Exception as error:  # noqa: BLE001 - drivers raise anything; the other may succeed
            problems.append(str(error))
        else:
            return
    raise RobotError(f"{kind}: its motors may be under power: {'; '.join(problems)}")
