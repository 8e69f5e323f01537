"""The spool: every row once and in order, whatever is killed, torn, full or damaged."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_client import segments, spool
from robot_client.errors import SpoolError, SpoolFull
from robot_client.schema import MAX_CHUNK_ROWS, Chunk, Columns
from robot_client.spool import Spool


def row(value: int, last: bool = False, **extras: Any) -> Columns:
    return {
        "position": np.full(3, value, np.float32),
        "image": np.full((2, 2, 1), value % 256, np.uint8),
        "reward": np.asarray(value, np.float32),
        "is_last": np.asarray(last),
        "policy_version": np.asarray(value),
        **extras,
    }


def fill(queue: Spool, episode: int, count: int, **extras: Any) -> None:
    for _ in range(count):
        queue.append(episode, row(queue.next_seq, **extras))


def everything(queue: Spool, from_seq: int | None = None) -> list[Chunk]:
    seq = queue.first_unacked if from_seq is None else from_seq
    chunks: list[Chunk] = []
    while (chunk := queue.read(seq)) is not None:
        chunks.append(chunk)
        seq += chunk.rows
    return chunks


def values(queue: Spool, from_seq: int | None = None) -> list[int]:
    return [int(v) for c in everything(queue, from_seq) for v in c.columns["policy_version"]]


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    queue = Spool(tmp_path)
    for value in range(3):
        assert queue.append(4, row(value)) == value
    chunk = queue.read(1)
    assert chunk is not None
    assert (chunk.epoch, chunk.episode, chunk.first_seq, chunk.rows) == (queue.epoch, 4, 1, 2)
    for name, expected in row(2).items():
        got = chunk.columns[name]
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got[1], expected)
    assert queue.read(3) is None
    queue.close()


def test_chunks_are_bounded_and_of_one_episode_and_one_set_of_columns(tmp_path: Path) -> None:
    queue = Spool(tmp_path)
    fill(queue, 0, MAX_CHUNK_ROWS + 2)
    fill(queue, 1, 2)
    fill(queue, 1, 3, **{"policy/h": np.zeros(2, np.float16)})
    fill(queue, 1, 1, **{"policy/h": np.zeros(3, np.float16)})
    queue.end_chunk()
    fill(queue, 1, 1, **{"policy/h": np.zeros(3, np.float16)})
    chunks = everything(queue)
    assert [(c.episode, c.rows) for c in chunks] == [
        (0, 64), (0, 2), (1, 2), (1, 3), (1, 1), (1, 1)
    ]  # fmt: skip
    assert chunks[3].columns["policy/h"].shape == (3, 2)
    limited = queue.read(0, max_rows=5)
    assert limited is not None
    assert limited.rows == 5
    single = queue.read(0, max_bytes=1)
    assert single is not None
    assert single.rows == 1
    queue.close()


def test_complete_says_when_a_chunk_cannot_grow(tmp_path: Path) -> None:
    queue = Spool(tmp_path)
    assert not queue.complete(0)
    fill(queue, 0, 2)
    assert not queue.complete(0)
    assert queue.complete(0, max_rows=2)
    queue.append(0, row(2, last=True))
    assert queue.complete(0)
    fill(queue, 1, 1)
    assert not queue.complete(3)
    queue.end_chunk()
    assert queue.complete(3)
    assert not queue.complete(4)
    queue.close()


def test_seq_epoch_and_episodes_go_on_after_a_restart(tmp_path: Path) -> None:
    queue = Spool(tmp_path)
    epoch = queue.epoch
    assert (queue.next_seq, queue.next_episode) == (0, 0)
    fill(queue, 6, 5)
    queue.ack(2)
    queue.close()
    queue = Spool(tmp_path)
    assert (queue.epoch, queue.next_seq, queue.first_unacked) == (epoch, 5, 2)
    assert (queue.next_episode, queue.backlog) == (7, 3)
    fill(queue, 7, 2)
    assert values(queue) == [2, 3, 4, 5, 6]
    assert [c.episode for c in everything(queue)] == [6, 7]
    queue.close()


def test_no_seq_is_used_again_when_everything_was_acknowledged(tmp_path: Path) -> None:
    queue = Spool(tmp_path)
    fill(queue, 3, 5)
    queue.close()
    queue = Spool(tmp_path)
    queue.ack(5)
    assert not list(tmp_path.glob("*.rows"))
    os.close(queue._lock)  # as a killed process leaves it: never closed
    queue = Spool(tmp_path)
    assert (queue.next_seq, queue.first_unacked, queue.next_episode) == (5, 5, 4)
    queue.close()


def test_whole_acknowledged_segments_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_SEGMENT_BYTES", 500)
    queue = Spool(tmp_path)
    fill(queue, 0, 50)
    files = len(list(tmp_path.glob("*.rows")))
    assert files > 3
    assert values(queue) == list(range(50))
    queue.ack(25)
    assert 1 < len(list(tmp_path.glob("*.rows"))) < files
    assert values(queue) == list(range(25, 50))
    with pytest.raises(SpoolError, match="row 0 is no longer here"):
        queue.read(0)
    queue.ack(10)
    assert queue.first_unacked == 25
    queue.ack(50)
    assert len(list(tmp_path.glob("*.rows"))) == 1
    assert queue.size_bytes == sum(p.stat().st_size for p in tmp_path.glob("*.rows"))
    queue.close()
    queue = Spool(tmp_path)
    assert (queue.next_seq, queue.backlog) == (50, 0)
    queue.close()


def test_a_full_spool_says_so_and_goes_on_after_an_acknowledgement(tmp_path: Path) -> None:
    queue = Spool(tmp_path, quota_bytes=4000)
    with pytest.raises(SpoolFull, match="quota"):
        fill(queue, 0, 1000)
    recorded = queue.next_seq
    assert 20 < recorded < 100
    with pytest.raises(SpoolFull):
        queue.append(1, row(recorded))
    assert sum(p.stat().st_size for p in tmp_path.glob("*.rows")) <= 4000
    assert values(queue) == list(range(recorded))
    queue.ack(recorded)
    fill(queue, 1, 10)
    assert values(queue) == list(range(recorded, recorded + 10))
    queue.close()


def test_rows_are_durable_before_they_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(spool, "sync_file", synced.append)
    queue = Spool(tmp_path)
    fill(queue, 0, 3)
    assert synced == []  # append never waits for the disk
    queue.read(0)
    assert len(synced) == 1
    queue.read(1)
    assert len(synced) == 1
    fill(queue, 0, 1)
    assert queue.sync() == 4
    assert len(synced) == 2
    queue.close()


def test_only_one_process_uses_a_spool(tmp_path: Path) -> None:
    queue = Spool(tmp_path)
    with pytest.raises(SpoolError, match="another robot process"):
        Spool(tmp_path)
    queue.close()
    queue.close()
    with pytest.raises(SpoolError, match="closed"):
        queue.append(0, row(0))
    Spool(tmp_path).close()


def test_what_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    queue = Spool(tmp_path)
    for bad in (np.zeros(2, ">f4"), np.zeros(2, np.complex64), np.array([None])):
        with pytest.raises(SpoolError, match=r"row\.bad"):
            queue.append(0, row(0, bad=bad))
    with pytest.raises(SpoolError, match="columns"):
        queue.append(0, {})
    assert queue.append(0, row(0)) == 0
    with pytest.raises(SpoolError, match="old copy"):
        queue.ack(2)
    queue.close()
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="file"):
        Spool(tmp_path / "file")


def test_a_file_torn_at_any_byte_keeps_all_whole_rows(tmp_path: Path) -> None:
    queue = Spool(tmp_path / "whole")
    fill(queue, 0, 3)
    queue.close()
    (path,) = (tmp_path / "whole").glob("*.rows")
    content, state = path.read_bytes(), (tmp_path / "whole" / "state.json").read_bytes()
    stride = segments.PREFIX.size + 1 + sum(a.nbytes for a in row(0).values())
    last_record = range(len(content) - stride, len(content))
    for cut in [*range(0, len(content) - stride, 11), *last_record]:
        directory = tmp_path / str(cut)
        directory.mkdir()
        (directory / path.name).write_bytes(content[:cut])
        (directory / "state.json").write_bytes(state)
        queue = Spool(directory)
        whole = max(0, 3 - -(-(len(content) - cut) // stride))
        assert queue.next_seq == whole
        fill(queue, 1, 2)
        assert values(queue, 0) == list(range(whole + 2))
        queue.close()


def test_a_flipped_bit_is_not_read_as_a_row(tmp_path: Path) -> None:
    queue = Spool(tmp_path)
    fill(queue, 0, 3)
    queue.sync()
    (path,) = tmp_path.glob("*.rows")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(SpoolError, match="damaged"):
        queue.read(0)
    queue.close()
    queue = Spool(tmp_path)
    assert values(queue) == [0, 1]
    queue.close()


@pytest.mark.parametrize("state", [None, "", "{", '{"epoch": 3}', '{"epoch": "e", "acked": -1}'])
def test_a_lost_state_begins_a_new_epoch_and_keeps_the_rows_aside(
    tmp_path: Path, state: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    queue = Spool(tmp_path)
    old = queue.epoch
    fill(queue, 0, 3)
    queue.close()
    (tmp_path / "state.json").unlink()
    if state is not None:
        (tmp_path / "state.json").write_text(state)
    queue = Spool(tmp_path)
    assert queue.epoch != old
    assert (queue.next_seq, queue.backlog) == (0, 0)
    (aside,) = tmp_path.glob("damaged-*/*.rows")
    assert aside.stat().st_size > 0
    assert "a new epoch begins" in caplog.text
    queue.close()


@pytest.mark.parametrize("damage", ["delete", "flip", "truncate"])
def test_damage_in_the_middle_begins_a_new_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(spool, "_SEGMENT_BYTES", 500)
    queue = Spool(tmp_path)
    old = queue.epoch
    fill(queue, 0, 30)
    queue.close()
    path = sorted(tmp_path.glob("*.rows"))[1]
    content = bytearray(path.read_bytes())
    if damage == "delete":
        path.unlink()
    else:
        content[200] ^= 1
        path.write_bytes(content if damage == "flip" else content[:300])
    queue = Spool(tmp_path)
    assert queue.epoch != old
    assert queue.next_seq == 0
    assert list(tmp_path.glob("damaged-*/*.rows"))
    queue.close()


def test_a_reader_and_a_writer_share_the_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_SEGMENT_BYTES", 4000)
    queue = Spool(tmp_path)
    writer = threading.Thread(target=lambda: [fill(queue, e, 37) for e in range(40)])
    writer.start()
    got: list[int] = []
    while len(got) < 40 * 37:
        chunk = queue.read(queue.first_unacked)
        if chunk is not None:
            got += [int(v) for v in chunk.columns["policy_version"]]
            queue.ack(chunk.first_seq + chunk.rows)
    writer.join()
    assert got == list(range(40 * 37))
    assert queue.backlog == 0
    queue.close()


WRITER = """
import sys
from pathlib import Path
from robot_client.spool import Spool
from tests.unit.test_spool import row
queue = Spool(Path(sys.argv[1]))
episode = queue.next_episode
while True:
    seq = queue.append(episode, row(queue.next_seq))
    print(seq, flush=True)
    if seq % 7 == 0:
        episode += 1
    if seq % 40 == 39:
        queue.ack(seq - 20)
