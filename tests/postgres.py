"""A PostgreSQL server of a test run's own, from Debian's package, without network and fsync."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest

from robot_client.clock import SystemClock

CLOCK = SystemClock()
PATIENCE_S = 60.0
OWNER = "postgres" if os.geteuid() == 0 else None  # it refuses to be root's
OPTIONS = ("fsync=off", "full_page_writes=off", "listen_addresses=")


def programs() -> Path:
    """Where `initdb` and `postgres` are. Fails the test when they are not."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_version)
    if not found:
        pytest.fail("there is no PostgreSQL in /usr/lib/postgresql: apt-get install postgresql")
    return found[-1].parent


def _version(program: Path) -> float:
    return float(program.parents[1].name)


class Postgres:
    """A server that can be killed and started again. Use as a context."""

    def __init__(self) -> None:
        self._programs = programs()
        self._folder = Path(tempfile.mkdtemp(prefix="dreamfleet-postgres-"))
        self._databases = 0

    def __enter__(self) -> "Postgres":
        if OWNER is not None:
            shutil.chown(self._folder, OWNER, OWNER)
        options = ("--auth=trust", "--username=dreamfleet", "--encoding=UTF8", "--locale=C")
        command = [self._programs / "initdb", "--no-sync", *options, "-D", self._folder / "data"]
        made = subprocess.run(command, capture_output=True, text=True, **self._as_owner())
        assert made.returncode == 0, made.stderr
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start it; returns when it answers."""
        settings = [word for option in OPTIONS for word in ("-c", option)]
        places = ["-D", self._folder / "data", "-k", self._folder]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", *places, *settings],
                stdout=log,
                stderr=log,
                **self._as_owner(),
            )
        end = CLOCK.monotonic() + PATIENCE_S
        while not self._answers():
            log_text = (self._folder / "log").read_text()
            assert self._process.poll() is None, log_text
            assert CLOCK.monotonic() < end, log_text
            CLOCK.sleep_until(CLOCK.monotonic() + 0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it and every connection; SIGQUIT without a word to anybody."""
        self._process.send_signal(how)
        self._process.wait(PATIENCE_S)

    def new_database(self) -> str:
        """URL of a new, empty database."""
        self._databases += 1
        name = f"test{self._databases}"
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://dreamfleet@/{name}?host={self._folder}"

    def _connect(self) -> psycopg.Connection:
        where = {"host": str(self._folder), "user": "dreamfleet", "dbname": "postgres"}
        return psycopg.connect(**where, autocommit=True)

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _as_owner(self) -> dict[str, object]:
        """Only who is root can, and must, become somebody else; the folder is where all may be."""
        who = {} if OWNER is None else {"user": OWNER, "group": OWNER, "extra_groups": []}
        return {"cwd": self._folder, **who}
