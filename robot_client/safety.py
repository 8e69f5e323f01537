"""Between the policy and the motors: limits on actions, the ladder, emergency stop and watchdog.

Every action is checked and kept in range. After a start, a swap, a hold or a take-over the actions
of a Box are blended in over BLEND_S seconds. A robot changes this, or asks for more, by declaring:

    blend_steps       steps over which actions are blended in; 0 where a jump can hurt nobody
    max_rate          greatest change of an action per step, as a fraction of its range
    action_filter_hz  cut-off of a second-order Butterworth low-pass on the actions
    rest_action       the action of a robot at rest; the one nearest to zero where it says nothing
    silence_s         real seconds that one step may take before the watchdog stops the robot; it
                      does so at the silence of the robot's rate once somebody wants it to stop
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.clock import Clock
from robot_client.durable import sync_directory, sync_file
from robot_client.errors import RobotError, SafetyStop, SchemaError
from robot_client.robot import Action, Robot, as_action
from robot_client.schema import ActionSpace

Numbers = NDArray[np.float64]
BLEND_S = 0.25
_LOOK_S = 0.1  # between two looks of a watchdog, at most


class SafetyFilter:
    """Finite check, range, blending, rate limit, low-pass: from a requested to a safe action.

    `counts` says how often each of them changed an action: not_finite, range, blend, rate.

    Args:
        space: of the actions. For Discrete only the validity is checked.
        control_hz: steps per second.
        max_rate, blend_steps, action_filter_hz, rest_action: see the module.

    Raises:
        SchemaError: a value makes no sense.
    """

    def __init__(
        self,
        space: ActionSpace,
        control_hz: float,
        *,
        max_rate: float = 1.0,
        blend_steps: int = 0,
        action_filter_hz: float | None = None,
        rest_action: Action | None = None,
    ) -> None:
        if not 0 < max_rate <= 1:
            raise SchemaError("robot.max_rate", "a fraction in (0, 1]", max_rate)
        if blend_steps < 0:
            raise SchemaError("robot.blend_steps", "0 or more steps", blend_steps)
        self.counts: Counter[str] = Counter()
        self._space = space
        self._max_rate, self._blend_steps = max_rate, blend_steps
        self._lowpass = None if action_filter_hz is None else LowPass(action_filter_hz, control_hz)
        rest = np.zeros(space.shape or ()) if rest_action is None else rest_action
        self._rest = np.asarray(rest, np.float64)
        if isinstance(space, spaces.Box):
            self._rest = np.clip(self._rest, *_bounds(space))
        self.reset()

    @staticmethod
    def for_robot(robot: Robot) -> SafetyFilter:
        """With what the robot declares, and blending where it declares nothing."""
        steps = max(1, round(BLEND_S * robot.control_hz))
        return SafetyFilter(
            robot.action_space,
            robot.control_hz,
            max_rate=getattr(robot, "max_rate", 1.0),
            blend_steps=getattr(robot, "blend_steps", steps),
            action_filter_hz=getattr(robot, "action_filter_hz", None),
            rest_action=getattr(robot, "rest_action", None),
        )

    def reset(self) -> None:
        """An episode begins: the robot rests."""
        self._last = self._rest
        if self._lowpass:
            self._lowpass.reset(self._last)
        self.blend()

    def blend(self) -> None:
        """Something new is about to choose the actions: begin from the last executed one."""
        self._blending = self._blend_steps

    @property
    def rest(self) -> Action:
        """The action of the robot at rest."""
        return as_action(self._space, self._rest)

    @property
    def settling_steps(self) -> int:
        """Steps that the way to rest takes; 0 where nothing is blended."""
        return 0 if isinstance(self._space, spaces.Discrete) else self._blend_steps

    def executed(self, action: Action) -> None:
        """What the robot really did, from which the next step is limited."""
        self._last = np.asarray(action, np.float64)

    def held(self, action: Action) -> None:
        """The robot held with this action: what the policy wants next is blended in."""
        self.executed(action)
        if self._lowpass:
            self._lowpass.reset(self._last)
        self.blend()

    def __call__(self, requested: Action) -> Action:
        """The safe action. Raises SafetyStop when there is none: not finite, or no such choice."""
        if not np.isfinite(requested).all():
            self.counts["not_finite"] += 1
            raise SafetyStop(f"the policy's action is not finite: {_brief(requested)}")
        if isinstance(self._space, spaces.Discrete):
            if not 0 <= int(requested) < int(self._space.n):
                self.counts["range"] += 1
                raise SafetyStop(f"the policy chose {requested} of {self._space.n} actions")
            return as_action(self._space, requested)
        return as_action(self._space, self._limit(np.asarray(requested, np.float64), self._space))

    def _limit(self, wanted: Numbers, space: spaces.Box) -> Numbers:
        low, high = _bounds(space)
        action = self._count("range", wanted, np.clip(wanted, low, high))
        if self._blending:
            share = (self._blend_steps - self._blending + 1) / (self._blend_steps + 1)
            self._blending -= 1
            action = self._count("blend", action, self._last + share * (action - self._last))
        if self._max_rate < 1:
            step = self._max_rate * (high - low)
            limited = np.clip(action, self._last - step, self._last + step)
            action = self._count("rate", action, limited)
        if self._lowpass:
            action = self._lowpass(action)
        return np.clip(action, low, high)  # a low-pass may overshoot

    def _count(self, reason: str, before: Numbers, after: Numbers) -> Numbers:
        self.counts[reason] += not np.array_equal(before, after)
        return after


class LowPass:
    """Second-order Butterworth low-pass by the bilinear transform.

    Args:
        cutoff_hz: where the gain is 1/sqrt(2); below half of `rate_hz`.
        rate_hz: samples per second.
    """

    def __init__(self, cutoff_hz: float, rate_hz: float) -> None:
        if not 0 < cutoff_hz < rate_hz / 2:
            raise SchemaError(
                "robot.action_filter_hz", f"between 0 and {rate_hz / 2} Hz", cutoff_hz
            )
        k = math.tan(math.pi * cutoff_hz / rate_hz)
        scale = 1 / (1 + math.sqrt(2) * k + k * k)
        self._b = scale * k * k
        self._a1, self._a2 = 2 * scale * (k * k - 1), scale * (1 - math.sqrt(2) * k + k * k)
        self.reset(np.zeros(()))

    def reset(self, value: Numbers) -> None:
        """As if the input had been `value` for ever."""
        self._x1 = self._x2 = self._y1 = self._y2 = value

    def __call__(self, x: Numbers) -> Numbers:
        """The next output."""
        y: Numbers = self._b * (x + 2 * self._x1 + self._x2) - self._a1 * self._y1
        y -= self._a2 * self._y2
        self._x1, self._x2, self._y1, self._y2 = x, self._x1, y, self._y1
        return y


class Rung(StrEnum):
    """How freely the robot may act, best first."""

    FRESH = "fresh"
    CACHED = "cached"
    HOLD = "hold"
    STOP = "stop"
    ESTOP = "estop"


@dataclass(frozen=True)
class Limits:
    """Ages in seconds at which the ladder takes the next rung.

    Args:
        observation_s: older sensor data stops the robot.
        server_s: a server unheard of for longer makes the policy a cached one.
        weights_s: so does a policy that has not been replaced for longer.
        offline_s: after so long without the server the robot holds: nobody looks after it.
    """

    observation_s: float = 1.0
    server_s: float = 1.2
    weights_s: float = 300.0
    offline_s: float = 24 * 3600.0

    @staticmethod
    def for_rate(control_hz: float) -> Limits:
        """The defaults, with at least five control periods for an observation."""
        return Limits(observation_s=silence_limit(control_hz))


@dataclass(frozen=True)
class Ages:
    """Seconds since the sensors were read, the policy was swapped in, the server was heard."""

    observation: float
    weights: float
    server: float


@dataclass(frozen=True)
class Verdict:
    """A rung and why."""

    rung: Rung
    reason: str


FORGETFUL: Final = "not on disk: it ends with the robot's program"


class EmergencyStop:
    """Latched until released, over restarts too when it has a file.

    Args:
        path: holds the reason while pulled; None keeps it in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._disk = threading.Lock()  # held while the file changes
        self.pulls = 0  # so far: one may be over before the loop looks
        self._why = ""
        self._kept = path is not None and path.exists()  # whether the file is there
        self._lost = False  # whether it was to be there, and could not be written
        if path is not None and self._kept:  # empty if the disk was full
            self._why = path.read_text(errors="replace") or "emergency stop before a restart"

    @property
    def pulled(self) -> bool:
        """Whether it holds the robot."""
        return bool(self._why)

    @property
    def reason(self) -> str:
        """Why it holds the robot; empty if it does not. A person should know of a stop that is not
        on disk."""
        why = self._why
        return f"{why} ({FORGETFUL})" if why and self._lost else why

    def pull(self, reason: str, stop: Callable[[], None] = lambda: None) -> None:
        """Hold the robot until `release`. It is stopped by `stop` before the disk is waited for."""
        assert reason
        self._why = reason
        self.pulls += 1
        stop()
        if self._path is None:
            return
        with self._disk:  # the robot stands: whoever else pulls may wait
            if self._why and not self._kept:
                self._kept = _latch(self._path, reason)  # else the next pull tries again
                self._lost = not self._kept

    def release(self) -> None:
        """Let the robot act again."""
        self._why = ""
        with self._disk:
            if self._path is not None and not self._why:  # else it was pulled again meanwhile
                self._kept = self._lost = False
                self._path.unlink(missing_ok=True)


