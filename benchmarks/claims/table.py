"""Every claim by name. A new claim is one file and one row here."""

from __future__ import annotations

from importlib import import_module

from benchmarks.claims.claim import Claim

CLAIMS: dict[str, str] = {
    "d4pg": "benchmarks.claims.d4pg",
    "ddpg": "benchmarks.claims.ddpg",
    "dqn": "benchmarks.claims.dqn",
    "her": "benchmarks.claims.her",
    "sac": "benchmarks.claims.sac",
    "tdm": "benchmarks.claims.tdm",
}


def claim(name: str) -> Claim:
    """The claim of this name."""
    found: Claim = import_module(CLAIMS[name]).CLAIM
    return found
