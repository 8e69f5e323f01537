"""Tries docker-compose.yml out: `make compose-test`, as root on a Debian machine.

It starts a Docker engine of its own, which touches neither the machine's network nor its firewall,
builds both images from wheels, brings a server and two robots up, kills the server's container
while they stream, and counts: every row that a robot has recorded is stored, once. At the end
everything is taken down, and nothing is left but Debian packages.

Where python:3.11-slim cannot be pulled, Debian itself stands in for it: the images then differ from
the real ones in Python's patch level and paths, and show the Dockerfiles' logic only.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from robot_client.clock import SystemClock

ROOT = Path(__file__).parents[1]
CLOCK = SystemClock()
PACKAGES = ("docker.io", "docker-compose", "debootstrap", "iptables")
SLIM, BASE = "python:3.11-slim", "dreamfleet-base"
STAND_IN = "python3,python3-pip,python3-venv,python-is-python3,ca-certificates"
EXTRAS = ".[learner,datasets,postgres,sim]"
PIP_CONF = "[global]\nno-index = true\nfind-links = /wheels\nbreak-system-packages = true\n"
ROBOTS = 2
PATIENCE_S = 900.0  # on a machine with much else to do, the first policy takes minutes
PORTS = {"DREAMFLEET_PORT": "18000", "DREAMFLEET_GATEWAY_PORT": "15555"}
TINY = {"size": "tiny", "batch_size": 2, "batch_length": 8, "horizon": 3}
QUICK = {"train_ratio": 4.0, "min_rows": 100, "publish_s": 1.0, "checkpoint_s": 2.0}
T = TypeVar("T")


@dataclass
class Steps:
    """Says what is done, and how long it took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One of them."""
        print(f"{name} ...", flush=True)
        begin = CLOCK.monotonic()
        yield
        self.seconds[name] = round(CLOCK.monotonic() - begin, 1)
        print(f"{name}: {self.seconds[name]} s", flush=True)


def run(*command: str | Path, **options: Any) -> str:
    """Run a command; what it prints. Shows its errors."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}")
    return done.stdout


def wait_for(what: str, ask: Callable[[], T | None], patience: float = PATIENCE_S) -> T:
    """The first answer that is true."""
    end = CLOCK.monotonic() + patience
    while not (found := ask()):
        if CLOCK.monotonic() > end:
            sys.exit(f"{what}: not within {patience:.0f} s")
        CLOCK.sleep_until(CLOCK.monotonic() + 0.5)
    return found


@contextmanager
def engine(folder: Path) -> Iterator[None]:
    """A Docker engine of our own while the block runs; DOCKER_HOST says where."""
    socket = folder / "docker.sock"
    os.environ["DOCKER_HOST"] = f"unix://{socket}"
    quiet = ("bridge=none", "iptables=false", "ip6tables=false", "ip-forward=false")
    options = [f"--{each}" for each in (*quiet, "ip-masq=false", "oom-score-adjust=0")]
    places = ["--data-root", folder / "data", "--exec-root", folder / "run"]
    places += ["--pidfile", folder / "dockerd.pid", "-H", os.environ["DOCKER_HOST"]]
    with (folder / "dockerd.log").open("w") as log:
        daemon = subprocess.Popen(["dockerd", *options, *places], stdout=log, stderr=log)
    try:
        wait_for("the engine", lambda: socket.exists() and _quietly("docker", "version"), 60)
        yield
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)


def _quietly(*command: str) -> bool:
    done = subprocess.run(command, capture_output=True)
    return done.returncode == 0


def make_base(folder: Path, steps: Steps) -> None:
    """The image that the Dockerfiles begin from, with all wheels in it."""
    if not _quietly("docker", "pull", SLIM):
        root = folder / "root"
        with steps.step("debootstrap in place of the registry"):
            run("debootstrap", "--variant=minbase", f"--include={STAND_IN}", "bookworm", root)
        with steps.step("import it"):
            archive = subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE)
            run("docker", "import", "-", SLIM, stdin=archive.stdout)
    context = folder / "base"
    with steps.step("download wheels"):
        pins = (ROOT / "constraints.txt").read_text().splitlines()
        wanted = [next(p for p in pins if p.startswith("torch==")), "hatchling", EXTRAS]
        pip = (sys.executable, "-m", "pip", "download", "-q", "-c", "constraints.txt")
        run(*pip, "-d", context / "wheels", *wanted)
    (context / "pip.conf").write_text(PIP_CONF)
    lines = (f"FROM {SLIM}", "COPY wheels /wheels", "COPY pip.conf /etc/pip.conf")
    (context / "Dockerfile").write_text("\n".join(lines))
    with steps.step("build the base"):
        run("docker", "build", "-q", "-t", BASE, context)


