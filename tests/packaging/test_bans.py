"""What the linter bans, it finds: each ban of pyproject.toml is broken once."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WIDE = "def f() -> None:\n    try:\n        print()\n    {}\n        print(1)\n"


def lint(text: str, file: str = "server/stowaway.py") -> str:
    ruff = Path(sys.executable).parent / "ruff"
    command = [
        ruff,
        "check",
        "--no-cache",
        "--output-format=concise",
        "--stdin-filename",
        file,
        "-",
    ]
    done = subprocess.run(
        command, cwd=ROOT, input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("import pickle\n\nprint(pickle)\n", "TID251"),
        ("from pickle import loads\n\nprint(loads)\n", "TID251"),
        ("import dill\n\nprint(dill)\n", "TID251"),
        ("import marshal\n\nprint(marshal)\n", "TID251"),
        ("import time\n\ntime.sleep(1)\n", "TID251"),
        ("from time import sleep\n\nsleep(1)\n", "TID251"),
        ("import time\n\nprint(time.time())\n", "TID251"),
        ("import time\n\nprint(time.monotonic())\n", "TID251"),
        ("import torch\n\ntorch.load('x')\n", "TID251"),
        (WIDE.format("except Exception:"), "BLE001"),
        (WIDE.format("except BaseException:"), "BLE001"),
        (WIDE.format("except:"), "E722"),
    ],
)
def test_a_banned_line_is_found(text: str, rule: str) -> None:
    assert rule in lint(text)


def test_what_is_not_banned_passes() -> None:
    assert "All checks passed" in lint(WIDE.format("except ValueError:").replace("def f", "def _f"))


def test_only_the_clock_may_tell_the_time() -> None:
    text = "import time\n\ntime.sleep(1)\n"
    assert "TID251" not in lint(text, "robot_client/clock.py")
    assert "TID251" in lint(text, "robot_client/runtime.py")
    assert "TID251" in lint(text, "tests/unit/test_stowaway.py")