class Ladder:
    """From ages to a rung: fresh policy, cached policy, hold, stop; an emergency stop above all."""

    def __init__(self, limits: Limits, estop: EmergencyStop) -> None:
        self._limits, self._estop = limits, estop

    def rung(self, ages: Ages) -> Verdict:
        """Where the robot stands now."""
        limits = self._limits
        if self._estop.pulled:
            return Verdict(Rung.ESTOP, self._estop.reason)
        if ages.observation > limits.observation_s:
            return Verdict(Rung.STOP, f"the observation is {ages.observation:.1f} s old")
        if ages.server > limits.offline_s:
            return Verdict(Rung.HOLD, f"no word from the server for {ages.server:.0f} s")
        if ages.server > limits.server_s:
            return Verdict(Rung.CACHED, "the server is out of reach")
        if ages.weights > limits.weights_s:
            return Verdict(Rung.CACHED, f"the policy is {ages.weights:.0f} s old")
        return Verdict(Rung.FRESH, "")


def _latch(path: Path, reason: str) -> bool:
    """Whoever stops a robot may well cut its power next: it must not move when that returns.

    Returns whether the file is there to stay.
    """
    with suppress(OSError):  # on a full disk the file's name is enough
        path.write_text(reason)
    with suppress(OSError):
        sync_file(path)
        sync_directory(path.parent)
        return True
    return False


