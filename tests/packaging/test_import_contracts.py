"""The import contracts of pyproject.toml hold, and would be noticed if they did not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("robot_client", "server", "agents", "sim")


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).parent / "lint-imports"
    return subprocess.run(
        [command, "--no-cache"], cwd=root, capture_output=True, text=True, check=False
    )


def test_the_contracts_hold():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("robot_client/stowaway.py", "import torch", "The robot client is the leaf"),
        ("agents/stowaway.py", "import server", "Agents do no I/O"),
        ("sim/stowaway.py", "import agents", "Simulated robots know the robot contract only"),
        ("server/api/stowaway.py", "import torch", "never load torch"),
        ("server/stowaway.py", "import pybullet", "The server names robots by string"),
    ],
)
def test_a_breach_of_each_contract_is_noticed(tmp_path, file, line, contract):
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / file).write_text(f"{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1
    broken = [row for row in done.stdout.splitlines() if row.endswith("BROKEN")]
    assert len(broken) == 1, done.stdout
    assert contract in broken[0]
