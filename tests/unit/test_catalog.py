"""What is said of settings that cannot be."""

import pytest

pytest.importorskip("torch")
from server.catalog import validate
from server.errors import Invalid


def said(agent, config):
    (problem,) = validate(agent, None, config)["problems"]
    return str(Invalid(**problem))


def test_an_unknown_agent_is_told_which_there_are():
    assert said("nope", {}).startswith("agent: expected one of ")
    assert said("nope", {}).endswith(", world-models, got 'nope'")
    assert said("dreemer", {}).endswith("got 'dreemer'; did you mean 'dreamer'?")


def test_an_unknown_setting_is_told_which_may_have_been_meant():
    assert said("sac", {"batch_siz": 16}) == (
        "config.batch_siz: expected a setting of sac, "
        "got no such field: 'batch_siz'; did you mean 'batch_size'?"
    )
    assert said("sac", {"zzz": 16}).endswith("got no such field: 'zzz'")
    assert said("sac", {"batch_size": 0}).startswith("config.batch_size: expected greater than")