def silence_limit(control_hz: float) -> float:
    """After how many seconds a silent control loop, or sensor, counts as lost."""
    return max(1.0, 5 / control_hz)


class Watchdog:
    """Stops the robot from another thread when the control loop is silent.

    Args:
        stop: called once per silence; must be allowed while the loop hangs in another call.
        limit_s: seconds of silence.
        clock: the real one; tests advance it and call `check`.
        urgent: while it is true nothing more is allowed: somebody wants the robot to stop.
        more_s: further seconds that are always allowed, for a robot whose steps take long.
        insist: called at every look while the loop is in something that may take long. A robot's
            reset takes back the stop before it, and with that one that came at the same moment.
    """

    def __init__(
        self,
        stop: Callable[[], None],
        limit_s: float,
        clock: Clock,
        urgent: Callable[[], bool] = lambda: False,
        more_s: float = 0.0,
        insist: Callable[[], None] = lambda: None,
    ) -> None:
        self.fired = False
        self._stop, self._limit, self._clock, self._urgent = stop, limit_s, clock, urgent
        self._more = self._allowed = more_s
        self._insist = insist
        self._deadline = clock.monotonic() + limit_s + more_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self.beat()
        self._thread.start()

    def close(self) -> None:
        """End the thread, unless it hangs in `stop`: that must not keep the process."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(self._limit)

    def beat(self) -> None:
        """The loop is alive."""
        self._deadline = self._clock.monotonic() + self._limit + self._allowed
        self.fired = False

    @contextmanager
    def allow(self, seconds: float) -> Iterator[None]:
        """Expect up to `seconds` of further silence inside, as during a reset."""
        self._allowed = self._more + seconds
        self.beat()
        try:
            yield
        finally:
            self._allowed = self._more
            self.beat()

    def check(self) -> None:
        """Stop the robot if the loop has been silent for too long."""
        late = self._clock.monotonic() - self._deadline
        if not self.fired and late + (self._allowed if self._urgent() else 0.0) > 0:
            self.fired = True
            self._stop()
        if self._allowed > self._more:
            self._insist()

    def _watch(self) -> None:
        while not self._closing.wait(min(self._limit / 4, _LOOK_S)):
            self.check()


def _bounds(space: spaces.Box) -> tuple[Numbers, Numbers]:
    return space.low.astype(np.float64), space.high.astype(np.float64)


def _brief(value: Any) -> str:
    return str(np.asarray(value).ravel()[:4].tolist())


def declared_age(info: Mapping[str, Any]) -> float:
    """Seconds that a robot says its reading is old, `age_s`. Raises RobotError if it is none."""
    age = info.get("age_s", 0.0)
    if not isinstance(age, int | float) or not 0 <= age < math.inf:
        raise RobotError(f"info.age_s: expected seconds, at least 0, got {age!r}")
    return float(age)
