"""What a server of databases can do that a file cannot: go away, and come back."""

import asyncio
import builtins
import signal
import threading

import pytest

from robot_client.clock import ManualClock
from server.errors import SettingsError
from server.service import open_storage
from server.settings import Settings
from server.storage import Storage, Writer
from server.storage.storage import AWAY
from tests.postgres import Postgres
from tests.unit.test_queries import metric
from tests.unit.test_storage import experiment


@pytest.fixture(scope="module")
def mortal():
    """A server of its own, so that nobody else's dies with it."""
    with Postgres() as server:
        yield server


@pytest.fixture
def storage(mortal):
    storage = Storage(mortal.new_database())
    storage.migrate()
    yield storage
    storage.close()


def test_reading_goes_on_after_the_server_was_killed(mortal, storage):
    storage.save([experiment()])
    mortal.stop(signal.SIGQUIT)
    for _ in range(2):
        with pytest.raises(AWAY):
            storage.experiments()
        with pytest.raises(AWAY):
            storage.ping()
    mortal.start()
    assert [e.id for e in storage.experiments()] == ["e1"]


def test_no_metric_is_lost_while_the_server_is_away(mortal, storage, caplog):
    async def scenario():
        writer = Writer(storage, every_s=0.01)
        await writer.start()
        writer.put(experiment(), *(metric(float(t), float(t)) for t in range(5)))
        await writer.flush()
        await asyncio.to_thread(mortal.stop, signal.SIGQUIT)
        for t in range(5, 10):
            writer.put(metric(float(t), float(t)))
            while f"could not save {t - 4} rows" not in caplog.text:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(mortal.start)
        await writer.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert [m.value for m in storage.metrics("e1", "loss", since=-1.0)] == list(range(10))


def test_a_server_that_starts_later_is_waited_for(mortal):
    url = mortal.new_database()
    mortal.stop()
    starting = threading.Timer(0.5, mortal.start)
    starting.start()
    storage = Storage(url)
    storage.migrate()
    starting.join()
    assert storage.experiments() == []
    storage.close()


def test_one_that_never_starts_is_named(tmp_path, caplog):
    url = f"postgresql+psycopg://ann:secret@/x?host={tmp_path}"
    storage = Storage(url, ManualClock())
    with pytest.raises(SettingsError, match=r"database postgresql\+psycopg://ann:\*\*\*@"):
        storage.migrate(patience_s=2.0)
    assert caplog.text.count("waiting for") == 2
    storage.close()


def test_two_processes_may_bring_the_tables_up_at_once(mortal):
    storages = [Storage(url) for url in [mortal.new_database()] * 4]
    threads = [threading.Thread(target=storage.migrate) for storage in storages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for storage in storages:
        assert storage.experiments() == []
        storage.close()


def test_what_is_no_database_is_refused_with_advice(monkeypatch, tmp_path):
    for url in ("nonsense", "oracle9://x"):
        with pytest.raises(SettingsError, match="--database"):
            Storage(url)
    found = builtins.__import__

    def without_driver(name, *rest):
        if name == "psycopg":
            raise ModuleNotFoundError("No module named 'psycopg'", name=name)
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_driver)
    with pytest.raises(SettingsError, match=r"pip install 'dreamfleet\[postgres\]'"):
        Storage("postgresql+psycopg://x@y/z")
    monkeypatch.undo()

    async def serve():
        async with open_storage(Settings(tmp_path, database="sqlite:////proc/none")):
            pass

    with pytest.raises(SettingsError, match="proc/none"):
        asyncio.run(serve())
