"""From the keys of a terminal to what a person wants of a robot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from robot_client.clock import Clock
from robot_client.schema import ActionSpace
from robot_client.teleops.keyboard import HAND_BACK, STOP, Held
from robot_client.teleops.mapping import Hands
from robot_client.teleops.touch import Touch

RATE_HZ = 20.0

Ask = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass
class Driver:
    """From keys to input, RATE_HZ times per second.

    Args:
        space: of the robot's actions.
        exchange: sends an input and waits for its answer.
        stop: the emergency stop.
        clock: real time.
        speed: share of the way to the bounds that a key goes.
    """

    space: ActionSpace
    exchange: Ask
    stop: Callable[[], None]
    clock: Clock
    speed: float = 0.5

    def __post_init__(self) -> None:
        self._held = Held(self.clock)
        self._touch = Touch(self.space, self.clock, speed=self.speed)

    def run(self, keys: Callable[[], list[str]], show: Callable[[str], None]) -> None:
        """Until `keys` raises."""
        while True:
            due = self.clock.monotonic() + 1 / RATE_HZ
            show(self.step(keys()))
            self.clock.sleep_until(due)

    def step(self, pressed: list[str]) -> str:
        """One input; how the robot answers, in a line."""
        if STOP in pressed:
            self.stop()
        if STOP in pressed or HAND_BACK in pressed:
            self._held.clear()
            self._touch.let_go()
            pressed = []
        wanted = self._touch.input(Hands((), self._held.press(pressed)))
        given: dict[str, Any] = {"sent": self.clock.monotonic(), "engaged": wanted.engaged}
        if wanted.action is None:
            given["wish"] = "hold"
        else:
            given["action"] = wanted.action.tolist()
        answer = self.exchange(given)
        driver, safety, reason = _how(answer)
        return f"{driver or 'policy'} | {safety} {reason} | {answer['action']}".ljust(78)[:78]


def _how(answer: dict[str, Any]) -> tuple[str, str, str]:
    return answer["driver"], answer["safety"] or "gone", answer["reason"] or ""
