"""The wheel for robots: the client alone, with its five dependencies."""

import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE = {"numpy", "pyzmq", "msgpack", "gymnasium", "onnxruntime"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder)]
    done = subprocess.run(
        [*build, "robot_client"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def requirements() -> list[str]:
    """The base dependencies of the whole project: the robot's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return list(project["dependencies"])


def test_it_holds_the_robot_client_whole_and_nothing_else(wheel):
    code = {name for name in wheel.namelist() if ".dist-info/" not in name}
    sources = (path.relative_to(ROOT) for path in (ROOT / "robot_client").rglob("*.py"))
    assert code == {path.as_posix() for path in sources}


def test_it_asks_for_the_five_base_dependencies_and_no_more(metadata):
    required = metadata.get_all("Requires-Dist")
    assert required is not None
    asked = [line for line in required if "extra ==" not in line]
    assert sorted(asked) == sorted(requirements())
    assert {line.partition(">")[0] for line in asked} == BASE


def test_its_extras_are_those_of_the_whole_project(metadata):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    offered = metadata.get_all("Requires-Dist") or []
    for extra in metadata.get_all("Provides-Extra") or []:
        asked = {line.partition(";")[0].strip() for line in offered if f"'{extra}'" in line}
        assert asked == set(project["optional-dependencies"][extra])


def test_it_has_the_version_and_python_of_the_whole_project(metadata):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert metadata["Version"] == project["version"]
    assert sorted(metadata["Requires-Python"].split(",")) == sorted(
        project["requires-python"].split(",")
    )


def test_it_installs_the_command_for_robots_alone(wheel):
    (name,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    lines = [line for line in wheel.read(name).decode().splitlines() if "=" in line]
    assert [line.replace(" ", "") for line in lines] == ["dreamfleet-robot=robot_client.cli:main"]
