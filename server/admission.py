"""Which experiment a robot joins, and when it may leave one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from robot_client.errors import DreamfleetError, SchemaError
from robot_client.messages import Hello
from robot_client.schema import Json, space_from_json, space_to_json
from server.errors import Conflict
from server.fleet import Session
from server.storage import Experiment, Robot

LIVE = ("running", "paused")  # states in which an experiment has robots
STILL = ("stop", "estop")  # rungs of the ladder on which no episode is running


def spaces_of(hello: Hello) -> tuple[Json, Json]:
    """A robot's observations and actions, written as we write them. Raises SchemaError."""
    observation = space_from_json(hello.observation_space, "observation_space")
    action = space_from_json(hello.action_space, "action_space")
    return space_to_json(observation), space_to_json(action)


def place_for(
    experiments: Sequence[Experiment],
    robot: str,
    observation: Json,
    action: Json,
    assigned: str | None = None,
) -> Experiment:
    """The live experiment that the robot is assigned to. Without an assignment, the first one that
    names it or, if none does, that is open to any.

    Raises:
        SchemaError: the experiments that it may join began with other spaces.
        Conflict: no experiment has a place for it now.
    """
    live = [e for e in experiments if e.state in LIVE and assigned in (None, e.id)]
    named = [e for e in live if robot in e.robots]
    places = live if assigned else named or [e for e in live if not e.robots]
    for experiment in places:
        if experiment.observation_space in (None, observation) and (
            experiment.action_space in (None, action)
        ):
            return experiment
    if not places and assigned:
        raise Conflict(f"this robot belongs to experiment {assigned}, which is not running")
    if not places:
        raise Conflict("no running experiment has a place for this robot: start one")
    raise _other_spaces(places[0], robot, observation, action)


def next_place(
    experiments: Sequence[Experiment], robot: Robot, previous: Experiment
) -> Experiment | None:
    """The experiment that a robot of `previous` would join now; None where it has no place."""
    observation, action = previous.observation_space, previous.action_space
    if observation is None or action is None:
        return None
    try:
        return place_for(experiments, robot.name, observation, action, robot.assigned)
    except DreamfleetError:
        return None


def leaves(experiments: Sequence[Experiment], robot: Robot, here: Experiment) -> bool:
    """Whether a robot of `here` is to leave it for another: it has ended, or the robot is assigned
    elsewhere."""
    if here.state in LIVE and robot.assigned in (None, here.id):
        return False
    place = next_place(experiments, robot, here)
    return place is not None and place is not here


def _other_spaces(
    experiment: Experiment, robot: str, observation: Json, action: Json
) -> SchemaError:
    """Which part of the spaces differs, and what to do."""
    of_experiment = f"experiment {experiment.name!r} ({experiment.id}) began with"
    remedy = (
        "create and start another experiment for it: "
        f"dreamfleet experiments create NAME --robot {robot} --start"
    )
    pairs = (
        ("observation_space", experiment.observation_space, observation),
        ("action_space", experiment.action_space, action),
    )
    where, ours, theirs = next(
        found for name, began, now in pairs for found in _differences(name, began or now, now)
    )
    expected = f"{_brief(ours)}, as {of_experiment}" if ours else f"none, as {of_experiment} none"
    return SchemaError(where, expected, f"{_brief(theirs) if theirs else 'none'}; {remedy}")


def _differences(
    where: str, ours: Json, theirs: Json
) -> Iterator[tuple[str, Json | None, Json | None]]:
    """Where two spaces differ, and what each has there."""
    inner, other = ours.get("spaces"), theirs.get("spaces")
    if inner is None or other is None:
        if ours != theirs:
            yield where, ours, theirs
        return
    for key in sorted(inner.keys() | other.keys()):
        if inner.get(key) != other.get(key):
            yield f"{where}.{key}", inner.get(key), other.get(key)


def _brief(space: Json) -> str:
    """A space in a few words: its bounds only where they are short."""
    kind, parts = str(space.get("type", "space")), []
    if "shape" in space:
        parts.append(f"shape {tuple(space['shape'])}")
    for name in ("dtype", "n", "low", "high"):
        if name in space:
            text = str(space[name])
            parts.append(f"{name} {text}" if len(text) <= 40 else f"{name} {text[:40]} ...")
    return f"{kind} ({', '.join(parts)})"


def refuse_taken_robots(experiments: Sequence[Experiment], starting: Experiment) -> None:
    """Raise Conflict when a live experiment has one of the robots that another names."""
    for other in experiments:
        both = set(starting.robots) & set(other.robots)
        if other is not starting and other.state in LIVE and both:
            names = ", ".join(sorted(both))
            raise Conflict(f"experiment {other.id} has {names}; stop it first")


def refuse_busy_robots(sessions: Sequence[Session], experiment: str) -> None:
    """Raise Conflict when a robot of the experiment moves or has rows to deliver."""
    for session in sessions:
        beat = session.heartbeat if session.experiment == experiment else None
        if beat is not None and (beat.backlog_rows or beat.safety not in STILL):
            raise Conflict(
                f"robot {session.robot} still moves, or has {beat.backlog_rows} rows to deliver; "
                "wait a moment"
            )
