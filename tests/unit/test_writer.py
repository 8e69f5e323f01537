"""Rows on their way to the disk; and how soon silence is noticed on the way to the robot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robot_client.link import SILENCE
from robot_client.safety import Limits as LadderLimits
from server.gateway import HEARTBEAT_S
from server.replay.store import ReplayStore
from server.supervisor import Patience
from server.writer import ChunkWriter, Delivery
from tests.unit.replay_rows import Recorder


def test_a_failed_commit_is_not_acknowledged_and_says_why(tmp_path: Path):
    store = ReplayStore(tmp_path / "replay")
    store.close()
    results: list[Any] = []
    writer = ChunkWriter(lambda _: store, results.extend, 10)
    ((name, chunk),) = Recorder().chunks(4)
    writer.put(Delivery(b"", "exp", name, chunk, 100))
    writer.start()
    writer.stop()
    assert results == []
    assert "closed" in writer.problem.lower()


def test_a_frozen_learner_or_server_is_noticed_within_the_budget():
    budget, way = 1.5, 0.05
    assert Patience().frozen + HEARTBEAT_S + way <= budget
    assert SILENCE + way <= budget
    assert LadderLimits.for_rate(5.0).server_s + 1 / 5.0 + way <= budget  # a step of the loop later
    assert 4 * HEARTBEAT_S < SILENCE  # some answers may be late or lost


def test_a_chunk_that_cannot_be_stored_holds_up_no_other(tmp_path: Path):
    class Picky(ReplayStore):
        def commit(self, batch: Any) -> Any:
            if any(robot == "odd" for robot, _ in batch):
                raise ValueError("nobody foresaw this")
            return super().commit(batch)

    store = Picky(tmp_path / "replay")
    stored: list[Any] = []
    writer = ChunkWriter(lambda _: store, stored.extend, 10**6)
    ((_, odd),) = Recorder().chunks(4)
    writer.put(Delivery(b"", "exp", "odd", odd, 100))
    for name, chunk in Recorder().chunks(8, 4):
        writer.put(Delivery(b"", "exp", name, chunk, 100))
    writer.start()
    writer.stop()
    assert [outcome.stored for _, outcome in stored] == [4, 4]
    store.close()
