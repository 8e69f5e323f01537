"""Whatever task a robot has by now, its rows and episodes keep the one that they were made in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine, text

from robot_client.errors import SchemaError
from robot_client.robots import fit, make_robot
from robot_client.schema import Chunk, Task, space_to_json
from robot_client.segments import PREFIX, record
from robot_client.spool import Spool
from robot_client.uplink import Uplink
from server.replay.store import ReplayStore
from server.replay.view import ReplayView
from server.storage import Storage
from server.storage.storage import upgrade
from tests.unit.house import in_house
from tests.unit.replay_rows import rows


def one_row(last: bool) -> dict[str, np.ndarray]:
    return {"reward": np.zeros((), np.float32), "is_last": np.asarray(last)}


def sent_tasks(spool: Spool) -> list[tuple[int, str]]:
    """Episode and task of all that is uploaded."""
    uplink, found = Uplink(spool), []
    while (upload := uplink.upload(0.0)) is not None:
        uplink.sent(upload, 0.0)
        found.append((upload.episode, upload.task))
    return found


def test_rows_that_wait_on_the_robot_keep_their_task(tmp_path: Path) -> None:
    spool = Spool(tmp_path, task="roll")
    for last in (False, True):
        spool.append(0, one_row(last))
    spool.close()
    spool = Spool(tmp_path, task="stand")
    epoch = spool.epoch
    spool.append(1, one_row(True))
    assert sent_tasks(spool) == [(0, "roll"), (1, "stand")]
    spool.close()
    spool = Spool(tmp_path)
    assert spool.epoch == epoch
    assert sent_tasks(spool) == [(0, "roll"), (1, "stand")]
    spool.close()


@pytest.mark.parametrize("known", [2, 3])  # of four things: no task yet, then no tag yet
def test_rows_of_before_there_were_tasks_or_tags_can_still_be_read(
    tmp_path: Path, known: int
) -> None:
    spool = Spool(tmp_path)
    spool.append(0, one_row(True))
    spool.close()
    (path,) = tmp_path.glob("*.rows")
    data, new = path.read_bytes(), []
    while data:
        length, _ = PREFIX.unpack_from(data)
        payload, data = data[PREFIX.size : PREFIX.size + length], data[PREFIX.size + length :]
        if payload[:1] == b"C":
            assert payload[:2] == b"C\x94"  # an array of four; the last are an empty string and map
            assert payload[-2:] == b"\xa0\x80"
            payload = b"C" + bytes([0x90 + known]) + payload[2 : known - 4]
        new.append(record(payload))
    path.write_bytes(b"".join(new))
    spool = Spool(tmp_path)
    assert sent_tasks(spool) == [(0, "")]
    spool.close()


@pytest.mark.parametrize("name", ["", "x" * 201, "a\0b", 3, None])
def test_a_task_needs_a_name(name: object) -> None:
    with pytest.raises(SchemaError, match=r"task\.name"):
        Task.from_json({"name": name})
    assert Task.from_json({"name": "x" * 200}).name == "x" * 200


def chunk(episode: int, seq: int, task: str, stop: int = 3, start: int = 0) -> Chunk:
    return Chunk("boot", episode, seq, rows(episode, start, stop, last=True), task)


def test_the_replay_knows_the_task_of_every_row(tmp_path: Path) -> None:
    store = ReplayStore(tmp_path)
    view = ReplayView(store)
    store.append("a", chunk(0, 0, "roll"))
    assert view.refresh() == 3
    store.commit([("b", chunk(0, 0, "stand")), ("a", chunk(1, 3, "stand"))])
    store.commit([("c", chunk(0, 0, "")), ("a", chunk(2, 6, "roll"))])
    view.refresh()
    expected = ["roll", "stand", "stand", "", "roll"]
    assert [view.task_of(3 * i + 1) for i in range(5)] == expected
    assert store.verify().problems == ()
    store.close()
    again = ReplayStore(tmp_path)
    again.append("d", chunk(0, 0, "roll"))
    fresh = ReplayView(again)
    fresh.refresh()
    assert [fresh.task_of(3 * i) for i in range(6)] == [*expected, "roll"]
    with again.read() as snapshot:
        assert snapshot.tasks() == {0: "", 1: "roll", 2: "stand"}
    again.close()


def test_a_task_without_a_possible_name_stores_nothing(tmp_path: Path) -> None:
    store = ReplayStore(tmp_path)
    with pytest.raises(SchemaError, match="task"):
        store.commit([("a", chunk(0, 0, "fine")), ("b", chunk(0, 0, "x" * 300))])
    assert store.rows == 0
    with store.read() as snapshot:
        assert snapshot.tasks() == {0: ""}
    store.close()


def test_episodes_of_before_there_were_tasks_are_kept(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.sqlite'}"
    engine = create_engine(url)
    upgrade(engine, "0001")
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO experiments VALUES ('e', 'n', 'random', '{}', '[]', '{}', 0,"
                " 'stopped', '', NULL, NULL, 1, 1)"
            )
        )
        connection.execute(
            text("INSERT INTO episodes VALUES ('e', 'r', 'a', 4, 9, 2.5, 0, 1, 'policy', 0, 7)")
        )
    engine.dispose()
    storage = Storage(url)
    storage.migrate()
    (episode,) = storage.episodes("e")
    assert (episode.episode, episode.total_reward, episode.task) == (4, 2.5, "")
    storage.close()


def test_two_robots_with_two_tasks_join_one_experiment_and_are_told_apart(tmp_path: Path) -> None:
    robots = fit([make_robot("pointmass"), make_robot("gym:Pendulum-v1")])
    observed, actions = map(space_to_json, (robots[0].observation_space, robots[0].action_space))

    async def act(house):
        made = await house.create()
        await house.ask("POST", f"/experiments/{made}/start")
        for name, robot in zip("ab", robots, strict=True):
            assert house.join(name, observed, action=actions) == made
            house.experiments.stored(name, made, chunk(0, 0, robot.task.name))
        with pytest.raises(SchemaError, match="observation_space"):
            house.join("c")  # which was not fitted
        house.join("a", observed, action=actions)
        house.experiments.stored("a", made, chunk(1, 3, "another"))
        await house.writer.flush()
        return await house.items(f"/experiments/{made}/episodes")

    episodes = in_house(tmp_path, act)
    assert sorted((e["robot"], e["episode"], e["task"]) for e in episodes) == [
        ("a", 0, "push-to-centre"),
        ("a", 1, "another"),
        ("b", 0, "Pendulum-v1"),
    ]