"""


def test_a_killed_process_loses_no_row(tmp_path: Path) -> None:
    chance = random.Random(0)
    recorded = -1
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        first = int(process.stdout.readline())
        for _ in range(chance.randrange(400)):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split("\n")
        process.stdout.close()
        process.wait()
        assert first == recorded + 1
        queue = Spool(tmp_path)
        said = [int(line) for line in rest[:-1] if line]
        assert queue.next_seq > max([first, *said])
        assert values(queue) == list(range(queue.first_unacked, queue.next_seq))
        recorded = queue.next_seq - 1
        queue.close()


def test_the_state_file_is_readable(tmp_path: Path) -> None:
    queue = Spool(tmp_path)
    fill(queue, 2, 4)
    queue.ack(3)
    queue.join("x1")
    queue.close()
    state = json.loads((tmp_path / "state.json").read_text())
    assert state.pop("experiment") == "x1"
    assert state == {"epoch": queue.epoch, "acked": 3, "next_episode": 3, "format": 1}


def test_a_new_epoch_begins_when_all_is_delivered_and_no_episode_runs(tmp_path: Path) -> None:
    queue = Spool(tmp_path)
    fill(queue, 3, 2)
    assert not queue.begin_epoch()
    queue.ack(2)
    assert not queue.begin_epoch()  # the episode goes on
    queue.append(3, row(2, last=True))
    assert not queue.begin_epoch()
    queue.ack(3)
    old = queue.epoch
    assert queue.begin_epoch()
    assert queue.epoch != old
    assert (queue.first_unacked, queue.next_seq, queue.next_episode) == (0, 0, 4)
    fill(queue, 4, 2)
    assert values(queue) == [0, 1]
    queue.close()
    again = Spool(tmp_path)
    assert values(again) == [0, 1]
    assert again.next_episode == 5
    again.close()


def test_rows_that_wait_stay_with_their_experiment(tmp_path: Path) -> None:
    queue = Spool(tmp_path)
    fill(queue, 0, 2)
    assert queue.join("x1")  # nobody has said yet whose they are
    assert not queue.join("x2")
    queue.close()
    queue = Spool(tmp_path)
    assert not queue.join("x2")
    assert queue.join("x1")
    queue.append(0, row(2, last=True))
    queue.ack(3)
    assert queue.join("x2")
    assert queue.begin_epoch()
    fill(queue, 1, 1)
    assert queue.join("x3")
    queue.close()


@pytest.mark.parametrize("failing", [0, 1])
def test_a_crash_while_a_new_epoch_begins_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    queue = Spool(tmp_path)
    queue.append(0, row(0, last=True))
    queue.ack(1)
    states: list[Any] = []
    write = spool.write_state

    def crash(directory: Path, state: Any) -> None:
        if len(states) == failing:
            raise OSError("killed")
        states.append(state)
        write(directory, state)

    monkeypatch.setattr(spool, "write_state", crash)
    with pytest.raises(SpoolError):
        queue.begin_epoch()
    monkeypatch.undo()
    os.close(queue._lock)
    again = Spool(tmp_path)
    again.append(again.next_episode, row(7, last=True))
    assert values(again)[-1] == 7
    assert not list(tmp_path.glob("damaged-*"))
    again.close()
