"""Every claim by name. A new claim is one file and one row here."""

from __future__ import annotations

from importlib import import_module

from benchmarks.claims.claim import Claim

CLAIMS: dict[str, str] = {
    "a3c": "benchmarks.claims.a3c",
    "d4pg": "benchmarks.claims.d4pg",
    "daydreamer": "benchmarks.claims.daydreamer",
    "ddpg": "benchmarks.claims.ddpg",
    "distill": "benchmarks.claims.distill",
    "distral": "benchmarks.claims.distral",
    "distral-shared": "benchmarks.claims.distral_shared",
    "dqn": "benchmarks.claims.dqn",
    "dreamer": "benchmarks.claims.dreamer",
    "dreamer-actor": "benchmarks.claims.dreamer_actor",
    "dyna": "benchmarks.claims.dyna",
    "dyna-q": "benchmarks.claims.dyna_q",
    "dyna-q-plus": "benchmarks.claims.dyna_q_plus",
    "her": "benchmarks.claims.her",
    "i2a": "benchmarks.claims.i2a",
    "mpc-cartpole": "benchmarks.claims.mpc_cartpole",
    "mpc-quadrotor": "benchmarks.claims.mpc_quadrotor",
    "mve": "benchmarks.claims.mve",
    "naf": "benchmarks.claims.naf",
    "planet": "benchmarks.claims.planet",
    "planet-tasks": "benchmarks.claims.planet_tasks",
    "sac": "benchmarks.claims.sac",
    "steve": "benchmarks.claims.steve",
    "tdm": "benchmarks.claims.tdm",
    "tdm-push": "benchmarks.claims.tdm_push",
    "world-models": "benchmarks.claims.world_models",
    "world-models-car": "benchmarks.claims.world_models_car",
    "world-models-cover": "benchmarks.claims.world_models_cover",
    "world-models-dream": "benchmarks.claims.world_models_dream",
    "world-models-sizes": "benchmarks.claims.world_models_sizes",
}


def claim(name: str) -> Claim:
    """The claim of this name."""
    found: Claim = import_module(CLAIMS[name]).CLAIM
    return found
