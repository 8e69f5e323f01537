"""Which updates are timed, and the figures of others that stand beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.machine import Row
from benchmarks.workload import SPACES

# Size, observations, threads -> name, wall and CPU seconds per update (medians), peak megabytes.
# Measured on two cores of the same kind, for the same nets and batches.
PEERS: dict[tuple[str, str, int], tuple[str, float, float, int]] = {
    ("1M", "vectors", 1): ("danijar/dreamerv3", 1.21, 1.21, 818),
    ("1M", "vectors", 2): ("danijar/dreamerv3", 1.00, 1.28, 838),
    ("12M", "vectors", 1): ("sheeprl dreamer_v3", 8.59, 8.56, 1655),
    ("12M", "vectors", 2): ("sheeprl dreamer_v3", 5.30, 8.84, 1648),
    ("12M", "image", 1): ("danijar/dreamerv3", 38.8, 38.8, 4597),
    ("12M", "image", 2): ("sheeprl dreamer_v3", 24.6, 40.8, 6342),
}
# Modes -> name and wall seconds per update, as TorchRL's developers published them for batches of
# 16 x 64 (pytorch/rl issue 4216: GB200, bfloat16; the model's size is not told).
PUBLISHED: dict[str, tuple[str, float]] = {
    "compiled": ("TorchRL Dreamer V3, GB200 bf16", 0.3585),
    "captured": ("danijar/dreamerv3, GB200 bf16", 0.0220),
}
# What we want of a data-centre GPU, float32 or less: size, observations, modes -> wall seconds.
TARGETS: dict[tuple[str, str, str], float] = {
    ("12M", "image", ""): 0.4,
    ("12M", "image", "compiled"): 0.060,
    ("12M", "image", "captured"): 0.030,
    ("12M", "image", "compiled captured"): 0.030,
    ("1M", "vectors", "captured"): 0.015,
    ("1M", "vectors", "compiled captured"): 0.015,
}
CPU_TARGETS: dict[tuple[str, str], float] = {("tiny", "vectors"): 0.5, ("tiny", "image"): 0.5}
MODES = ((), ("compiled",), ("captured",), ("compiled", "captured"))
AGENT_MODES = (((), "float32"), (("captured",), "float32"), (MODES[-1], "bfloat16"))
AGENTS = ("planet", "dreamer-v1", "dreamer-v2", "daydreamer", "dreamer")
# At their papers' settings these take more than 20 seconds on one core, and Dreamer is in `sizes`.
SLOW = {("dreamer-v1", "image"), ("dreamer-v2", "image"), ("daydreamer", "image")}


@dataclass(frozen=True)
class Case:
    """What one process measures; `warmup` updates go before the `repeats` that count.

    Args:
        size: of the agent; empty for that of the preset or the paper.
        observations: one of `benchmarks.workload.SPACES`.
        preset: of the agent; empty for its paper's settings.
        named: whether the row tells the agent, in a table of several.
    """

    size: str
    observations: str
    threads: int = 1
    device: str = "cpu"
    compiled: bool = False
    warmup: int = 1
    repeats: int = 5
    agent: str = "dreamer"
    preset: str = ""
    captured: bool = False
    precision: str = "float32"
    named: bool = False

    @property
    def modes(self) -> tuple[str, ...]:
        """How the update runs, if not eagerly in float32."""
        found = {
            "compiled": self.compiled,
            "captured": self.captured,
            self.precision: self.precision != "float32",
        }
        return tuple(name for name, is_so in found.items() if is_so)

    @property
    def config(self) -> dict[str, Any]:
        """Of the agent, beside its preset."""
        size = {"size": self.size} if self.size else {}
        modes = {"compiled": self.compiled, "captured": self.captured}
        return size | modes | {"precision": self.precision}


def sizes(quick: bool, gpu: bool) -> list[Case]:
    """Dreamer by size, observations and threads, at the reference's batch of 16 x 64."""
    if quick:
        return [Case("tiny", "vectors", repeats=2)]
    eager = [
        Case(size, kind, threads, repeats=repeats, warmup=warmup)
        for size, kind, repeats, warmup in (
            ("tiny", "vectors", 10, 1),
            ("tiny", "image", 3, 1),
            ("1M", "vectors", 5, 1),
            ("1M", "image", 2, 1),
            ("12M", "vectors", 2, 1),
            ("12M", "image", 1, 0),
        )
        for threads in (1, 2)
    ]
    compiled = [Case(size, "vectors", compiled=True) for size in ("tiny", "1M")]
    return eager + compiled + (_gpu_sizes() if gpu else [])


def _gpu_sizes() -> list[Case]:
    return [
        _on_gpu(size=size, observations=kind, modes=modes, precision=precision)
        for precision in ("float32", "bfloat16")
        for modes in MODES
        for size in ("tiny", "1M", "12M")
        for kind in SPACES
    ]


def agents(quick: bool, gpu: bool) -> list[Case]:
    """Every agent at its laptop preset, PlaNet's compiled too, and at its paper's settings."""
    if quick:
        return [
            Case("", "vectors", repeats=2, agent=name, preset="laptop", named=True)
            for name in AGENTS
        ]
    laptop = [
        Case("", kind, agent=name, preset="laptop", named=True)
        for name in AGENTS
        for kind in SPACES
    ]
    laptop.append(Case("", "vectors", agent="planet", preset="laptop", compiled=True, named=True))
    paper = [
        Case("", kind, agent=name, repeats=2 if name == "planet" else 1, warmup=0, named=True)
        for name in AGENTS
        for kind in SPACES
        if name != "dreamer" and (name, kind) not in SLOW
    ]
    return laptop + paper + (_gpu_agents() if gpu else [])


def _gpu_agents() -> list[Case]:
    return [
        _on_gpu(size="", observations=kind, modes=modes, agent=name, precision=precision)
        for name in AGENTS
        for kind in SPACES
        for modes, precision in AGENT_MODES
    ]


def _on_gpu(
    size: str, observations: str, modes: tuple[str, ...], precision: str, agent: str = ""
) -> Case:
    return Case(
        size,
        observations,
        device="cuda",
        compiled="compiled" in modes,
        captured="captured" in modes,
        precision=precision,
        warmup=8,  # of which the fourth is captured
        repeats=20,
        agent=agent or "dreamer",
        named=bool(agent),
    )


def reference(case: Case) -> Row:
    """Columns of others' figures for the same work, and of what we want; None where unknown."""
    known = case.agent == "dreamer" and not case.preset
    name, wall, cpu, memory = None, None, None, None
    if known and case.device == "cpu" and not case.modes:
        found = PEERS.get((case.size, case.observations, case.threads))
        name, wall, cpu, memory = found or (None, None, None, None)
    on_gpu = known and case.device == "cuda"
    if on_gpu and case.precision == "bfloat16" and case.modes[0] in PUBLISHED:
        name, wall = PUBLISHED["captured" if case.captured else "compiled"]
    modes = " ".join(mode for mode in case.modes if mode != case.precision)
    target = (
        TARGETS.get((case.size, case.observations, modes))
        if on_gpu
        else CPU_TARGETS.get((case.size, case.observations))
    )
    return {
        "peer": name,
        "peer_wall_s": wall,
        "peer_cpu_s": cpu,
        "peer_rss_mb": memory,
        "target_wall_s": target if known else None,
    }
