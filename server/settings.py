"""Where the server keeps its data and where it listens."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from server.errors import SettingsError

DEFAULT_DATA = Path("dreamfleet-data")
DEFAULT_GATEWAY = "tcp://127.0.0.1:5555"


@dataclass(frozen=True)
class Settings:
    """What `dreamfleet serve` is told.

    Args:
        data: the one directory that holds everything; delete it and everything is gone.
        host: address of the REST API and the page.
        port: its port.
        gateway: ZeroMQ endpoint that robots connect to.
        database: SQLAlchemy URL; None is SQLite in `data`.
        learner_silence_s: a learner that says nothing for so long is replaced; longer than its
            slowest update.
    """

    data: Path = DEFAULT_DATA
    host: str = "127.0.0.1"
    port: int = 8000
    gateway: str = DEFAULT_GATEWAY
    database: str | None = None
    learner_silence_s: float = 60.0

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL of the database."""
        return self.database or f"sqlite:///{self.data.absolute() / 'dreamfleet.sqlite'}"

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def experiment_dir(self, experiment: str) -> Path:
        """The directory that an experiment's learner works in."""
        return self.data / "experiments" / experiment

    def refuse_open_doors(self) -> None:
        """Raise SettingsError when an address can be reached from another machine."""
        for option, host in (("--host", self.host), ("--gateway", _host_of(self.gateway))):
            if not _is_loopback(host):
                raise SettingsError(
                    f"{option} {host}: refusing to listen where other machines can reach it, "
                    "because this server checks no keys yet. Listen on 127.0.0.1, and let robots "
                    "and browsers in through an SSH tunnel (ssh -L) to this machine."
                )


def _host_of(endpoint: str) -> str:
    if endpoint.startswith(("ipc://", "inproc://")):
        return "localhost"
    return urlsplit(endpoint).hostname or endpoint


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
