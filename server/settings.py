"""Where the server keeps its data and where it listens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from server.curve import is_loopback

DEFAULT_DATA = Path("dreamfleet-data")
DEFAULT_GATEWAY = "tcp://127.0.0.1:5555"


@dataclass(frozen=True)
class Settings:
    """What `dreamfleet serve` is told.

    Args:
        data: the one directory that holds everything; delete it and everything is gone. Kept as an
            absolute path: child processes and other libraries need not agree with us on where "."
            is.
        host: address of the REST API and the page.
        port: its port.
        gateway: ZeroMQ endpoint that robots connect to.
        database: SQLAlchemy URL; None is SQLite in `data`.
        learner_silence_s: a learner that says nothing for so long is replaced; longer than its
            slowest update.
        tls_key, tls_certificate: PEM files for HTTPS. Tokens travel in the clear without: on an
            address that others can reach, have these, or a proxy that ends TLS, or a VPN.
    """

    data: Path = DEFAULT_DATA
    host: str = "127.0.0.1"
    port: int = 8000
    gateway: str = DEFAULT_GATEWAY
    database: str | None = None
    learner_silence_s: float = 60.0
    tls_key: Path | None = None
    tls_certificate: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", self.data.absolute())

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL of the database."""
        return self.database or f"sqlite:///{self.data / 'dreamfleet.sqlite'}"

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        scheme = "https" if self.tls_certificate else "http"
        return f"{scheme}://{self._netloc}:{self.port}"

    def experiment_dir(self, experiment: str) -> Path:
        """The directory that an experiment's learner works in."""
        return self.data / "experiments" / experiment

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the REST API and the page."""
        return is_loopback(f"//{self._netloc}")

    @property
    def gateway_is_loopback(self) -> bool:
        """Whether only this machine reaches the gateway."""
        return is_loopback(self.gateway)

    @property
    def _netloc(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host
