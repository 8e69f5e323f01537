"""Which experiment a robot joins."""

from __future__ import annotations

import json
from collections.abc import Sequence

from robot_client.errors import DreamfleetError, SchemaError
from robot_client.schema import Json
from server.errors import Conflict
from server.storage import Experiment

LIVE = ("running", "paused")  # states in which an experiment has robots


def place_for(
    experiments: Sequence[Experiment], robot: str, observation: Json, action: Json
) -> Experiment:
    """The first live experiment that names the robot or, without one, that is open to any.

    Raises:
        SchemaError: the experiments that it may join began with other spaces.
        Conflict: no experiment has a place for it now.
    """
    live = [e for e in experiments if e.state in LIVE]
    named = [e for e in live if robot in e.robots]
    places = named or [e for e in live if not e.robots]
    for experiment in places:
        if experiment.observation_space in (None, observation) and (
            experiment.action_space in (None, action)
        ):
            return experiment
    if not places:
        raise Conflict("no running experiment has a place for this robot; start one")
    _refuse_spaces(places[0], observation, action)
    raise AssertionError("one of the spaces differs")


def has_place(experiments: Sequence[Experiment], robot: str, previous: Experiment) -> bool:
    """Whether a robot of `previous` could join an experiment now."""
    observation, action = previous.observation_space, previous.action_space
    if observation is None or action is None:
        return False
    try:
        place_for(experiments, robot, observation, action)
    except DreamfleetError:
        return False
    return True


def _refuse_spaces(experiment: Experiment, observation: Json, action: Json) -> None:
    for where, ours, theirs in (
        ("observation_space", experiment.observation_space, observation),
        ("action_space", experiment.action_space, action),
    ):
        if ours != theirs:
            expected = f"the spaces of experiment {experiment.id}: {json.dumps(ours)[:400]}"
            raise SchemaError(where, expected, json.dumps(theirs)[:400])
