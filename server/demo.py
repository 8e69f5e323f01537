"""Server, learner and one simulated robot in one command."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from robot_client.clock import SystemClock
from robot_client.robots import HARDWARE, ROBOTS
from server.app import serve_web
from server.errors import Invalid
from server.new_experiment import NewExperiment
from server.service import Service, run_service
from server.settings import Settings
from server.shutdown import stop_signal, unless
from server.storage import Episode, Experiment

MEAN_OF = 10  # episodes
LOOK_S = 0.5
ROBOT_PATIENCE_S = 15.0

# What shows most of each robot, and what of that the agent should see.
ROBOT_OPTIONS: dict[str, dict[str, Any]] = {"ball": {"observe": "both"}}
AGENT_CONFIGS: dict[tuple[str, str], dict[str, Any]] = {
    # With less entropy it settles in the corner beside the goal, and leaves it much later.
    ("dreamer", "ball"): {"keys": "vector", "entropy": 0.01},
}
TRAIN_RATIO = 64.0
MIN_ROWS = 500


@dataclass(frozen=True)
class Demo:
    """What `dreamfleet demo` is told.

    Args:
        robot: a simulated robot.
        agent: the algorithm.
        speed: how much faster than real time the robot runs; max: as fast as it can.
        rows: end when this many rows are stored; None runs until Ctrl-C.
        port: of the page; 0 finds a free one.
        data: keep everything here; None is a temporary directory.
        as_json: end with a summary in JSON on stdout; everything else goes to stderr.
    """

    robot: str
    agent: str
    speed: str
    rows: int | None
    port: int
    data: Path | None
    as_json: bool


@dataclass(frozen=True)
class Summary:
    """What the demo achieved. Returns are means of 10 episodes; None when none has ended."""

    rows: int
    policy_versions: int
    episodes: int
    first_mean_return: float | None
    last_mean_return: float | None
    updates: int
    updates_per_second: float
    seconds: float


async def run_demo(demo: Demo) -> int:
    """Run until Ctrl-C or until enough rows are stored. Returns the exit code: 1 if the robot died.

    Ends in order: the robot, the experiment with a checkpoint, the server.
    """
    console = Console(stderr=demo.as_json)
    stop = stop_signal(lambda: console.print("stopping …"))
    keep = nullcontext(str(demo.data)) if demo.data else tempfile.TemporaryDirectory()
    with keep as data:
        endpoint = f"tcp://127.0.0.1:{_free_port()}"
        settings = Settings(Path(data), port=demo.port, gateway=endpoint)
        async with run_service(settings) as service, serve_web(service) as address:
            with console.status(f"asking what {demo.agent} is made of"):
                experiment = await unless(stop, _begin(service, demo))
            if experiment is None:
                return 0
            console.print(f"Watch it learn at {address}  (Ctrl-C ends it)", highlight=False)
            show = _Progress(service, experiment, demo, console)
            async with _robot(demo, settings) as robot:
                died = await show.until_end(stop, robot)
            summary = await show.summary()
            await service.experiments.change(experiment.id, "stop")
        if died:
            console.print(f"[red]The robot ended by itself:[/red]\n{_robot_log(settings)}")
    if demo.as_json:
        print(json.dumps(asdict(summary)))
    return int(died)


def refuse_wrong(robot: str, speed: str) -> None:
    """Before anything is started. Raises Invalid when there is no such robot, or it cannot run so
    fast; what else may be wrong with a robot of somebody's own, its process says."""
    if not (robot in {**ROBOTS, **HARDWARE} or robot.startswith("gym:") or ":" in robot):
        raise Invalid("--robot", f"one of {', '.join(ROBOTS)}, gym:ID or module:Class", robot)
    try:
        fast = float("inf" if speed == "max" else speed)
    except ValueError:
        fast = 0.0
    if not fast > 0:
        raise Invalid("--speed", "a number above 0, or max", speed)


