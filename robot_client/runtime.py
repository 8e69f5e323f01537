"""The control loop: observe, choose, make safe, apply, record, at a fixed rate.

It never waits for network, disk of the policy cache, or learner. `Robot.stop()` runs on every way
out: the end of an episode, an exception, a signal, a lost device.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import numpy as np

from robot_client.clock import Clock, SystemClock
from robot_client.commands import Operator
from robot_client.duty import Duty
from robot_client.errors import RobotError
from robot_client.guard import GuardedRobot
from robot_client.messages import ANY_EPISODE, Command, Drive, Evaluate, Event, Heartbeat
from robot_client.pacing import Pacer
from robot_client.pilot import MAX_REFUSALS as MAX_REFUSALS
from robot_client.pilot import Pilot
from robot_client.ports import Arrays, Offline, PolicySource, Recorder, ServerLink, Summary
from robot_client.ports import Episode as Episode
from robot_client.robot import Reading, Robot, as_action
from robot_client.row_log import RowLog
from robot_client.safety import (
    EmergencyStop,
    Limits,
    Rung,
    SafetyFilter,
    Verdict,
    Watchdog,
    declared_age,
    silence_limit,
)
from robot_client.seeds import episode_seed
from robot_client.standing import Standing
from robot_client.takeover import Takeover

MAX_ATTEMPTS = 5  # consecutive failures of the robot, after which the runtime gives up
AT_THE_ROBOT = 0  # id of a command that no server has sent
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
        takeover: of people who drive the robot; None lets them do so from afar only.
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
        takeover: Takeover | None = None,
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
        self._robot, self._recorder = GuardedRobot(robot), recorder
        self._clock, self._seed = clock, seed
        self._link: ServerLink = link or Offline()
        self._estop = estop or EmergencyStop()
        self._operator = Operator(
            commands or queue.SimpleQueue(), self._estop, self._robot.stop, self._link.send
        )
        limit = silence_s or float(getattr(robot, "silence_s", silence_limit(robot.control_hz)))
        least = min(limit, silence_limit(robot.control_hz))
        self._watchdog = Watchdog(
            self._silent, least, SystemClock(), self._urgent, limit - least, self._insist
        )
        self._lost = threading.Event()  # set by the watchdog
        self._reset_s, self._idle_s = reset_s, idle_s
        self._max_episodes, self._max_steps = max_episodes, max_steps
        self._halted, self._on_episode = halted or threading.Event(), on_episode
        self._filter, self._pacer = SafetyFilter.for_robot(robot), Pacer(clock, robot.control_hz)
        limits = limits or Limits.for_rate(robot.control_hz)
        self._standing = Standing(limits, self._estop, clock, self._link)
        self._takeover = takeover or Takeover(robot.action_space)
        self._pilot = Pilot(
            self._robot,
            robot.action_space,
            self._filter,
            policies,
            self._takeover,
            self._standing,
            self._estop,
            self._lost,
            clock,
            self._link,
            explore=explore,
            rng=np.random.default_rng(seed),
        )
        blank = as_action(robot.action_space, np.zeros(robot.action_space.shape or ()))
        self._log = RowLog(recorder, clock, self._standing, self._robot.stop, blank)
        self._duty = Duty()
        self._episode_steps = robot.task.episode_steps
        self._observation_age = 0.0
        self._failures = self._tick = self._episodes = self._steps = 0
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

    def command(self, command: Command | Evaluate) -> None:
        """Take an operator's command. May be called from another thread; a stop acts at once."""
        if isinstance(command, Evaluate):
            self._duty.take(command)
        else:
            self._operator.take(command)

    def drive(self, message: Drive) -> None:
        """Take what a person far away wants now. May be called from another thread."""
        self._takeover.drive(message)

    def heartbeat(self) -> Heartbeat:
        """How the loop is. May be called from another thread."""
        evaluation = self._duty.evaluation  # first: what it has played is in the backlog
        return Heartbeat(
            tick=self._tick,
            policy_version=self._pilot.version,
            safety=self._standing.verdict.rung.value,
            reason=self._standing.verdict.reason,
            backlog_rows=self._recorder.backlog,
            loop_hz=self._pacer.hz,
            missed_ticks=self._pacer.missed,
            episode=self._number,
            surprise=self._pilot.surprise,
            latency=self._pilot.latencies.worst,
            driver=self._takeover.driver,
            evaluation=evaluation,
        )

    def summary(self) -> Summary:
        """What the run has come to so far."""
        return Summary(
            episodes=self._episodes,
            steps=self._steps,
            rows=self._log.rows,
            missed_ticks=self._pacer.missed,
            swaps=self._pilot.swaps,
            interventions={k: n for k, n in self._filter.counts.items() if n},
            latency_p50=self._pilot.latencies.percentile(50),
            latency_p99=self._pilot.latencies.percentile(99),
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
            self._standing.judge(Rung.STOP, str(error), kind="robot_error")
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
        self._attend(None)
        self._pilot.adopt_waiting()
        self._operator.episode_ended()
        if self._estop.pulled:
            self._standing.judge(Rung.ESTOP, self._estop.reason)
        elif self._operator.paused:
            self._standing.judge(Rung.STOP, self._operator.reason)
        elif not self._pilot.ready:
            self._standing.judge(Rung.STOP, "there is no policy yet")
        else:
            return self._log.pay()
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
            self._attend(reading.obs)
            ending = self._ending(reading)
            self._record(reading, ending)
            if ending or self._log.owes:
                return self._end(ending or "the spool is full")
            self._t += 1
            self._steps += 1
            if self._t >= SETTLED_STEPS:
                self._failures = 0
            self._pacer.wait()

    def _begin(self) -> None:
        self._number, self._t, self._return = self._recorder.next_episode, 0, 0.0
        self._lost.clear()
        self._fallen = False
        policy = None if self._pilot.wish.driver else self._pilot.policy
        self._duty.begin(policy.manifest if policy else None)
        self._pilot.begin(self._duty.evaluates)
        with self._watchdog.allow(self._reset_s):
            self._robot.reset(episode_seed(self._seed, self._number))
        self._operator.episode_begun(self._number)
        self._pacer.start()

    def _end(self, ending: str) -> None:
        self._robot.stop()
        self._duty.end(ending)
        self._episodes += 1
        if self._on_episode is not None:
            episode = Episode(self._number, self._t, self._return, self._pilot.version, ending)
            self._on_episode(episode)
        if self._lost.is_set() or self._standing.by_age.rung is Rung.STOP:
            raise RobotError(ending)
        self._failures = 0

    def _observe(self) -> Reading:
        """Read the sensors; their age is how long that took, or what the robot itself says."""
        asked = self._clock.monotonic()
        reading = self._robot.observe()
        declared = declared_age(reading.info)
        self._observation_age = self._clock.monotonic() - asked + declared
        self._return += reading.reward
        if reading.info.get("fell") and not self._fallen:
            self._fallen = True
            self._link.send(Event("fall", f"in episode {self._number}, at step {self._t}"))
        return reading

    def _attend(self, obs: Arrays | None) -> None:
        """Operator, driver and policies, at a step boundary."""
        self._operator.attend()
        self._pilot.attend(obs)
        if self._pilot.wish.driver:
            self._duty.taken_over()
        for verb in self._takeover.verbs():
            self.command(Command(AT_THE_ROBOT, verb, ANY_EPISODE))
        if self._pilot.wish.stop:
            self._operator.pause(self._pilot.wish.reason)

    def _ending(self, reading: Reading) -> str:
        """Why the episode ends with this reading; empty when it goes on."""
        verdict = self._standing.look(self._observation_age, self._pilot.swapped_at)
        if not self._pilot.refusals:  # a hold for a bad action shows until a good one
            self._standing.judge(*self._shown(verdict))
        reasons = (
            ("terminated", reading.terminated),
            ("truncated", reading.truncated),
            ("time limit", self._t == self._episode_steps),
            (verdict.reason, verdict.rung in (Rung.STOP, Rung.ESTOP)),
            ("the watchdog stopped the robot", self._lost.is_set()),
            (self._operator.ending, bool(self._operator.ending)),
            ("another experiment", self._pilot.leaves),
            ("the policy failed", not self._pilot.ready),
            ("halted", self._finished()),
        )
        return next((reason for reason, holds in reasons if holds), "")

    def _shown(self, verdict: Verdict) -> tuple[Rung, str]:
        """The verdict of the ages, or what is to be said of the person who drives."""
        wish = self._pilot.wish
        if not wish.driver or verdict.rung not in (Rung.FRESH, Rung.CACHED):
            return verdict.rung, verdict.reason
        if wish.reason:
            return Rung.HOLD, wish.reason
        return verdict.rung, f"{wish.driver} drives"

    def _record(self, reading: Reading, ending: str) -> None:
        """Act, unless the episode ends here, and keep the row."""
        choice = self._pilot.nothing() if ending else self._pilot.act(reading)
        terminal = bool(ending) and (reading.terminated or self._operator.terminal)
        self._log.record(
            self._number,
            reading,
            choice,
            is_first=self._t == 0,
            is_last=bool(ending),
            is_terminal=terminal,
            tag=self._duty.last_tag(ending) if ending else self._duty.tag,
        )

    def _urgent(self) -> bool:
        """Whether the robot is to stop: not even a reset may then go on."""
        return self._estop.pulled or self._halted.is_set()

    def _insist(self) -> None:
        """Called by the watchdog's thread during a reset: it must not outlive an emergency stop."""
        if self._estop.pulled:
            self._robot.stop()

    def _silent(self) -> None:
        """Called by the watchdog's thread while the loop hangs."""
        self._lost.set()
        self._robot.stop()
        self._link.send(Event("safety_stop", "the watchdog stopped the robot: the loop hangs"))
