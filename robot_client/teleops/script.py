"""A function that drives in a person's place: for tests, and for experts that are programs."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from robot_client.errors import RobotError
from robot_client.schema import ActionSpace
from robot_client.teleop import Input, Obs


class Script:
    """Asks a function at every step.

    Args:
        play: `module:function`, from the observation to an action, or to None, which leaves the
            step to the policy.

    Raises:
        RobotError: there is no such function.
    """

    name = "script"

    def __init__(self, play: str) -> None:
        module, _, function = play.partition(":")
        try:
            self._play: Callable[[Obs], Any] = getattr(import_module(module), function)
        except (ImportError, AttributeError, ValueError) as error:
            raise RobotError(f"script {play}: {error}") from error

    def connect(self, space: ActionSpace) -> None:
        """Nothing to open."""

    def poll(self, obs: Obs | None) -> Input:
        """What the function says. Between episodes it is ready, so that one may begin."""
        if obs is None:
            return Input(True)
        try:
            action = self._play(obs)
        except Exception as error:  # a user's function may raise anything
            raise RobotError(f"{type(error).__name__}: {error}") from error
        return Input(action is not None, action)

    def close(self) -> None:
        """Nothing to let go of."""
