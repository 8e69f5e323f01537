"""What the robot client weighs: its wheel alone in a fresh virtual environment.

Builds the wheel, installs it as constraints.txt pins it (this needs the network), and uses it from
a folder without our sources: imports every module, checks a gymnasium environment, and lets it
play two episodes against a running server with the agent `random`.
"""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.machine import ROOT, Payload
from benchmarks.serving import experiment, free_port, robot

GYM = "gym:Pendulum-v1"
EPISODES, STEPS = 2, 200  # Pendulum's episodes are of 200 steps
PATIENCE_S = 60.0
BUDGET_MB = 180  # megabytes of 1e6 bytes, over an empty environment

IMPORT_ALL = """
import importlib, json, pkgutil, sys
import robot_client
for module in pkgutil.walk_packages(robot_client.__path__, "robot_client."):
    importlib.import_module(module.name)
print(json.dumps({"from": robot_client.__file__, "torch": "torch" in sys.modules}))
"""


def measure(quick: bool = False) -> Payload:
    """One row: megabytes on disk, rows stored; raises CalledProcessError when a step fails.

    There is no quick form: what is measured is an installation.
    """
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wheel = _build_wheel(folder / "dist")
        environment = folder / "venv"
        _call(sys.executable, "-m", "venv", str(environment), cwd=folder)
        empty = _bytes(environment)
        python = str(environment / "bin" / "python")
        pins = str(ROOT / "constraints.txt")
        _call(python, "-m", "pip", "install", "-q", "-c", pins, str(wheel), cwd=folder)
        added = _bytes(environment) - empty
        packages = json.loads(_call(python, "-m", "pip", "list", "--format=json", cwd=folder))
        _try_out(environment, folder)
        stored = asyncio.run(_play(environment, folder))
        row = {
            "wheel_kb": wheel.stat().st_size / 1e3,
            "empty_mb": empty / 1e6,
            "added_mb": added / 1e6,
            "budget_mb": BUDGET_MB,
            "within": added <= BUDGET_MB * 1e6,
            "rows_stored": stored["rows"],
            "rows_of_policy": stored["of_policy"],
        }
        return {"rows": [row], "packages": {p["name"]: p["version"] for p in packages}}


def _build_wheel(folder: Path) -> Path:
    build = ["-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder)]
    _call(sys.executable, *build, "robot_client", cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _try_out(environment: Path, folder: Path) -> None:
    """Use the installed client where our sources are out of sight."""
    found = json.loads(_call(str(environment / "bin" / "python"), "-c", IMPORT_ALL, cwd=folder))
    assert Path(found["from"]).is_relative_to(environment), found
    assert not found["torch"]
    _call(str(_command(environment)), "check", GYM, cwd=folder)


async def _play(environment: Path, folder: Path) -> dict[str, int]:
    """Two episodes in real time; counts the rows that the server has stored."""
    port = free_port()
    async with experiment(folder / "server", port, agent="random") as (service, made):
        command = [str(_command(environment))]
        more = ("--episodes", str(EPISODES), "--speed", "10")
        with robot(command, GYM, port, folder, *more) as process:
            output, _ = await asyncio.to_thread(process.communicate, timeout=PATIENCE_S)
        assert process.returncode == 0, output
        episodes = await asyncio.to_thread(service.storage.episodes, made.id, 0.0)
        assert made.rows == EPISODES * (STEPS + 1), (made.rows, output)
        return {
            "rows": made.rows,
            "of_policy": sum(e.steps for e in episodes if e.policy_last >= 0),
        }


def _command(environment: Path) -> Path:
    return environment / "bin" / "dreamfleet-robot"


def _call(*command: str, cwd: Path) -> str:
    """Standard output; what went wrong is left on standard error."""
    return subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, check=True).stdout


def _bytes(folder: Path) -> int:
    """Space on disk of the files under a folder, links not followed."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