class Fleet:
    """What compose runs, and the API of its server."""

    def __init__(self) -> None:
        self.token = ""

    def compose(self, *arguments: str) -> str:
        """docker-compose, on a project of our own."""
        return run("docker-compose", "-p", "dreamfleet-tryout", *arguments)

    def container(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's first container."""
        name = self.compose("ps", "-q", service).split()[0]
        found: dict[str, Any] = json.loads(run("docker", "inspect", name))[0]
        return found

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The API's answer; None while nobody answers."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(
            f"http://127.0.0.1:{PORTS['DREAMFLEET_PORT']}/api/v1{path}",
            None if body is None else json.dumps(body).encode(),
            headers,
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            raise
        except OSError:
            return None

    def refuses_strangers(self) -> bool:
        """Whether a token is needed."""
        try:
            Fleet().ask("GET", "/robots")
        except urllib.error.HTTPError as error:
            return error.code == 401
        return False

    def rows(self, experiment: str) -> dict[str, int]:
        """Rows stored of each robot."""
        found = self.ask("GET", f"/experiments/{experiment}/replay")
        return {s["robot"]: s["next_seq"] for s in found["streams"]} if found else {}

    def learner(self, experiment: str) -> str:
        """The learner's state."""
        found = self.ask("GET", f"/experiments/{experiment}")
        return str(found["learner"]["state"]) if found else ""

    def spools(self) -> dict[str, dict[str, Any]]:
        """What the robots have recorded, by their own word. They must not run."""
        look = ("run", "--rm", "--no-deps", "--entrypoint", "dreamfleet-robot", "robot-sphero")
        lines = self.compose(*look, "spool", "--json").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return {Path(spool["directory"]).parent.name: spool for spool in found}


def bring_up(fleet: Fleet, steps: Steps) -> str:
    """Everything from nothing to rows; id of the experiment."""
    with steps.step("build the images"):
        fleet.compose("build")
    with steps.step("up, until the API answers"):
        fleet.compose("up", "-d", "--scale", f"robot-sphero={ROBOTS}")
        wait_for("the server", fleet.refuses_strangers)
    fleet.token = fleet.compose("exec", "-T", "server", "cat", "/data/operator.token").strip()
    new = {"name": "tryout", "agent": "dreamer", "config": TINY, **QUICK}
    experiment = str(fleet.ask("POST", "/experiments", new)["id"])
    fleet.ask("POST", f"/experiments/{experiment}/start")
    with steps.step("until rows of both robots are stored"):
        wait_for("rows", lambda: len(fleet.rows(experiment)) == ROBOTS)
    with steps.step("until the learner learns"):
        wait_for("a learner", lambda: fleet.learner(experiment) == "running")
    return experiment


def kill_server(fleet: Fleet, experiment: str, steps: Steps) -> None:
    """SIGKILL to everything in the server's container; its restart policy brings it back."""
    before = fleet.rows(experiment)
    killed = fleet.container("server")["State"]["Pid"]
    os.kill(killed, signal.SIGKILL)

    def back() -> bool:
        rows = fleet.rows(experiment)
        return len(rows) == ROBOTS and all(rows[robot] > before[robot] + 50 for robot in rows)

    with steps.step("killed, until new rows of both robots are stored"):
        wait_for("the server's return", back)
    with steps.step("until the learner learns again"):
        wait_for("a learner", lambda: fleet.learner(experiment) == "running")
    assert fleet.container("server")["State"]["Pid"] != killed
    assert fleet.container("server")["RestartCount"] == 1


def count(fleet: Fleet, experiment: str, steps: Steps) -> dict[str, int]:
    """Compare what the robots have recorded with what is stored; rows of each robot."""
    with steps.step("pause, until all is delivered"):
        fleet.ask("POST", f"/experiments/{experiment}/pause")
        wait_for("deliveries", lambda: _delivered(fleet))
        fleet.compose("stop", "robot-sphero")
    recorded, stored = fleet.spools(), fleet.rows(experiment)
    audit = fleet.ask("POST", f"/experiments/{experiment}/replay/verify")
    assert audit["problems"] == [], audit
    assert audit["rows"] == sum(stored.values()), (audit, stored)
    assert all(spool["rows"] == 0 for spool in recorded.values()), recorded
    assert stored == {robot: spool["next_seq"] for robot, spool in recorded.items()}
    assert len(stored) == ROBOTS
    return stored


def _delivered(fleet: Fleet) -> bool:
    robots = fleet.ask("GET", "/robots")["items"]
    return all(r["safety"] == "stop" and r["backlog_rows"] == 0 for r in robots)


def check_replacement(fleet: Fleet, steps: Steps) -> None:
    """New containers take the names, and so the keys, of those that they replace."""
    with steps.step("new robot containers, until both are connected"):
        fleet.compose("rm", "-f", "robot-sphero")
        fleet.compose("up", "-d", "--no-recreate", "--scale", f"robot-sphero={ROBOTS}")

        def connected() -> bool:
            robots = fleet.ask("GET", "/robots")["items"]
            return [r["connected"] for r in robots] == [True] * ROBOTS

        wait_for("the new containers", connected)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="work here, and leave the folder")
    given = parser.parse_args()
    os.nice(10)
    os.environ |= PORTS | {"BASE": BASE}
    folder = given.folder or Path(tempfile.mkdtemp(prefix="dreamfleet-tryout-"))
    folder.mkdir(parents=True, exist_ok=True)
    steps, fleet = Steps(), Fleet()
    missing = [p for p in ("dockerd", "docker-compose", "debootstrap") if shutil.which(p) is None]
    if missing:
        with steps.step("install packages"):
            run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES)
    try:
        with engine(folder):
            make_base(folder, steps)
            try:
                experiment = bring_up(fleet, steps)
                kill_server(fleet, experiment, steps)
                rows = count(fleet, experiment, steps)
                check_replacement(fleet, steps)
            except BaseException:
                print(fleet.compose("logs", "--tail=40"))
                raise
            finally:
                fleet.compose("down", "-v")
    finally:
        if given.folder is None:
            shutil.rmtree(folder)
    print(json.dumps({"seconds": steps.seconds, "rows": rows, "lost": 0, "twice": 0}, indent=1))


if __name__ == "__main__":
    main()
