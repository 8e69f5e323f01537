"""What users write against has the names that the documentation gives, and each says what it is."""

import inspect
from importlib import import_module

import pytest

PUBLIC = {
    "robot_client.robot": ["Robot", "Reading", "Action", "as_action", "rest_action"],
    "robot_client.robots.arena": ["Look", "Referee", "motor_powers", "reset_moves"],
    "robot_client.robots.faulty": ["Faults", "Faulty"],
    "robot_client.schema": ["Task", "Source", "Chunk", "row_fields", "space_to_json"],
    "robot_client.errors": ["DreamfleetError", "RobotError", "SafetyStop", "SchemaError"],
    "robot_client.clock": ["Clock", "SystemClock", "ManualClock"],
    "robot_client.testing": ["check_robot"],
    "agents.agent": ["Agent", "AgentConfig", "Acting", "Learned", "Sequences", "Transitions"],
    "agents.registry": ["AGENTS", "agent_class"],
    "agents.testing": ["check_agent"],
    "sim.ball": ["Ball"],
    "sim.pointmass": ["PointMass"],
    "sim.sphero": ["Sphero"],
}
ROWS = [(module, name) for module, names in PUBLIC.items() for name in names]


@pytest.mark.parametrize(("module", "name"), ROWS)
def test_it_is_there_and_documented(module, name):
    found = getattr(import_module(module), name)
    if inspect.isclass(found) or inspect.isfunction(found):
        assert found.__module__ == module, "it is only passed on from elsewhere"
        assert inspect.getdoc(found)
