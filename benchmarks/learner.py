"""Dreamer's updates per second, and what share of its time the real learner waits for data.

The rows are by size, observations, threads and mode. Each is measured in a process of its own:
`python -m benchmarks.learner update|wait JSON`, with the fields of `benchmarks.cases.Case`.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks import cases
from benchmarks.cases import Case
from benchmarks.machine import ROOT, Payload, Row, load, peak_mb
from benchmarks.workload import ACTIONS, SPACES, filled
from robot_client.schema import space_to_json

REPLAY_ROWS = 4096
WAIT_S = 20.0  # of the learner's time, after its first update


def measure(quick: bool = False) -> Payload:
    """Rows of updates, and under `waiting` those of the learner process."""
    waits = [
        _in_process("wait", {"size": size, "observations": kind, "seconds": 3 if quick else WAIT_S})
        for size, kind in (("tiny", "image"), *(() if quick else (("12M", "vectors"),)))
    ]
    return {
        "rows": [measured(case) for case in cases.sizes(quick, has_gpu())],
        "waiting": waits,
    }


def has_gpu() -> bool:
    """Whether rows of CUDA can be measured."""
    import torch

    return torch.cuda.is_available()


def measured(case: Case) -> Row:
    """A row, with the figures of others beside it."""
    return _in_process("update", asdict(case)) | cases.reference(case)


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
    from benchmarks.agents import build

    torch.set_num_threads(case.threads)
    started = perf_counter()
    agent: Any = build(case.agent, case.observations, case.device, case.preset, **case.config)
    generator = torch.Generator().manual_seed(1)
    made = random_batch(agent, SPACES[case.observations], ACTIONS, generator)
    batch = {name: tensor.to(case.device) for name, tensor in made.items()}
    on_gpu = case.device == "cuda"
    wait: Callable[[], None] = torch.cuda.synchronize if on_gpu else lambda: None
    wall, cpu, first = [], [], 0.0
    for _ in range(case.warmup + case.repeats):
        before, used = perf_counter(), process_time()
        agent.train(batch)
        wait()
        wall.append(perf_counter() - before)
        cpu.append(process_time() - used)
        first = first or perf_counter() - started
    return {
        **_names(case, agent.config),
        **_costs(wall[case.warmup :], cpu[case.warmup :]),
        "first_s": first,
        "rss_mb": peak_mb(),
        "gpu_mb": torch.cuda.max_memory_allocated() / 1e6 if on_gpu else None,
        "repeats": case.repeats,
        "load1": load(),
    }


def _names(case: Case, config: Any) -> Row:
    agent = {"agent": case.agent, "settings": case.preset or "paper"} if case.named else {}
    return {
        **agent,
        "size": config.size,
        "observations": case.observations,
        "batch": f"{config.batch_size}x{config.batch_length}",
        "device": " ".join((case.device, *case.modes)),
        "threads": case.threads,
    }


def _costs(wall: list[float], cpu: list[float]) -> Row:
    return {
        "updates_per_s": 1 / float(np.median(wall)),
        "wall_s": float(np.median(wall)),
        "wall_min_s": min(wall),
        "cpu_s": float(np.median(cpu)),
        "cpu_min_s": min(cpu),
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
