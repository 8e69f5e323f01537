"""What the robot client weighs: its wheel alone in a fresh virtual environment.

Builds the wheel, installs it as constraints.txt pins it (this needs the network), and uses it from
a folder without our sources: imports every module, asks the command for help, checks a robot.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.machine import ROOT, Payload

BUDGET_MB = 180  # megabytes of 1e6 bytes, over an empty environment

IMPORT_ALL = """
import importlib, json, pkgutil, sys
import robot_client
for module in pkgutil.walk_packages(robot_client.__path__, "robot_client."):
    importlib.import_module(module.name)
print(json.dumps({"from": robot_client.__file__, "torch": "torch" in sys.modules}))
"""


def measure() -> Payload:
    """One row: megabytes on disk; raises CalledProcessError when a step fails."""
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
        row = {
            "wheel_kb": wheel.stat().st_size / 1e3,
            "empty_mb": empty / 1e6,
            "added_mb": added / 1e6,
            "budget_mb": BUDGET_MB,
            "within": added <= BUDGET_MB * 1e6,
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
    command = str(environment / "bin" / "dreamfleet-robot")
    _call(command, "run", "--help", cwd=folder)
    _call(command, "check", "gym:Pendulum-v1", cwd=folder)


def _call(*command: str, cwd: Path) -> str:
    """Standard output; what went wrong is left on standard error."""
    return subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, check=True).stdout


def _bytes(folder: Path) -> int:
    """Space on disk of the files under a folder, links not followed."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
