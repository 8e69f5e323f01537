"""Read by pytest before any test module, in every worker: what must hold before torch is loaded."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import Postgres

# Tests run side by side, and so do the processes that they start: each computes on one thread, and
# a thread that waits does not spin.
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
# A shell lets what it runs in the background ignore Ctrl-C, and so would the processes of tests.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first, known by a time limit of their own, so that none is left to the end."""
    items.sort(key=_limit, reverse=True)


def _limit(item: pytest.Item) -> float:
    own = item.get_closest_marker("timeout")
    return float(own.args[0]) if own is not None and own.args else 0.0


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server, one for each worker that needs it."""
    with Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.sqlite'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()
