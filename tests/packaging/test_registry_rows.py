"""Every row of the tables of agents and robots names a class that exists and keeps the contract."""

from importlib import import_module

import pytest

from agents.agent import Agent, AgentConfig
from agents.errors import UnknownAgent
from agents.registry import AGENTS, agent_class
from robot_client.robots import HARDWARE, ROBOTS

ALL_ROBOTS = {**ROBOTS, **HARDWARE}

VERBS = ("connect", "reset", "apply", "observe", "stop", "close")


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_resolves(name):
    found = agent_class(name)
    assert issubclass(found, Agent)
    assert issubclass(found.config_type, AgentConfig)
    assert found.__doc__
    assert not getattr(found, "__abstractmethods__", None)


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_has_a_config_that_is_documented_and_has_defaults(name):
    config = agent_class(name).config_type
    config()
    undocumented = [key for key, field in config.model_fields.items() if not field.description]
    assert undocumented == []


def test_an_unknown_agent_names_the_closest():
    with pytest.raises(UnknownAgent, match="did you mean 'dreamer'"):
        agent_class("dreamr")


@pytest.mark.parametrize("name", ALL_ROBOTS)
def test_every_robot_resolves(name):
    module, _, cls = ALL_ROBOTS[name].partition(":")
    found = getattr(import_module(module), cls)
    assert found.__doc__
    assert [verb for verb in VERBS if not callable(getattr(found, verb, None))] == []
