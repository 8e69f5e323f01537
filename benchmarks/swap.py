"""From a policy version being written by the learner to a robot acting with it, in real time.

Server, learner and robot are three processes. The beginning is the time of the version's file,
which the learner writes last and then announces; the end is the robot's report at the server.
The learner trains on small batches, so that both cores are busy but versions come steadily.
"""

import asyncio
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.machine import Payload, Row, load
from benchmarks.serving import experiment, free_port, our_robot, robot
from robot_client.clock import SystemClock
from robot_client.messages import PolicyReport
from server.service import Service

VERSIONS = 30
PUBLISH_S = 1.0
FIRST_S, NEXT_S = 120.0, 30.0  # patience; the first version is exported


def measure(quick: bool = False) -> Payload:
    """One row a size."""
    sizes = ("tiny",) if quick else ("tiny", "12M")
    return {"rows": [asyncio.run(_row(size, 3 if quick else VERSIONS)) for size in sizes]}


async def _row(size: str, versions: int) -> Row:
    port = free_port()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made = experiment(
            folder / "server",
            port,
            agent="dreamer",
            config={"size": size, "batch_size": 2, "batch_length": 8, "horizon": 3},
            train_ratio=1e4,
            min_rows=32,
            publish_s=PUBLISH_S,
        )
        async with made as (service, found):
            swapped = _listen(service)
            policies = service.settings.experiment_dir(found.id) / "policies"
            with robot(our_robot(), "pointmass", port, folder):
                delays = [await _delay(swapped, policies, FIRST_S)]
                while len(delays) <= versions:
                    delays.append(await _delay(swapped, policies, NEXT_S))
            weights = max(b.stat().st_size for b in (policies.parent / "blobs").iterdir())
    p50, p99 = np.percentile(delays[1:], [50, 99])
    return {
        "size": size,
        "weights_kb": weights / 1e3,
        "versions": versions,
        "p50_ms": 1e3 * p50,
        "p99_ms": 1e3 * p99,
        "max_ms": 1e3 * max(delays[1:]),
        "first_ms": 1e3 * delays[0],
        "load1": load(),
    }


def _listen(service: Service) -> "asyncio.Queue[tuple[float, PolicyReport]]":
    """What robots report, with the time of its arrival, instead of what the server does with it."""
    reports: asyncio.Queue[tuple[float, PolicyReport]] = asyncio.Queue()
    clock = SystemClock()

    def reported(robot: str, report: PolicyReport) -> None:
        reports.put_nowait((clock.wall(), report))

    service.experiments.policy_reported = reported  # type: ignore[method-assign]
    return reports


async def _delay(
    swapped: "asyncio.Queue[tuple[float, PolicyReport]]", policies: Path, patience: float
) -> float:
    """Seconds that the next version to be swapped in took."""
    moment, report = await asyncio.wait_for(swapped.get(), patience)
    assert not report.error, report.error
    return moment - (policies / f"{report.version:08d}.json").stat().st_mtime
