"""The control loop: observe, choose, make safe, apply, record, at a fixed rate.

It never waits for network, disk of the policy cache, or learner. `Robot.stop()` runs on every way
out: the end of an episode, an exception, a signal, a lost device.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_client.clock import Clock, SystemClock
from robot_client.commands import Operator
from robot_client.errors import BundleError, RobotError, SafetyStop, SpoolFull
from robot_client.guard import GuardedRobot
from robot_client.messages import UNKNOWN, Command, Event, Heartbeat, PolicyReport
from robot_client.pacing import Latencies, Pacer
from robot_client.ports import (
    Carry,
    Choice,
    Offline,
    Policy,
    PolicySource,
    Recorder,
    ServerLink,
    Summary,
    row,
    surprise,
)
from robot_client.ports import Episode as Episode
from robot_client.robot import Reading, Robot, as_action
from robot_client.safety import (
    Ages,
    EmergencyStop,
    Ladder,
    Limits,
    Rung,
    SafetyFilter,
    Verdict,
    Watchdog,
    declared_age,
    silence_limit,
)
from robot_client.schema import (
    ACTION,
    ACTION_REQUESTED,
    IS_FIRST,
    IS_LAST,
    IS_TERMINAL,
    NO_POLICY,
    POLICY_VERSION,
    REWARD,
    SOURCE,
    TIME_MONOTONIC,
    TIME_WALL,
    Columns,
    Source,
)
from robot_client.seeds import episode_seed

MAX_REFUSALS = 10  # consecutive steps without a usable action, after which the policy is dropped
MAX_ATTEMPTS = 5  # consecutive failures of the robot, after which the runtime gives up
SETTLED_STEPS = 100  # steps without a failure, after which earlier ones are forgotten


class Runtime:
    """Acts with a robot until it is halted.

    Args:
        robot: not yet connected.
        recorder: gets every row.
        policies: asked for a newer policy at every step boundary.
        clock: gives the rate and the row's times; `speed` and tests are a matter of the clock.
        link: for reports, and for the age of the server.
        commands: an operator's wishes that wait already; later ones come through `command`.
        explore: False asks the policy for the mode of its actions.
        seed: of the policy's noise and, with the episode's number, of the robot's resets.
        limits: of the ladder; None takes those for the robot's rate.
        estop: latched emergency stop; None makes one in memory.
        silence_s: of the watchdog, in real seconds; None takes the robot's, or that for its rate.
        reset_s: how much longer a reset may take.
        max_episodes, max_steps: end the run; None never does.
        halted: set by a signal handler to end the run.
        idle_s: real seconds between looks while there is nothing to do.
        on_episode: called after each episode.
    """

    def __init__(
        self,
        robot: Robot,
        recorder: Recorder,
        policies: PolicySource,
        clock: Clock,
        *,
        link: ServerLink | None = None,
        commands: queue.SimpleQueue[Command] | None = None,
        explore: bool = True,
        seed: int | None = None,
        limits: Limits | None = None,
        estop: EmergencyStop | None = None,
        silence_s: float | None = None,
        reset_s: float = 300.0,
        max_episodes: int | None = None,
        max_steps: int | None = None,
        halted: threading.Event | None = None,
        idle_s: float = 0.1,
        on_episode: Callable[[Episode], None] | None = None,
    ) -> None:
        self._robot, self._recorder, self._policies = GuardedRobot(robot), recorder, policies
        self._clock, self._real = clock, SystemClock()
        self._started = self._real.monotonic()
        self._link: ServerLink = link or Offline()
        self._explore, self._seed, self._rng = explore, seed, np.random.default_rng(seed)
        self._estop = estop or EmergencyStop()
        self._operator = Operator(
            commands or queue.SimpleQueue(), self._estop, self._robot.stop, self._link.send
        )
        self._ladder = Ladder(limits or Limits.for_rate(robot.control_hz), self._estop)
        limit = silence_s or float(getattr(robot, "silence_s", silence_limit(robot.control_hz)))
        least = min(limit, silence_limit(robot.control_hz))
        self._watchdog = Watchdog(self._silent, least, self._real, self._urgent, limit - least)
        self._lost = threading.Event()  # set by the watchdog
        self._reset_s, self._idle_s = reset_s, idle_s
        self._max_episodes, self._max_steps = max_episodes, max_steps
        self._halted, self._on_episode = halted or threading.Event(), on_episode
        self._filter, self._pacer = SafetyFilter.for_robot(robot), Pacer(clock, robot.control_hz)
        self._latencies = Latencies()
        self._space, self._episode_steps = robot.action_space, robot.task.episode_steps
        self._blank = as_action(self._space, np.zeros(self._space.shape or ()))
        self._policy: Policy | None = None
        self._next_policy: Policy | None = None  # of another experiment: for the next episode
        self._blank_extras: Mapping[str, NDArray[Any]] = {}
        self._carry: Carry | None = None  # None: the policy's next step is its first
        self._swapped_at = 0.0
        self._refusals = self._failures = 0
        self._owed: tuple[int, Columns] | None = None  # last row that found the spool full
        self._verdict = self._age_verdict = Verdict(Rung.STOP, "starting")
        self._observation_age, self._surprise = 0.0, UNKNOWN
        self._tick = self._episodes = self._steps = self._rows = self._swaps = 0
        self._number, self._t, self._return = 0, 0, 0.0

    def run(self) -> Summary:
        """Act until halted or a limit is reached.

        Raises:
            RobotError: the robot failed too often in a row.
        """
        self._watchdog.start()
        try:
            while not self._finished():
                self._attempt()
        finally:
            self._robot.stop()
            self._watchdog.close()
            self._robot.close()
        return self.summary()

    def command(self, command: Command) -> None:
        """Take an operator's command. May be called from another thread; a stop acts at once."""
        self._operator.take(command)

    def heartbeat(self) -> Heartbeat:
        """How the loop is. May be called from another thread."""
        return Heartbeat(
            tick=self._tick,
            policy_version=self._version(),
            safety=self._verdict.rung.value,
            reason=self._verdict.reason,
            backlog_rows=self._recorder.backlog,
            loop_hz=self._pacer.hz,
            missed_ticks=self._pacer.missed,
            episode=self._number,
            surprise=self._surprise,
            latency=self._latencies.worst,
        )

    def summary(self) -> Summary:
        """What the run has come to so far."""
        return Summary(
            episodes=self._episodes,
            steps=self._steps,
            rows=self._rows,
            missed_ticks=self._pacer.missed,
            swaps=self._swaps,
            interventions={k: n for k, n in self._filter.counts.items() if n},
            latency_p50=self._latencies.percentile(50),
            latency_p99=self._latencies.percentile(99),
        )

    def _attempt(self) -> None:
        """Connect and act until finished; when the robot fails, stop it and wait."""
        try:
            with self._watchdog.allow(self._reset_s):
                self._robot.connect()
            while not self._finished():
                if self._may_act():
                    self._episode()
                else:
                    self._idle()
        except RobotError as error:
            self._robot.stop()
            self._robot.close()
            self._failures += 1
            self._judge(Rung.STOP, str(error), kind="robot_error")
            if self._failures >= MAX_ATTEMPTS:
                raise
            self._idle(self._idle_s * 2**self._failures)

    def _finished(self) -> bool:
        return (
            self._halted.is_set()
            or (self._max_episodes is not None and self._episodes >= self._max_episodes)
            or (self._max_steps is not None and self._steps >= self._max_steps)
        )

    def _may_act(self) -> bool:
        """Between episodes: whether one may begin. Says in the verdict why not."""
        self._operator.episode_ended()  # before: a mark that comes now is too late
        self._attend()
        self._adopt_waiting()
        self._operator.episode_ended()
        if self._estop.pulled:
            self._judge(Rung.ESTOP, self._estop.reason)
        elif self._operator.paused:
            self._judge(Rung.STOP, "paused by an operator")
        elif self._policy is None:
            self._judge(Rung.STOP, "there is no policy yet")
        else:
            return self._pay()
        return False

    def _idle(self, seconds: float | None = None) -> None:
        """Stand still for a moment, ready to be halted."""
        self._robot.stop()
        self._tick += 1
        wait = self._idle_s if seconds is None else seconds
        with self._watchdog.allow(wait):
            self._halted.wait(wait)

    def _episode(self) -> None:
        """One episode, row by row. Raises RobotError after its last row if the device is lost."""
        self._begin()
        while True:
            self._tick += 1
            self._watchdog.beat()
            reading = self._observe()
            self._attend()
            ending = self._ending(reading)
            self._record(reading, None if ending else self._act(reading))
            if ending or self._owed:
                return self._end(ending or "the spool is full")
            self._t += 1
            self._steps += 1
            if self._t >= SETTLED_STEPS:
                self._failures = 0
            self._pacer.wait()

    def _begin(self) -> None:
        self._number, self._t, self._return = self._recorder.next_episode, 0, 0.0
        self._carry = None
        self._lost.clear()
        self._filter.reset()
        with self._watchdog.allow(self._reset_s):
            self._robot.reset(episode_seed(self._seed, self._number))
        self._operator.episode_begun(self._number)
        self._pacer.start()

    def _end(self, ending: str) -> None:
        self._robot.stop()
        self._episodes += 1
        if self._on_episode is not None:
            episode = Episode(self._number, self._t, self._return, self._version(), ending)
            self._on_episode(episode)
        if self._lost.is_set() or self._age_verdict.rung is Rung.STOP:
            raise RobotError(ending)
        self._failures = 0

    def _observe(self) -> Reading:
        """Read the sensors; their age is how long that took, or what the robot itself says."""
        asked = self._clock.monotonic()
        reading = self._robot.observe()
        declared = declared_age(reading.info)
        self._observation_age = self._clock.monotonic() - asked + declared
        self._return += reading.reward
        return reading

    def _attend(self) -> None:
        """Operator and policies, at a step boundary."""
        self._operator.attend()
        for report in self._policies.reports():
            self._link.send(report)
        found = self._policies.take()
        if found is not None:
            self._adopt(found)

    def _adopt(self, found: Policy) -> None:
        """Swap the policy in, or keep it for the end of the episode."""
        self._next_policy = None
        if self._policy and self._policy.manifest.experiment != found.manifest.experiment:
            self._next_policy = found
            return
        if self._policy is None or not self._policy.manifest.same_build(found.manifest):
            self._carry = None
        self._policy, self._swapped_at = found, self._clock.monotonic()
        self._blank_extras = found.blank_extras()
        self._refusals = 0
        self._swaps += 1
        self._filter.blend()
        self._link.send(PolicyReport(found.manifest.experiment, found.manifest.version, ""))

    def _adopt_waiting(self) -> None:
        if self._next_policy is not None:
            found, self._policy = self._next_policy, None
            self._adopt(found)

    def _ending(self, reading: Reading) -> str:
        """Why the episode ends with this reading; empty when it goes on."""
        now = self._clock.monotonic()
        ages = Ages(self._observation_age, now - self._swapped_at, self._server_age())
        verdict = self._age_verdict = self._ladder.rung(ages)
        if not self._refusals:  # a hold for a bad action shows until a good one
            self._judge(verdict.rung, verdict.reason)
        reasons = (
            ("terminated", reading.terminated),
            ("truncated", reading.truncated),
            ("time limit", self._t == self._episode_steps),
            (verdict.reason, verdict.rung in (Rung.STOP, Rung.ESTOP)),
            ("the watchdog stopped the robot", self._lost.is_set()),
            (self._operator.ending, bool(self._operator.ending)),
            ("another experiment", self._next_policy is not None),
            ("the policy failed", self._policy is None),
            ("halted", self._finished()),
        )
        return next((reason for reason, holds in reasons if holds), "")

    def _act(self, reading: Reading) -> Choice:
        """Choose, make safe and apply. Holds when there is no action that may be taken."""
        if self._age_verdict.rung is Rung.HOLD:
            return self._hold()
        policy, started = self._policy, self._real.monotonic()
        assert policy is not None
        first = self._carry is None
        carry = self._carry or policy.init()
        try:
            requested, carry, extras = policy.step(
                carry, reading.obs, first, self._rng, self._explore
            )
            safe = self._filter(requested)
        except (SafetyStop, BundleError) as error:
            return self._refuse(policy, str(error))
        self._latencies.add(self._real.monotonic() - started)
        if self._estop.pulled:  # while the policy was choosing
            return self._hold()
        executed = self._robot.apply(safe)
        self._filter.executed(executed)
        self._carry = carry.executed(executed)
        self._refusals, self._surprise = 0, surprise(extras)
        requested = as_action(self._space, requested)
        return Choice(executed, requested, policy.source, policy.manifest.version, extras)

    def _refuse(self, policy: Policy, reason: str) -> Choice:
        """Hold instead of a bad action; a policy that goes on like this is dropped."""
        self._refusals += 1
        self._judge(Rung.HOLD, reason, kind="safety_stop")
        choice = self._hold()
        if self._refusals >= MAX_REFUSALS:
            manifest = policy.manifest
            self._link.send(PolicyReport(manifest.experiment, manifest.version, reason))
            self._policy = None
        return choice

    def _hold(self) -> Choice:
        """The robot's own way to hold, or standing still."""
        self._carry = None
        executed = self._robot.hold()
        if executed is None:
            self._robot.stop()
            executed = self._blank
        self._filter.held(executed)
        return Choice(executed, executed, Source.HOLD, NO_POLICY, self._blank_extras)

    def _record(self, reading: Reading, choice: Choice | None) -> None:
        """Keep the row; without a choice it is the episode's last, with an action of zeros."""
        is_last = choice is None
        choice = choice or self._no_choice()
        step = {
            REWARD: reading.reward,
            IS_FIRST: self._t == 0,
            IS_LAST: is_last,
            IS_TERMINAL: is_last and (reading.terminated or self._operator.terminal),
            POLICY_VERSION: choice.version,
            SOURCE: choice.source,
            TIME_MONOTONIC: self._clock.monotonic(),
            TIME_WALL: self._clock.wall(),
        }
        columns = row(reading.obs, step, choice)
        if not self._kept(self._number, columns):
            last = {IS_LAST: np.asarray(True), ACTION: self._blank, ACTION_REQUESTED: self._blank}
            self._owed = self._number, columns | last

    def _no_choice(self) -> Choice:
        source = self._policy.source if self._policy else Source.HOLD
        return Choice(self._blank, self._blank, source, self._version(), self._blank_extras)

    def _kept(self, number: int, columns: Columns) -> bool:
        """Keep a row; False, with the robot stopped, when the spool is full."""
        try:
            self._recorder.append(number, columns)
        except SpoolFull as error:
            self._robot.stop()
            self._judge(Rung.STOP, str(error), kind="spool_full")
            return False
        self._rows += 1
        return True

    def _pay(self) -> bool:
        """Keep the row that found the spool full; False while it still is."""
        if self._owed is not None and self._kept(*self._owed):
            self._owed = None
        return self._owed is None

    def _judge(self, rung: Rung, reason: str, kind: str = "safety") -> None:
        """Show where the robot stands; an event tells of each change for the worse."""
        before, self._verdict = self._verdict, Verdict(rung, reason)
        if self._verdict != before and rung not in (Rung.FRESH, Rung.CACHED):
            self._link.send(Event(kind, f"{rung.value}: {reason}"))

    def _urgent(self) -> bool:
        """Whether the robot is to stop: not even a reset may then go on."""
        return self._estop.pulled or self._halted.is_set()

    def _silent(self) -> None:
        """Called by the watchdog's thread while the loop hangs."""
        self._lost.set()
        self._robot.stop()
        self._link.send(Event("safety_stop", "the watchdog stopped the robot: the loop hangs"))

    def _server_age(self) -> float:
        """Seconds since the server was heard of; before the first word, since the start."""
        age = self._link.server_age
        return age if np.isfinite(age) else self._real.monotonic() - self._started

    def _version(self) -> int:
        return self._policy.manifest.version if self._policy else NO_POLICY
