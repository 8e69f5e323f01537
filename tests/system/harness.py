"""Real processes: a server with its learners, robots, and how to kill, watch and outlive them."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np

from robot_client.clock import SystemClock
from robot_client.schema import IS_FIRST, IS_LAST, POLICY_VERSION, REWARD, TIME_MONOTONIC
from server.replay.layout import ChunkHeader
from server.replay.store import ReplayStore

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
CLOCK = SystemClock()
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}
TINY = {"size": "tiny", "batch_size": 2, "batch_length": 8, "horizon": 3}  # for dreamer
QUICK = {  # learner settings: everything happens within a second
    "train_ratio": 4.0,
    "min_rows": 50,
    "publish_s": 0.5,
    "checkpoint_s": 0.5,
    "report_s": 3600.0,
    "device": "cpu",
}


def pause(seconds):
    """Let the others go on for a moment."""
    threading.Event().wait(seconds)


def wait_until(condition, what, patience=PATIENCE_S, every=0.05):
    """The first true value of `condition()`; AssertionError after `patience` seconds."""
    end = CLOCK.monotonic() + patience
    while not (found := condition()):
        assert CLOCK.monotonic() < end, f"not within {patience:g} s: {what()}"
        pause(every)
    return found


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def alive(pid):
    """Whether the process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def descendants(pid):
    """Process ids of all children, and theirs."""
    try:
        tasks = [*Path(f"/proc/{pid}/task").iterdir()]
        children = [int(c) for t in tasks for c in (t / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return children + [d for child in children for d in descendants(child)]


def kill(pid):
    """SIGKILL, unless it is gone already. Whether it was there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


class Child:
    """A process of ours, with its output in a file."""

    def __init__(self, arguments, log):
        self.log = Path(log)
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *map(str, arguments)],
                cwd=ROOT,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process.poll() is None

    def kill(self):
        """SIGKILL to this process alone."""
        self.process.kill()
        self.process.wait()

    def end(self, number=signal.SIGTERM, patience=PATIENCE_S):
        """Ask it to end; its exit code."""
        if self.running:
            self.process.send_signal(number)
        return self.process.wait(patience)

    def tail(self):
        return self.log.read_text(errors="replace")[-3000:]


class Server:
    """`dreamfleet serve`, which can be killed and started again on the same data and ports.

    Use as a context: at its end neither the server nor any learner is left.
    """

    def __init__(self, home, *options):
        self.home, self.data = Path(home), Path(home) / "data"
        self.port, self.gateway = free_port(), f"tcp://127.0.0.1:{free_port()}"
        self._options = options
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}/api/v1", timeout=60)
        self._learners = set()
        self.child = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for child in [self.child.pid, *descendants(self.child.pid), *self._learners]:
            if child == self.child.pid or is_learner(child):
                kill(child)
        self.child.process.wait()
        self._client.close()

    def start(self, wait=True):
        """Start it; returns when it answers."""
        ports = ("--port", self.port, "--gateway", self.gateway)
        command = ("server.cli", "serve", "--data", self.data, *ports, *self._options)
        self.child = Child(command, self.home / "server.log")
        if wait:
            self.wait_up()

    def wait_up(self):
        def up():
            assert self.child.running, self.child.tail()
            return self.answer("GET", "/health") is not None

        wait_until(up, self.child.tail)

    def kill(self):
        """SIGKILL; its learner notices, checkpoints and ends."""
        self.child.kill()

    def stop(self, how=signal.SIGINT):
        """Ask it to end, as Ctrl-C does; its exit code."""
        return self.child.end(how)

    def answer(self, method, path, body=None):
        """What the API answers; None while the server is away."""
        try:
            response = self._client.request(method, path, json=body)
        except httpx.TransportError:
            return None
        assert not response.is_error, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def get(self, path):
        answer = self.answer("GET", path)
        assert answer is not None, self.child.tail()
        return answer

    def post(self, path, body=None):
        answer = self.answer("POST", path, body)
        assert answer is not None, self.child.tail()
        return answer

    def create(self, agent="dreamer", config=TINY, start=True, **settings):
        """Id of a new experiment."""
        new = {"name": "x", "agent": agent, "config": config, **QUICK, **settings}
        made = self.post("/experiments", new)["id"]
        if start:
            self.post(f"/experiments/{made}/start")
        return made

    def experiment(self, name):
        """The experiment as the API shows it; None while the server is away."""
        found = self.answer("GET", f"/experiments/{name}")
        if found and found["learner"]["pid"]:
            self._learners.add(found["learner"]["pid"])
        return found

    def wait_for(self, name, condition, patience=PATIENCE_S):
        """The experiment once `condition` holds of it."""
        shown = {}

        def holds():
            shown["now"] = self.experiment(name)
            return shown["now"] if shown["now"] and condition(shown["now"]) else None

        return wait_until(holds, lambda: f"{shown['now']} {self.child.tail()}", patience)

    def absences(self, name):
        """What the experiment's events say of times without a server, newest first."""
        found = self.get(f"/events?experiment={name}&kind=server_away&limit=1000")["items"]
        return [event["text"] for event in found]

    def robot(self, name):
        """The robot as the API shows it; None when it is unknown."""
        found = self.answer("GET", "/robots") or {"items": []}
        return next((r for r in found["items"] if r["name"] == name), None)

    def checkpoints(self, name):
        """Numbers of the whole checkpoints, oldest first."""
        folder = self.data / "experiments" / name / "checkpoints"
        return sorted(int(done.parent.name) for done in folder.glob("[0-9]*/done"))

    def rows(self, name):
        """The rows of an experiment's store, and what its audit says."""
        store = ReplayStore(self.data / "experiments" / name / "replay", readonly=True)
        try:
            return read_rows(store), store.verify()
        finally:
            store.close()

    def sql(self, query, *parameters):
        """Rows of a query on the database."""
        path = f"file:{self.data / 'dreamfleet.sqlite'}?mode=ro"
        with closing(sqlite3.connect(path, uri=True)) as connection:
            return connection.execute(query, parameters).fetchall()


class Counter:
    """`dreamfleet-robot run counting` with all it needs to be killed and to go on."""

    def __init__(self, server, name="counter", hz=50.0, episode_steps=20, **options):
        self.name, self.hz, self._server = name, hz, server
        self.home = server.home / name
        self.home.mkdir(parents=True, exist_ok=True)
        self.counts = self.home / "counts.json"
        self._options = {
            "control_hz": hz,
            "episode_steps": episode_steps,
            "path": str(self.counts),
            **options,
        }
        self.child = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.child.kill()

    def start(self, *more):
        folders = ("--spool", self.home / "spool", "--cache", self.home / "cache")
        command = ("robot_client.cli", "run", "counting", "--options", json.dumps(self._options))
        connection = ("--server", self._server.gateway, "--name", self.name, "--json")
        self.child = Child((*command, *connection, *folders, *more), self.home / "robot.log")

    def kill(self):
        self.child.kill()

    @property
    def counted(self):
        """(episode, total) that the robot has counted durably; (-1, 0) before the first."""
        return tuple(json.loads(self.counts.read_text())) if self.counts.exists() else (-1, 0)

    def spool(self):
        """What waits in the spool of a robot that does not run."""
        command = [
            sys.executable,
            "-m",
            "robot_client.cli",
            "spool",
            "--json",
            str(self.home / "spool"),
        ]
        done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, check=True)
        return json.loads(done.stdout)


@dataclass(frozen=True)
class Rows:
    """All rows of a store in order: equal lengths, one entry a row."""

    stream: np.ndarray  # number of the robot's epoch
    seq: np.ndarray
    episode: np.ndarray
    step: np.ndarray  # as the counting robot saw it
    total: np.ndarray  # likewise
    reward: np.ndarray
    is_first: np.ndarray
    is_last: np.ndarray
    version: np.ndarray
    time: np.ndarray  # monotonic, of this machine

    def __len__(self):
        return len(self.seq)


class _Part(NamedTuple):
    header: ChunkHeader
    columns: dict


def read_rows(store):
    """Every row that a counting robot has recorded."""
    names = (REWARD, IS_FIRST, IS_LAST, POLICY_VERSION, TIME_MONOTONIC, "count")
    with store.read() as snapshot:
        parts = []
        for value in snapshot.values():
            header = ChunkHeader.unpack(value)
            layout = snapshot.layout(header.layout).columns
            columns = {n: np.array(layout[n].read(value, header.rows)) for n in names}
            parts.append(_Part(header, columns))

    def column(name):
        return np.concatenate([p.columns[name] for p in parts])

    def spread(field):
        return np.concatenate([np.full(p.header.rows, getattr(p.header, field)) for p in parts])

    return Rows(
        stream=spread("stream"),
        seq=np.concatenate([p.header.first_seq + np.arange(p.header.rows) for p in parts]),
        episode=spread("episode"),
        step=column("count")[:, 1].astype(int),
        total=column("count")[:, 2].astype(int),
        reward=column(REWARD),
        is_first=column(IS_FIRST),
        is_last=column(IS_LAST),
        version=column(POLICY_VERSION),
        time=column(TIME_MONOTONIC),
    )


def check_counting(rows):
    """Each count once and in order. Returns how many counts are missing before each episode.

    Counts can be missing only where the robot was killed, and there at most two: an action counts
    before the row that it belongs to is recorded, and its result is seen a period later.
    """
    assert (rows.seq == np.arange(len(rows))).all()
    step, total = np.diff(rows.step), np.diff(rows.total)
    begins = rows.is_first[1:]
    same = np.diff(rows.episode) == 0
    assert rows.is_first[0]
    assert rows.step[0] == 0
    assert (same == ~begins).all()
    assert (np.diff(rows.episode)[begins] > 0).all()
    assert (step[~begins] == 1).all()
    assert (total[~begins] == 1).all()
    assert (rows.step[1:][begins] == 0).all()
    assert (total[begins] >= 1).all()
    assert not rows.is_last[:-1][~begins].any()
    assert (rows.reward == np.where(rows.step > 0, rows.total, 0)).all()
    return np.concatenate([rows.total[:1], total[begins]]) - 1


def is_learner(pid):
    """Whether a process with this id is one of our learners, not a stranger that got its number."""
    try:
        return b"server.learner" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
