"""How long operators wait, while 32 robots stream and a learner learns.

    rows        milliseconds of REST requests, one after the other over one connection
    stops       milliseconds from the request for an emergency stop to `stop()` on a robot that acts
                at 20 Hz in a process of its own, and to the request's answer; with the learner
                busy, and with every learner killed as soon as it is there

Server, learner, streams, robot and requests share the machine. The streams are the client's own
links and spools, with a 64x64 picture and 32 float32 a row, at 20 Hz.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np

from benchmarks.ingest import PROCESSES, SPAWN, robots
from benchmarks.machine import ROOT, Payload, Row, load
from benchmarks.serving import free_port, our_robot, robot
from robot_client.clock import SystemClock

CLOCK = SystemClock()
PATIENCE_S = 600.0
T = TypeVar("T")
ROBOT = "robot"  # as benchmarks.serving calls it
TINY = {"size": "tiny", "batch_size": 16, "batch_length": 16, "horizon": 5}
LEARNER = {"train_ratio": 1024.0, "min_rows": 200, "publish_s": 5.0, "checkpoint_s": 20.0}
ROUTES = {
    "health": "/health",
    "experiments": "/experiments",
    "one experiment": "/experiments/{streams}",
    "robots": "/robots",
    "events": "/events",
    "metrics of an hour": "/metrics?experiment={streams}&name=learner/updates_per_s&points=500",
    "episodes": "/experiments/{streams}/episodes",
}


def measure(quick: bool = False) -> Payload:
    """See the module."""
    count, requests, stops = (2, 5, 3) if quick else (32, 200, 200)
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=".") as path, ExitStack() as stack:
        folder = Path(path).absolute()
        log = folder / "robot.log"
        api, gateway, server = stack.enter_context(serving(folder))
        names = [f"robot-{i}" for i in range(count)]
        streams = started(api, "streams", "dreamer", names, config=TINY, **LEARNER)
        acts = started(api, "stops", "random", [ROBOT], min_rows=10, train_ratio=1.0)
        stack.enter_context(streaming(gateway, folder, names))
        options = ["--options", json.dumps({"log": str(log)})]
        name = "benchmarks.logging_robot:LoggingRobot"
        stack.enter_context(environment("PYTHONPATH", str(ROOT)))
        where = (our_robot(), name, gateway, folder)
        stack.enter_context(robot(*where, *options, log=folder / "out.log"))
        wait(lambda: updates(api, streams) > 0, "the learner to learn")
        wait(lambda: log.exists() and "apply" in log.read_text(), "the robot to act")
        rows = [
            ask(api, what, path.format(streams=streams), requests) for what, path in ROUTES.items()
        ]
        busy = stop_often(api, log, stops, "busy")
        busy |= {"updates": updates(api, streams), "rows": rows_of(api, streams)}
        with killing_learners(server.pid):
            wait(lambda: not alive(api, (streams, acts)), "the learners to be dead")
            dead = stop_often(api, log, stops, "dead")
    return {"rows": rows, "stops": [busy, dead], "robots": count}


@contextmanager
def serving(folder: Path) -> Iterator[tuple[httpx.Client, int, "subprocess.Popen[bytes]"]]:
    """A server in a process of its own: its API, the port of its gateway, and the process."""
    port, gateway = free_port(), free_port()
    command = [sys.executable, "-m", "server.cli", "serve", "--data", str(folder / "data")]
    command += ["--port", str(port), "--gateway", f"tcp://127.0.0.1:{gateway}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / "server.log").open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, env=environment)
    base = f"http://127.0.0.1:{port}/api/v1"
    try:
        with httpx.Client(base_url=base, timeout=PATIENCE_S) as api:
            wait(lambda: answers(api), "the server")
            yield api, gateway, process
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


@contextmanager
def streaming(gateway: int, folder: Path, names: list[str]) -> Iterator[None]:
    """Robots that record and send until the block ends."""
    address, results = f"tcp://127.0.0.1:{gateway}", SPAWN.Queue()
    shares = [names[i::PROCESSES] for i in range(PROCESSES) if names[i::PROCESSES]]
    arguments = [(address, str(folder), share, float("inf"), results) for share in shares]
    processes = [SPAWN.Process(target=robots, args=each, daemon=True) for each in arguments]
    for process in processes:
        process.start()
    try:
        yield
        assert all(process.is_alive() for process in processes), "a stream has ended"
    finally:
        for process in processes:
            process.terminate()
            process.join()


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """Set a variable for the processes that the block starts."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        os.environ |= {name: before} if before is not None else {}