class _Progress:
    """Watches an experiment and prints a line per episode."""

    def __init__(
        self, service: Service, experiment: Experiment, demo: Demo, console: Console
    ) -> None:
        self._service = service
        self._experiment = experiment
        self._demo = demo
        self._console = console
        self._clock = SystemClock()
        self._started = self._clock.monotonic()
        self._learning_since: float | None = None
        self._episodes: list[Episode] = []
        self._complaint = ""

    async def until_end(self, stop: asyncio.Event, robot: asyncio.subprocess.Process) -> bool:
        """Returns whether the robot died before there was a reason to end."""
        while not stop.is_set() and not self._enough_rows():
            if robot.returncode is not None:
                return True
            await self._look()
            try:
                await asyncio.wait_for(stop.wait(), LOOK_S)
            except TimeoutError:
                continue
        return False

    async def summary(self) -> Summary:
        """What has been achieved so far."""
        await self._service.writer.flush()  # the last rows may have come in one go
        await self._look()
        returns = [episode.total_reward for episode in self._episodes if not episode.aborted]
        policies = await asyncio.to_thread(
            self._service.storage.count_policies, self._experiment.id
        )
        return Summary(
            rows=self._experiment.rows,
            policy_versions=policies,
            episodes=len(self._episodes),
            first_mean_return=_mean(returns[:MEAN_OF]),
            last_mean_return=_mean(returns[-MEAN_OF:]),
            updates=self._service.experiments.learner(self._experiment.id).updates,
            updates_per_second=round(self._updates_per_second(), 3),
            seconds=round(self._clock.monotonic() - self._started, 1),
        )

    def _enough_rows(self) -> bool:
        return self._demo.rows is not None and self._experiment.rows >= self._demo.rows

    async def _look(self) -> None:
        learner = self._service.experiments.learner(self._experiment.id)
        if learner.updates and self._learning_since is None:
            self._learning_since = self._clock.monotonic()
        if learner.reason != self._complaint:
            self._complaint = learner.reason
            text = f"[red]learner {learner.state}:[/red] {learner.reason}"
            self._console.print(text, soft_wrap=True)
        since = self._episodes[-1].ended_at if self._episodes else 0.0
        fresh = await asyncio.to_thread(self._service.storage.episodes, self._experiment.id, since)
        for episode in fresh:
            self._episodes.append(episode)
            self._console.print(self._line(episode), highlight=False, soft_wrap=True)

    def _line(self, episode: Episode) -> str:
        policy = "random" if episode.policy_last < 0 else f"policy {episode.policy_last}"
        per_step = episode.total_reward / max(episode.steps, 1)
        about = f"reward per step {per_step:7.3f}"
        if self._demo.robot.startswith("ball"):  # its reward is minus the distance
            about = f"mean distance {-per_step:6.3f}"
        return (
            f"episode {len(self._episodes):4}  return {episode.total_reward:9.2f}  {about}  "
            f"{policy:>10}  {self._updates_per_second():5.1f} updates/s"
        )

    def _updates_per_second(self) -> float:
        if self._learning_since is None:
            return 0.0
        elapsed = self._clock.monotonic() - self._learning_since
        return self._service.experiments.learner(self._experiment.id).updates / max(elapsed, 1.0)


async def _begin(service: Service, demo: Demo) -> Experiment:
    new = NewExperiment(
        name=f"demo {demo.robot}",
        agent=demo.agent,
        preset="laptop" if "laptop" in await _presets(service, demo.agent) else None,
        config=AGENT_CONFIGS.get((demo.agent, demo.robot), {}),
        train_ratio=TRAIN_RATIO,
        min_rows=MIN_ROWS,
    )
    made = await service.experiments.create(new)
    return await service.experiments.change(made.id, "start")


async def _presets(service: Service, agent: str) -> list[str]:
    """Named settings of an agent; none if there is no such agent."""
    found = [a["presets"] for a in await service.catalog.agents() if a["name"] == agent]
    return found[0] if found else []


@asynccontextmanager
async def _robot(demo: Demo, settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    """The robot's process; it is asked to end when the block ends, and made to if it does not."""
    home = settings.data / "robot"
    with _log_path(settings).open("wb") as log:
        robot = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "robot_client.cli", "run", demo.robot),
            *("--server", settings.gateway, "--name", demo.robot, "--speed", demo.speed),
            *("--options", json.dumps(ROBOT_OPTIONS.get(demo.robot, {}))),
            *("--spool", str(home / "spool"), "--cache", str(home / "cache"), "--with-parent"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is ours to handle
        )
    try:
        yield robot
    finally:
        if robot.returncode is None:
            robot.terminate()
            try:
                await asyncio.wait_for(robot.wait(), ROBOT_PATIENCE_S)
            except TimeoutError:
                robot.kill()
                await robot.wait()


def _log_path(settings: Settings) -> Path:
    return settings.data / "robot.log"


def _robot_log(settings: Settings) -> str:
    return _log_path(settings).read_text(errors="replace")[-3000:]


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
