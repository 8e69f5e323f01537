"""Every agent by name. A new algorithm is one file and one row here."""

from __future__ import annotations

import difflib
from importlib import import_module

from agents.agent import Agent
from agents.errors import UnknownAgent

AGENTS: dict[str, str] = {
    "a3c": "agents.a3c:A3C",
    "d4pg": "agents.d4pg:D4PG",
    "daydreamer": "agents.daydreamer:DayDreamer",
    "ddpg": "agents.ddpg:DDPG",
    "distill": "agents.distill:Distill",
    "distral": "agents.distral:Distral",
    "dqn": "agents.dqn:DQN",
    "dreamer": "agents.dreamer:Dreamer",
    "dreamer-v1": "agents.dreamer_v1:DreamerV1",
    "dreamer-v2": "agents.dreamer_v2:DreamerV2",
    "dyna": "agents.dyna:Dyna",
    "dyna-q": "agents.dyna_q:DynaQ",
    "her": "agents.her:HER",
    "i2a": "agents.i2a:I2A",
    "mpc": "agents.mpc:MPC",
    "mve": "agents.mve:MVE",
    "naf": "agents.naf:NAF",
    "planet": "agents.planet:Planet",
    "random": "agents.random:Random",
    "sac": "agents.sac:SAC",
    "tdm": "agents.tdm:TDM",
    "world-models": "agents.world_models:WorldModels",
}


def agent_class(name: str) -> type[Agent]:
    """The class registered under `name`. Raises UnknownAgent."""
    if name not in AGENTS:
        close = difflib.get_close_matches(name, AGENTS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise UnknownAgent(f"no agent {name!r}{hint} There are: {', '.join(sorted(AGENTS))}.")
    module, _, cls = AGENTS[name].partition(":")
    found: type[Agent] = getattr(import_module(module), cls)
    return found
