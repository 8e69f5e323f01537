"""Who chooses the robot's actions: the policy, its swaps, its memory, and what is done without one.

Every action goes through the safety filter; a policy that gives none that may be taken is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_client.clock import Clock, SystemClock
from robot_client.errors import BundleError, SafetyStop
from robot_client.guard import GuardedRobot
from robot_client.messages import UNKNOWN, PolicyReport
from robot_client.pacing import Latencies
from robot_client.ports import Carry, Choice, Policy, PolicySource, ServerLink, surprise
from robot_client.robot import Action, Reading, as_action
from robot_client.safety import EmergencyStop, Rung, SafetyFilter
from robot_client.schema import NO_POLICY, ActionSpace, Source
from robot_client.standing import Standing

MAX_REFUSALS = 10  # consecutive steps without a usable action, after which the policy is dropped


class Pilot:
    """Chooses, makes safe and applies.

    Args:
        robot: gets the actions.
        space: of the actions.
        safety: every action goes through it.
        policies: asked for a newer policy at every step boundary.
        standing: where the robot stands; told of bad actions.
        estop: while it is pulled nothing is applied.
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
        standing: Standing,
        estop: EmergencyStop,
        clock: Clock,
        link: ServerLink,
        *,
        explore: bool,
        rng: np.random.Generator,
    ) -> None:
        self._robot, self._space, self._filter, self._policies = robot, space, safety, policies
        self._standing, self._estop, self._link = standing, estop, link
        self._clock, self._real = clock, SystemClock()
        self._explore, self._rng = explore, rng
        self._evaluates = False
        self.latencies = Latencies()
        self.policy: Policy | None = None
        self.next_policy: Policy | None = None  # for the next episode
        self.swapped_at, self.swaps, self.surprise = 0.0, 0, UNKNOWN
        self.refusals = 0  # consecutive
        self._blank: Action = as_action(space, np.zeros(space.shape or ()))
        self._blank_extras: Mapping[str, NDArray[Any]] = {}
        self._carry: Carry | None = None  # None: the policy's next step is its first

    @property
    def version(self) -> int:
        """Of the policy, or NO_POLICY."""
        return self.policy.manifest.version if self.policy else NO_POLICY

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
        self._carry, self._evaluates = None, evaluates
        self._filter.reset()

    def attend(self) -> None:
        """Take a newer policy, at a step boundary."""
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
        policy, started = self.policy, self._real.monotonic()
        assert policy is not None
        first = self._carry is None
        carry = self._carry or policy.init()
        try:
            requested, carry, extras = policy.step(
                carry, reading.obs, first, self._rng, self._explore and not self._evaluates
            )
            safe = self._filter(requested)
        except (SafetyStop, BundleError) as error:
            return self._refuse(policy, str(error))
        self.latencies.add(self._real.monotonic() - started)
        if self._estop.pulled:  # while the policy was choosing
            return self._hold()
        executed = self._robot.apply(safe)
        self._filter.executed(executed)
        self._carry = carry.executed(executed)
        self.refusals, self.surprise = 0, surprise(extras)
        requested = as_action(self._space, requested)
        return Choice(executed, requested, policy.source, policy.manifest.version, extras)

    def nothing(self) -> Choice:
        """An action of zeros, for the last row of an episode."""
        source = self.policy.source if self.policy else Source.HOLD
        return Choice(self._blank, self._blank, source, self.version, self._blank_extras)

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
        """The robot's own way to hold, or standing still."""
        self._carry = None
        executed = self._robot.hold()
        if executed is None:
            self._robot.stop()
            executed = self._blank
        self._filter.held(executed)
        return Choice(executed, executed, Source.HOLD, NO_POLICY, self._blank_extras)
