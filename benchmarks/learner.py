"""Updates per second of Dreamer, and what share of its time the real learner waits for data.

Each line is measured in a process of its own: `python -m benchmarks.learner update|wait JSON`.
The peers' figures were measured on two cores of the same kind, for the same nets and batches.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks.machine import ROOT, Payload, Row, load
from benchmarks.workload import ACTIONS, SPACES, filled
from robot_client.schema import space_to_json

# name, wall seconds and CPU seconds per update (medians), peak megabytes
PEERS: dict[tuple[str, str, int], tuple[str, float, float, int]] = {
    ("1M", "vectors", 1): ("danijar/dreamerv3", 1.21, 1.21, 818),
    ("1M", "vectors", 2): ("danijar/dreamerv3", 1.00, 1.28, 838),
    ("12M", "vectors", 1): ("sheeprl dreamer_v3", 8.59, 8.56, 1655),
    ("12M", "vectors", 2): ("sheeprl dreamer_v3", 5.30, 8.84, 1648),
    ("12M", "image", 1): ("danijar/dreamerv3", 38.8, 38.8, 4597),
    ("12M", "image", 2): ("sheeprl dreamer_v3", 24.6, 40.8, 6342),
}
REPLAY_ROWS = 4096
WAIT_S = 20.0  # of the learner's time, after its first update


@dataclass(frozen=True)
class Case:
    """What one process measures; `warmup` updates go before the `repeats` that count."""

    size: str
    observations: str
    threads: int = 1
    device: str = "cpu"
    compiled: bool = False
    warmup: int = 1
    repeats: int = 5


def measure(quick: bool = False) -> Payload:
    """Rows of updates, and under `waiting` those of the learner process."""
    rows = [_row(case) for case in _cases(quick)]
    waits = [
        _in_process("wait", {"size": size, "observations": kind, "seconds": 3 if quick else WAIT_S})
        for size, kind in (("tiny", "image"), *(() if quick else (("12M", "vectors"),)))
    ]
    return {"rows": rows, "waiting": waits}


def _cases(quick: bool) -> list[Case]:
    if quick:
        return [Case("tiny", "vectors", repeats=2)]
    cases = [
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
    return cases + _cuda_cases()


def _cuda_cases() -> list[Case]:
    import torch

    if not torch.cuda.is_available():
        return []
    return [
        Case(size, kind, device="cuda", compiled=compiled, warmup=3, repeats=20)
        for compiled in (False, True)
        for size in ("tiny", "1M", "12M")
        for kind in SPACES
    ]


def _row(case: Case) -> Row:
    found = _in_process("update", asdict(case))
    peer = PEERS.get((case.size, case.observations, case.threads))
    on_cpu = case.device == "cpu"
    name, wall, cpu, memory = peer if peer and on_cpu else (None, None, None, None)
    reference = {"peer": name, "peer_wall_s": wall, "peer_cpu_s": cpu, "peer_rss_mb": memory}
    return found | reference


def _in_process(what: str, arguments: dict[str, Any]) -> Row:
    command = [sys.executable, "-m", "benchmarks.learner", what, json.dumps(arguments)]
    threads = str(arguments.get("threads", 1))
    environment = os.environ | {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


def time_updates(case: Case) -> Row:
    """Train in this process."""
    import torch

    from agents.testing import random_batch
    from benchmarks.agents import dreamer

    torch.set_num_threads(case.threads)
    started = perf_counter()
    agent = dreamer(case.observations, case.device, size=case.size, compiled=case.compiled)
    generator = torch.Generator().manual_seed(1)
    made = random_batch(agent, SPACES[case.observations], ACTIONS, generator)
    batch = {name: tensor.to(case.device) for name, tensor in made.items()}
    wait: Callable[[], None] = torch.cuda.synchronize if case.device == "cuda" else lambda: None
    wall, cpu, first = [], [], 0.0
    for _ in range(case.warmup + case.repeats):
        before, used = perf_counter(), process_time()
        agent.train(batch)
        wait()
        wall.append(perf_counter() - before)
        cpu.append(process_time() - used)
        first = first or perf_counter() - started
    wall, cpu = wall[case.warmup :], cpu[case.warmup :]
    return {
        "size": case.size,
        "observations": case.observations,
        "device": case.device + (" compiled" if case.compiled else ""),
        "threads": case.threads,
        "updates_per_s": 1 / float(np.median(wall)),
        "wall_s": float(np.median(wall)),
        "wall_min_s": min(wall),
        "cpu_s": float(np.median(cpu)),
        "cpu_min_s": min(cpu),
        "first_s": first,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "repeats": case.repeats,
        "load1": load(),
    }


def watch_learner(size: str, observations: str, seconds: float) -> Row:
    """Run `server.learner` on a full replay, with nothing to hold it back, and hear it out."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        filled(directory / "replay", SPACES[observations], REPLAY_ROWS).close()
        describe(directory, size, observations)
        command = [sys.executable, "-m", "server.learner", str(directory)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as learner:
            spans = _hear(learner, seconds)
    total = sum(span for span, _ in spans)
    mean = {
        name: sum(span * values[f"learner/{name}"] for span, values in spans) / total
        for name in ("updates_per_s", "wait_share", "throttle_share")
    }
    return {"size": size, "observations": observations, **mean, "seconds": total, "load1": load()}


def _hear(learner: "subprocess.Popen[str]", seconds: float) -> list[tuple[float, dict[str, float]]]:
    """Metrics and how many seconds they stand for, from the second update on."""
    assert learner.stdin
    assert learner.stdout
    spans: list[tuple[float, dict[str, float]]] = []
    before: float | None = None
    for line in learner.stdout:
        event = json.loads(line)
        if event["event"] == "failed":
            raise RuntimeError(event["error"])
        if event["event"] != "metrics" or not event["updates"]:
            continue
        if before is not None:
            spans.append((event["time"] - before, event["values"]))
        before = event["time"]
        if sum(span for span, _ in spans) >= seconds:
            break
    learner.stdin.close()  # the learner takes that as a stop
    learner.stdout.read()
    return spans


def describe(directory: Path, size: str, observations: str) -> None:
    """Write the learner's job: as much training as there can be."""
    job = {
        "id": "benchmark",
        "agent": "dreamer",
        "config": {"size": size},
        "observation_space": space_to_json(SPACES[observations]),
        "action_space": space_to_json(ACTIONS),
        "train_ratio": 65536,
        "max_debt": 1_000_000,
    }
    (directory / "experiment.json").write_text(json.dumps(job))


def main(what: str, arguments: str) -> None:
    """Measure one case in this process and print it."""
    given = json.loads(arguments)
    row = time_updates(Case(**given)) if what == "update" else watch_learner(**given)
    print(json.dumps(row))


if __name__ == "__main__":
    main(*sys.argv[1:])