@contextmanager
def killing_learners(server: int) -> Iterator[None]:
    """Let no learner live."""
    done = threading.Event()

    def kill() -> None:
        while not done.wait(0.05):
            for child in _learners(server):
                os.kill(child, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _learners(server: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{server}/task").iterdir():
        for child in (task / "children").read_text().split():
            command = Path(f"/proc/{child}/cmdline")
            if command.exists() and b"server.learner" in command.read_bytes():
                found.append(int(child))
    return found


def started(api: httpx.Client, name: str, agent: str, members: list[str], **new: Any) -> str:
    """Id of a running experiment for these robots."""
    body = {"name": name, "agent": agent, "robots": members, **new}
    made = api.post("/experiments", json=body).raise_for_status().json()["id"]
    api.post(f"/experiments/{made}/start").raise_for_status()
    return str(made)


def ask(api: httpx.Client, what: str, path: str, count: int) -> Row:
    """Request a path again and again."""
    took = []
    for _ in range(count):
        begin = CLOCK.monotonic()
        api.get(path).raise_for_status()
        took.append(1e3 * (CLOCK.monotonic() - begin))
    return {"request": what, "requests": count} | spread("", took) | {"load1": load()}


def stop_often(api: httpx.Client, log: Path, count: int, learner: str) -> Row:
    """Stop a robot that acts, release it, and wait until it acts again; `count` times."""
    rng, reached, answered = random.Random(0), [], []
    for _ in range(count):
        acts_since(log, CLOCK.monotonic())
        pause(rng.uniform(0, 0.05))  # anywhere in a control period
        begin = CLOCK.monotonic()
        api.post(f"/robots/{ROBOT}/stop").raise_for_status()
        answered.append(1e3 * (CLOCK.monotonic() - begin))
        reached.append(1e3 * (logged(log, "stop", begin) - begin))
        api.post(f"/robots/{ROBOT}/release").raise_for_status()
    row: Row = {"learner": learner, "stops": count}
    return row | spread("stop_", reached) | spread("answer_", answered) | {"load1": load()}


def acts_since(log: Path, begin: float) -> None:
    """Return once the robot has moved after `begin`."""
    logged(log, "apply", begin)


def logged(log: Path, what: str, begin: float) -> float:
    """The first time after `begin` at which the robot did this."""

    def first() -> float | None:
        lines = (line.split() for line in tail(log).splitlines()[:-1])
        times = [float(time) for said, time in lines if said == what]
        return next((time for time in times if time >= begin), None)

    return wait(first, f"{what} in {log}", every=0.002)


def tail(log: Path) -> str:
    """The last few hundred lines, of which the first is whole."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        text = file.read().decode()
    return text.partition("\n")[2] if log.stat().st_size > 8192 else text


def spread(prefix: str, values: list[float]) -> Row:
    """Percentiles in milliseconds."""
    p50, p99 = np.percentile(values, [50, 99])
    return {f"{prefix}p50_ms": p50, f"{prefix}p99_ms": p99, f"{prefix}max_ms": max(values)}


def updates(api: httpx.Client, experiment: str) -> int:
    """Of the experiment's learner."""
    return int(api.get(f"/experiments/{experiment}").json()["learner"]["updates"])


def rows_of(api: httpx.Client, experiment: str) -> int:
    """Stored rows."""
    return int(api.get(f"/experiments/{experiment}").json()["rows"])


def alive(api: httpx.Client, experiments: tuple[str, ...]) -> bool:
    """Whether any learner is."""
    found = [api.get(f"/experiments/{name}").json()["learner"] for name in experiments]
    return any(learner["state"] == "running" for learner in found)


def answers(api: httpx.Client) -> bool:
    """Whether the server is up."""
    try:
        return api.get("/health").is_success
    except httpx.TransportError:
        return False


def wait(condition: Callable[[], T | None], what: str, every: float = 0.2) -> T:
    """The first true answer."""
    end = CLOCK.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert CLOCK.monotonic() < end, f"waited in vain for {what}"
        pause(every)
    return found


def pause(seconds: float) -> None:
    """Let the others go on."""
    CLOCK.sleep_until(CLOCK.monotonic() + seconds)
