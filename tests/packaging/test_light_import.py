"""The robot client, and the server without its learner, load nothing heavy."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HEAVY_FOR_A_ROBOT = frozenset(
    [
        "torch",
        "fastapi",
        "uvicorn",
        "pydantic",
        "sqlalchemy",
        "alembic",
        "lmdb",
        "pybullet",
        "server",
        "agents",
        "sim",
    ]
)
HEAVY_FOR_THE_GATEWAY = frozenset(["torch", "onnx", "onnxscript", "agents", "sim", "pybullet"])

# What runs in the processes of learners and of the catalogue, and what Alembic alone can load.
LEARNER_SIDE = (
    "server.catalog",
    "server.checkpoint",
    "server.device_columns",
    "server.kept_graphs",
    "server.learner",
    "server.lockstep",
    "server.prefetch",
    "server.publisher",
    "server.staging",
    "server.torch_policy",
    "server.training",
)
NOT_IMPORTABLE = ("server.storage.migrations",)

LIST_LOADED = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def modules_of(package: str, root: Path = ROOT, without: Iterable[str] = ()) -> list[str]:
    """Names of all modules of a package, found as files: importing would be the thing to test."""
    names = []
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    skipped = tuple(without)
    return [
        name
        for name in names
        if not name.endswith(".__main__")
        and not any(name == skip or name.startswith(f"{skip}.") for skip in skipped)
    ]


def loaded_by(modules: list[str], root: Path = ROOT) -> set[str]:
    """Top-level packages in a fresh interpreter that has imported `modules`."""
    done = subprocess.run(
        [sys.executable, "-c", LIST_LOADED, *modules],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_robot_client_loads_nothing_heavy():
    modules = modules_of("robot_client")
    assert "robot_client.schema" in modules
    assert loaded_by(modules) & HEAVY_FOR_A_ROBOT == set()


@pytest.mark.parametrize(
    "line",
    [
        "import pydantic",
        "from agents.errors import UnknownAgent",
        "def later(): ...\nfrom sqlalchemy import select",
    ],
)
def test_a_heavy_import_in_any_new_module_of_the_robot_client_is_caught(tmp_path, line):
    shutil.copytree(ROOT / "robot_client", tmp_path / "robot_client")
    shutil.copytree(ROOT / "agents", tmp_path / "agents")
    (tmp_path / "robot_client" / "robots" / "stowaway.py").write_text(line)
    modules = modules_of("robot_client", tmp_path)
    assert "robot_client.robots.stowaway" in modules
    assert loaded_by(modules, tmp_path) & HEAVY_FOR_A_ROBOT


def test_the_server_without_its_learner_loads_no_torch_and_no_agents():
    modules = modules_of("server", without=(*LEARNER_SIDE, *NOT_IMPORTABLE))
    assert loaded_by(modules) & HEAVY_FOR_THE_GATEWAY == set()


def test_torch_in_the_gateway_would_be_caught(tmp_path):
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "__init__.py").touch()
    (tmp_path / "server" / "gateway.py").write_text("import torch")
    (tmp_path / "torch.py").touch()  # the real one takes seconds to load
    assert loaded_by(["server.gateway"], tmp_path) & HEAVY_FOR_THE_GATEWAY == {"torch"}
