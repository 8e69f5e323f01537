"""Engagement by touch: whoever lays hands on a device drives, and hands back by letting go."""

from __future__ import annotations

from robot_client.clock import Clock
from robot_client.robot import Action
from robot_client.schema import ActionSpace
from robot_client.teleop import Input
from robot_client.teleops.mapping import DEADBAND, Hands, to_action, touched

LINGER_S = 1.0  # after the last touch: a stick passes its middle on the way from side to side


class Touch:
    """From what hands do to whether they drive.

    Args:
        space: of the robot's actions.
        clock: real time.
        deadband: of sticks, beyond which they count as touched.
        speed: see `robot_client.teleops.mapping.to_action`.
    """

    def __init__(
        self, space: ActionSpace, clock: Clock, deadband: float = DEADBAND, speed: float = 1.0
    ) -> None:
        self._space, self._clock = space, clock
        self._deadband, self._speed = deadband, speed
        self._touched = float("-inf")

    def let_go(self) -> None:
        """Hand back at once."""
        self._touched = float("-inf")

    def input(self, hands: Hands) -> Input:
        """Whether these hands drive, and what they want."""
        now = self._clock.monotonic()
        if touched(hands, self._deadband):
            self._touched = now
        if now - self._touched > LINGER_S:
            return Input(False)
        return Input(True, self._action(hands))

    def _action(self, hands: Hands) -> Action | None:
        return to_action(self._space, hands, self._deadband, self._speed)
