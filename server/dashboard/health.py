"""How a robot is, in a word and a colour: the one place that says which robot needs help."""

from __future__ import annotations

from typing import NamedTuple

from server.api.schemas import RobotView

SLOW = 0.9  # of the rate that was asked for
SLOW_WORD = "slow"
BACKLOG_S = 10.0  # of rows that wait to be uploaded


class Health(NamedTuple):
    """A state, its colour (a class of style.css), and what an operator should know of it."""

    word: str
    kind: str
    why: str


_RUNGS = {
    "fresh": ("acting", "good"),
    "cached": ("cached policy", "warn"),
    "hold": ("holding", "warn"),
    "stop": ("stopped", "bad"),
    "estop": ("EMERGENCY STOP", "bad"),
}

# Why a robot may stand still without anything being wrong, as its client says it.
_WAITING = {
    "starting": "starting",
    "paused by an operator": "paused",
    "there is no policy yet": "no policy yet",
}


def health_of(robot: RobotView) -> Health:
    """How a robot is now."""
    if robot.state == "silent":
        return Health("silent", "bad", "it went silent, and said no goodbye")
    if robot.state == "waiting":
        return Health("waits", "warn", robot.reason or "")
    if not robot.connected:
        return Health("offline", "off", "not connected")
    if robot.safety is None:
        return Health("connecting", "busy", "no heartbeat yet")
    if robot.safety == "stop" and robot.reason in _WAITING:
        return Health(_WAITING[robot.reason], "busy", "")
    if robot.driver and robot.safety in ("fresh", "cached", "hold"):
        return Health(f"{robot.driver} drives", "busy", "")
    word, kind = _RUNGS.get(robot.safety, (robot.safety, "bad"))
    why = robot.reason or ""
    if kind == "good" and is_slow(robot):
        return Health(SLOW_WORD, "warn", f"{robot.loop_hz:.1f} of {robot.control_hz:g} Hz")
    if kind == "good" and (robot.backlog_rows or 0) > BACKLOG_S * robot.control_hz:
        return Health("behind", "warn", f"{robot.backlog_rows} rows wait to be uploaded")
    return Health(word, kind, why)


def is_slow(robot: RobotView) -> bool:
    """Whether its control loop turns less often than it should; a loop that stands is not slow."""
    return bool(robot.loop_hz) and robot.loop_hz < SLOW * robot.control_hz  # type: ignore[operator]


def needs_help(robot: RobotView) -> bool:
    """Whether somebody should look: an offline robot may have been put away, and one that is a
    little slow is doing its work."""
    health = health_of(robot)
    return health.kind in ("bad", "warn") and health.word != SLOW_WORD


def just_slow(robot: RobotView) -> bool:
    """Whether it does its work, but slower than it was asked to."""
    return health_of(robot).word == SLOW_WORD
