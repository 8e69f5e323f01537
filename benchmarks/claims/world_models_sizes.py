"""World Models has as many parameters as its authors count, for CarRacing."""

from __future__ import annotations

from torch import nn

from agents.dream.controller import Controller
from agents.dream.mdn_rnn import MDNRNN
from agents.dream.vae import VAE
from agents.world_models import WorldModelsConfig
from benchmarks.claims.claim import Claim, Outcome, Script, Values, Verdict, in_parts

SIDE, CHANNELS, ACTIONS = 64, 3, 3  # of CarRacing's pictures; steer, gas and brake
THEIRS = {"VAE": 4_348_547, "MDN-RNN": 422_368, "controller": 867}


def count_vision(_: int) -> Outcome:
    """V, encoder and decoder."""
    return counted(VAE(SIDE, CHANNELS, WorldModelsConfig().latent))


def count_memory(_: int) -> Outcome:
    """M without what we add for any task: heads for rewards and ends, which CarRacing's lacks."""
    config = WorldModelsConfig()
    model = MDNRNN(config.latent, ACTIONS, config.units, config.components)
    return counted(model.lstm, model.head)


def count_controller(_: int) -> Outcome:
    """C, which is no module: its numbers are what evolution changes."""
    config = WorldModelsConfig()
    found = Controller(config.latent, config.units, ACTIONS, config.sees, config.hidden)
    return Outcome(float(found.parameters))


def counted(*modules: nn.Module) -> Outcome:
    """The numbers that are learned."""
    return Outcome(float(sum(p.numel() for module in modules for p in module.parameters())))


def judge(values: Values) -> Verdict:
    """Each exactly."""
    same = {name: set(found) == {float(THEIRS[name])} for name, found in values.items()}
    return in_parts(same, ", ".join(f"{name} {found[0]:,.0f}" for name, found in values.items()))


ABOUT = {"side": SIDE, "channels": CHANNELS, "actions": ACTIONS}

CLAIM = Claim(
    says="For CarRacing, V has 4,348,547 parameters, M 422,368 and C 867.",
    source="Ha and Schmidhuber 2018, appendix; the lecture's table",
    figure=", ".join(f"{name} {count:,}" for name, count in THEIRS.items()),
    value="numbers that are learned, with the agent's defaults; M without its heads for rewards and"
    " ends",
    arms={
        "VAE": Script(count_vision, ABOUT),
        "MDN-RNN": Script(count_memory, ABOUT),
        "controller": Script(count_controller, ABOUT),
    },
    controls=(),
    judge=judge,
    seeds=(0,),
    chance=False,
)
