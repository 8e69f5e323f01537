"""Who chooses the robot's actions: the policy or a person, and what is done without either.

Every action goes through the safety filter; a policy that gives none that may be taken is dropped.
While a person drives, the policy is shown every observation and the action really taken, so that
control comes back to one that knows where the robot is.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_client.clock import Clock, SystemClock
from robot_client.errors import BundleError, SafetyStop
from robot_client.guard import GuardedRobot
from robot_client.messages import UNKNOWN, PolicyReport
from robot_client.pacing import Latencies
from robot_client.ports import Arrays, Carry, Choice, Policy, PolicySource, ServerLink, surprise
from robot_client.robot import Action, Reading, as_action
from robot_client.safety import EmergencyStop, Rung, SafetyFilter
from robot_client.schema import NO_POLICY, PROPOSAL, ActionSpace, Source
from robot_client.standing import Standing
from robot_client.takeover import NOBODY, Takeover

MAX_REFUSALS = 10  # consecutive steps without a usable action, after which the policy is dropped


class Pilot:
    """Chooses, makes safe and applies.

    Args:
        robot: gets the actions.
        space: of the actions.
        safety: every action goes through it.
        policies: asked for a newer policy at every step boundary.
        takeover: asked who drives, likewise.
        standing: where the robot stands; told of bad actions.
        estop: while it is pulled nothing is applied.
        lost: set while the watchdog has stopped the robot: nothing is applied then, either.
        clock: of the swaps.
        link: for reports.
        explore: False asks the policy for the mode of its actions.
        rng: of the policy's noise.
    """

    def __init__(
        self,
        robot: GuardedRobot,
        space: ActionSpace,
        safety: SafetyFilter,
        policies: PolicySource,
        takeover: Takeover,
        standing: Standing,
        estop: EmergencyStop,
        lost: threading.Event,
        clock: Clock,
        link: ServerLink,
        *,
        explore: bool,
        rng: np.random.Generator,
    ) -> None:
        self._robot, self._space, self._filter, self._policies = robot, space, safety, policies
        self._takeover, self._standing, self._estop, self._link = takeover, standing, estop, link
        self._lost, self._clock, self._real = lost, clock, SystemClock()
        self._explore, self._rng = explore, rng
        self._evaluates = False
        self.latencies = Latencies()
        self.policy: Policy | None = None
        self.next_policy: Policy | None = None  # for the next episode
        self.swapped_at, self.swaps, self.surprise = 0.0, 0, UNKNOWN
        self.refusals = 0  # consecutive
        self.wish = NOBODY  # of the person who drives at this step
        self._turn: tuple[str, int] | None = None  # of the person who acted last
        self._pulls = 0  # of the emergency stop, that have been heeded
        self._settling: int | None = None  # steps left to rest; None: the person does not hold
        self._blank: Action = as_action(space, np.zeros(space.shape or ()))
        self._blank_extras: Mapping[str, NDArray[Any]] = {}
        self._carry: Carry | None = None  # None: the policy's next step is its first

    @property
    def version(self) -> int:
        """Of the policy, or NO_POLICY."""
        return self.policy.manifest.version if self.policy else NO_POLICY

    @property
    def ready(self) -> bool:
        """Whether there is anybody to choose actions."""
        return self.policy is not None or bool(self.wish.driver)

    @property
    def leaves(self) -> bool:
        """Whether a policy of another experiment waits for the episode's end."""
        ours, next_one = self.policy, self.next_policy
        return next_one is not None and (
            ours is None or ours.manifest.experiment != next_one.manifest.experiment
        )

    def begin(self, evaluates: bool = False) -> None:
        """An episode begins: nothing is remembered, and the robot rests.

        One that `evaluates` a version keeps it to the end and does not explore.
        """
        self._carry = self._settling = None
        self._evaluates = evaluates
        self._filter.reset()

    def attend(self, obs: Arrays | None) -> None:
        """At a step boundary: who drives, and is there a newer policy? `obs` as in `Takeover`."""
        if self._estop.pulled or self._estop.pulls != self._pulls:
            self._takeover.drop("emergency stop")
        self._pulls = self._estop.pulls
        self.wish = NOBODY if self._estop.pulled else self._takeover.look(obs)
        for event in self._takeover.events():
            self._link.send(event)
        for report in self._policies.reports():
            self._link.send(report)
        found = self._policies.take()
        if found is not None:
            self._adopt(found)

    def adopt_waiting(self) -> None:
        """Between episodes, a policy that waits for that takes over."""
        self._evaluates = False
        if self.next_policy is not None:
            found, self.policy = self.next_policy, None
            self._adopt(found)

    def act(self, reading: Reading) -> Choice:
        """Choose, make safe and apply. Holds when there is no action that may be taken."""
        if self._standing.by_age.rung is Rung.HOLD:
            return self._hold()
        if self.wish.turn != self._turn:
            self._turn, self._settling = self.wish.turn, None
            self._filter.blend()
        return self._by_person(reading) if self.wish.driver else self._by_policy(reading)

    def nothing(self) -> Choice:
        """An action of zeros, for the last row of an episode."""
        source = self.policy.source if self.policy else Source.HOLD
        return Choice(self._blank, self._blank, source, self.version, self._blank_extras)

    def _by_policy(self, reading: Reading) -> Choice:
        policy = self.policy
        assert policy is not None
        try:
            requested, carry, extras = self._ask(policy, reading)
            safe = self._filter(requested)
        except (SafetyStop, BundleError) as error:
            return self._refuse(policy, str(error))
        if self._estop.pulled or self._lost.is_set():  # while the policy was choosing
            return self._hold()
        executed = self._robot.apply(safe)
        self._filter.executed(executed)
        self._carry = carry.executed(executed)
        self.refusals, self.surprise = 0, surprise(extras)
        requested = as_action(self._space, requested)
        return Choice(executed, requested, policy.source, policy.manifest.version, extras)

    def _by_person(self, reading: Reading) -> Choice:
        """What the person wants first, the policy's opinion of it after: nobody waits for that."""
        if self._estop.pulled:
            return self._hold()
        if self.wish.action is None:
            return self._watched(reading, self._settle())
        if self._settling is not None:
            self._settling = None
            self._filter.blend()
        return self._watched(reading, self._apply(self.wish.action, Source.HUMAN))

    def _watched(self, reading: Reading, choice: Choice) -> Choice:
        """The same choice, with what the policy makes of the observation, if it can."""
        policy, self.refusals = self.policy, 0
        if policy is None:
            return choice
        try:
            proposal, carry, extras = self._ask(policy, reading)
        except BundleError:
            self._carry = None
            return choice
        self._carry, self.surprise = carry.executed(choice.executed), surprise(extras)
        extras[PROPOSAL] = as_action(self._space, proposal)
        return replace(choice, version=policy.manifest.version, extras=extras)

    def _settle(self) -> Choice:
        """Hold while a person drives: by way of rest where the robot's way to hold is to stop."""
        if self._settling is None:
            self._settling = 0 if self._robot.can_hold else self._filter.settling_steps
            self._filter.blend()
        if not self._settling:
            return self._held()
        self._settling -= 1
        return self._apply(self._filter.rest, Source.HOLD)

    def _apply(self, wanted: Action, source: Source) -> Choice:
        """Do what no policy has asked for, made safe."""
        executed = self._robot.apply(self._filter(wanted))
        self._filter.executed(executed)
        return Choice(executed, wanted, source, NO_POLICY, self._blank_extras)

    def _ask(
        self, policy: Policy, reading: Reading
    ) -> tuple[Action, Carry, dict[str, NDArray[Any]]]:
        started, first = self._real.monotonic(), self._carry is None
        carry = self._carry or policy.init()
        explore = self._explore and not self._evaluates
        found = policy.step(carry, reading.obs, first, self._rng, explore)
        self.latencies.add(self._real.monotonic() - started)
        return found

    def _adopt(self, found: Policy) -> None:
        """Swap the policy in, or keep it for the end of the episode."""
        self.next_policy = found
        if self.policy and (self._evaluates or self.leaves):
            return
        self.next_policy = None
        if self.policy is None or not self.policy.manifest.same_build(found.manifest):
            self._carry = None
        self.policy, self.swapped_at = found, self._clock.monotonic()
        self._blank_extras = found.blank_extras()
        self.refusals = 0
        self.swaps += 1
        if not self.wish.driver:  # who drives now is in the middle of something
            self._filter.blend()
        self._link.send(PolicyReport(found.manifest.experiment, found.manifest.version, ""))

    def _refuse(self, policy: Policy, reason: str) -> Choice:
        """Hold instead of a bad action; a policy that goes on like this is dropped."""
        self.refusals += 1
        self._standing.judge(Rung.HOLD, reason, kind="safety_stop")
        choice = self._hold()
        if self.refusals >= MAX_REFUSALS:
            manifest = policy.manifest
            self._link.send(PolicyReport(manifest.experiment, manifest.version, reason))
            self.policy = None
        return choice

    def _hold(self) -> Choice:
        """Hold, and forget: the policy has not seen this step."""
        self._carry = None
        return self._held()

    def _held(self) -> Choice:
        """The robot's own way to hold, or standing still."""
        executed = self._robot.hold()
        if executed is None:
            self._robot.stop()
            executed = self._blank
        self._filter.held(executed)
        return Choice(executed, executed, Source.HOLD, NO_POLICY, self._blank_extras)
