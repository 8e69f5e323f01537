"""Updates per second of every agent with a world model, at its laptop preset and its paper's
settings. Each row is measured in a process of its own."""

from benchmarks import cases
from benchmarks.learner import has_gpu, measured
from benchmarks.machine import Payload


def measure(quick: bool = False) -> Payload:
    """One row for each agent, kind of observations and mode."""
    return {"rows": [measured(case) for case in cases.agents(quick, has_gpu())]}
