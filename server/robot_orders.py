"""What an operator tells a robot, and what that says of the episode that it runs."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from robot_client.messages import Verb
from server.errors import Conflict, NotFound
from server.fleet import Fleet
from server.marks import Marks, Outcome, current_episode
from server.roster import Roster

RobotVerb = Literal[
    "pause",
    "resume",
    "stop",
    "release",
    "reset",
    "end_episode",
    "success",
    "failure",
    "discard",
]


async def tell(fleet: Fleet, roster: Roster, marks: Marks, robot: str, verb: RobotVerb) -> int:
    """Send a command to a robot; returns its number.

    `success`, `failure` and `discard` mark the episode that it runs and end it; between two
    episodes they mark the last one.

    Raises:
        NotFound: no robot of that name has ever said hello.
        Conflict: it is not connected.
    """
    roster.get(robot)
    try:
        if verb == "success" or verb == "failure":
            return await _mark(fleet, marks, robot, verb)
        if verb == "discard":
            return await _discard(fleet, marks, robot)
        plain: Verb = verb
        return fleet.command(robot, plain)
    except NotFound as error:
        raise Conflict(str(error)) from error


def tell_all(fleet: Fleet, roster: Roster, experiment: str, verb: Verb) -> set[str]:
    """Send a command to the robots of an experiment. Returns those that are out of reach: they hear
    of it when they are back, if they have been here since the server started."""
    here = {s.robot for s in fleet.sessions() if s.experiment == experiment}
    away = {r.name for r in roster.all() if r.experiment == experiment} - here
    for robot in sorted(here | away):
        with suppress(NotFound):
            fleet.command(robot, verb)
    return away


async def _mark(fleet: Fleet, marks: Marks, robot: str, outcome: Outcome) -> int:
    session, key = current_episode(fleet, robot)
    number = fleet.command(robot, outcome, key.episode)  # first: the robot is waiting
    await marks.outcome(session.experiment, key, outcome)
    return number


async def _discard(fleet: Fleet, marks: Marks, robot: str) -> int:
    session, key = current_episode(fleet, robot)
    number = fleet.command(robot, "end_episode", key.episode)
    await marks.discard(fleet, session.experiment, key)
    return number
