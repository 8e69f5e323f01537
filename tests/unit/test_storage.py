import asyncio
import re
import threading

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import IntegrityError, OperationalError

from server.storage import Episode, Experiment, Metric, Policy, Report, Storage, Writer
from server.storage.models import Base
from server.storage.storage import upgrade


def experiment(id_="e1", **changes):
    values = {
        "id": id_,
        "name": "ball",
        "agent": "random",
        "config": {"size": "tiny"},
        "robots": ["ball-1"],
        "settings": {"train_ratio": 32.0},
        "rows": 0,
        "state": "created",
        "reason": "",
        "observation_space": None,
        "action_space": None,
        "created_at": 1.0,
        "updated_at": 1.0,
    }
    return Experiment(**values | changes)


def episode(number, ended_at):
    return Episode(
        experiment="e1",
        robot="ball-1",
        epoch="a",
        episode=number,
        steps=9,
        total_reward=-1.5,
        policy_first=0,
        policy_last=1,
        source="policy",
        is_terminal=False,
        ended_at=ended_at,
    )


@pytest.fixture
def storage(database_url):
    storage = Storage(database_url)
    storage.migrate()
    yield storage
    storage.close()


def test_the_migrations_make_exactly_the_tables_of_the_models(database_url):
    engine = create_engine(database_url)
    upgrade(engine, "head")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert set(Base.metadata.tables) < set(inspect(connection).get_table_names())
    engine.dispose()


def test_migrating_twice_changes_nothing(storage):
    storage.save([experiment()])
    storage.migrate()
    assert [e.id for e in storage.experiments()] == ["e1"]


def test_references_are_checked(storage):
    with pytest.raises(IntegrityError):
        storage.save([Policy(experiment="?", version=0, updates=0, manifest={}, created_at=0.0)])


def test_sqlite_writes_ahead(tmp_path):
    storage = Storage(f"sqlite:///{tmp_path / 'test.sqlite'}")
    with storage._engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    storage.close()


def test_what_was_saved_is_found_after_reopening(database_url, storage):
    spaces = {"type": "discrete", "n": 3}
    storage.save([experiment(action_space=spaces, config={"a": [1, 2.5, None]})])
    storage.close()
    again = Storage(database_url)
    again.migrate()
    (found,) = again.experiments()
    again.close()
    assert found.action_space == spaces
    assert found.observation_space is None
    assert found.config == {"a": [1, 2.5, None]}
    assert found.robots == ["ball-1"]


def test_saving_replaces_the_row_of_the_same_key(storage):
    storage.save([experiment()])
    storage.save([experiment(state="running")])
    assert [e.state for e in storage.experiments()] == ["running"]


def test_latest_and_since(storage):
    storage.save([experiment(), experiment("e2")])
    storage.save(
        Metric(experiment=e, name=n, updates=i, rows=i, time=float(i), value=i * 10.0)
        for e in ("e1", "e2")
        for n in ("loss", "ratio")
        for i in range(3)
    )
    storage.save(
        Policy(experiment="e1", version=v, updates=v, manifest={"v": v}, created_at=0.0)
        for v in (3, 11, 7)
    )
    storage.save(Report(experiment="e1", name="r", path=p, time=0.0) for p in ("a", "b"))
    storage.save(episode(i, float(i)) for i in (2, 1, 3))
    assert [m.value for m in storage.metrics("e1", "loss", since=0.0)] == [10.0, 20.0]
    assert storage.latest_metrics("e2") == {"loss": 20.0, "ratio": 20.0}
    assert storage.latest_policy("e1").manifest == {"v": 11}
    assert storage.count_policies("e1") == 3
    assert storage.latest_report("e1").path == "b"
    assert [e.episode for e in storage.episodes("e1", since=1.0)] == [2, 3]
    assert storage.latest_policy("e2") is None
    assert storage.latest_report("e2") is None


def test_the_writer_saves_in_order_and_everything_at_the_end(storage):
    async def write():
        writer = Writer(storage, every_s=1000)
        await writer.start()
        running = experiment()
        writer.put(running)
        await writer.flush()
        running.state = "running"
        writer.put(running, episode(0, 1.0))
        writer.put(running)
        await writer.close()

    asyncio.run(write())
    assert [e.state for e in storage.experiments()] == ["running"]
    assert len(storage.episodes("e1")) == 1


@pytest.fixture
def full_disk(storage, monkeypatch):
    """Until it is cleared, the database cannot be written."""
    full, save = threading.Event(), storage.save

    def try_save(rows):
        if full.is_set():
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))
        save(rows)

    monkeypatch.setattr(storage, "save", try_save)
    full.set()
    return full


def test_the_writer_keeps_what_it_could_not_save(storage, full_disk):
    async def write():
        writer = Writer(storage)
        writer.put(experiment(), episode(0, 1.0))
        with pytest.raises(OperationalError):
            await writer.flush()
        full_disk.clear()
        await writer.flush()

    asyncio.run(write())
    assert len(storage.episodes("e1")) == 1


def test_while_the_database_is_away_curves_are_thinned_and_nothing_else(storage, full_disk):
    points, episodes = 40, 8

    async def write():
        writer = Writer(storage, most=64)
        writer.put(experiment())
        for i in range(points):
            told = {"experiment": "e1", "updates": i, "rows": i, "time": i + 1.0, "value": 0.0}
            writer.put(Metric(name="a", **told), Metric(name="b", **told))
            if i % 5 == 0:
                writer.put(episode(i // 5, float(i + 1)))
        with pytest.raises(OperationalError):
            await writer.flush()
        full_disk.clear()
        await writer.flush()

    asyncio.run(write())
    assert len(storage.episodes("e1")) == episodes
    curves = [[m.updates for m in storage.metrics("e1", n, since=0.0)] for n in ("a", "b")]
    assert curves[0] == curves[1]
    assert points / 4 <= len(curves[0]) < points
    assert curves[0][0] == 0
    assert curves[0][-1] == points - 1
    assert max(np.diff(curves[0])) <= 4


def test_the_background_writer_survives_a_failure(storage, full_disk, caplog):
    async def write():
        writer = Writer(storage, every_s=0.001)
        await writer.start()
        writer.put(experiment(), episode(0, 1.0))
        while "could not save" not in caplog.text:
            await asyncio.sleep(0.001)
        full_disk.clear()
        while not await asyncio.to_thread(storage.episodes, "e1"):
            await asyncio.sleep(0.001)
        await writer.close()

    asyncio.run(write())
    assert re.search("could not save 2 rows", caplog.text)


def test_a_row_that_can_never_be_saved_holds_up_no_other(storage):
    async def scenario():
        writer = Writer(storage, every_s=0.001)
        await writer.start()
        bad = Policy(experiment="?", version=0, updates=0, manifest={}, created_at=0.0)
        writer.put(bad, experiment())
        while not await asyncio.to_thread(storage.experiments):
            await asyncio.sleep(0.005)
        writer.put(experiment("e2"))
        while len(await asyncio.to_thread(storage.experiments)) < 2:
            await asyncio.sleep(0.005)
        writer.put(Policy(experiment="?", version=1, updates=0, manifest={}, created_at=0.0))
        with pytest.raises(IntegrityError):
            await writer.flush()
        await writer.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))
