"""A real server, and robots in processes of their own."""

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from server.new_experiment import NewExperiment
from server.service import Service, run_service
from server.settings import Settings
from server.storage import Experiment

PATIENCE_S = 15.0


@asynccontextmanager
async def experiment(
    folder: Path, port: int, **new: Any
) -> AsyncIterator[tuple[Service, Experiment]]:
    """A server at `port` whose one experiment is running; stopped with the block."""
    settings = Settings(folder, gateway=f"tcp://127.0.0.1:{port}")
    async with run_service(settings) as service:
        made = await service.experiments.create(NewExperiment(name="benchmark", **new))
        yield service, await service.experiments.change(made.id, "start")
        await service.experiments.change(made.id, "stop")


@contextmanager
def robot(
    python: list[str], name: str, port: int, folder: Path, *more: str, log: Path | None = None
) -> Iterator[Any]:
    """The robot command `run NAME` as `subprocess.Popen`; ended with the block.

    What it prints goes to the file `log`, or into a pipe that the caller reads.
    """
    command = [*python, "run", name, "--server", f"tcp://127.0.0.1:{port}", "--name", "robot"]
    command += ["--spool", str(folder / "spool"), "--cache", str(folder / "cache"), *more]
    command += ["--with-parent"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("w") if log else nullcontext(subprocess.PIPE) as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, text=True, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def our_robot() -> list[str]:
    """The command of this environment, to be run from these sources."""
    return [sys.executable, "-m", "robot_client.cli"]
