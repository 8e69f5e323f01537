"""The store keeps every row once, in order, whatever comes in and whoever is killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_client.errors import SchemaError
from robot_client.schema import Chunk
from server.errors import ReplayError
from server.replay.layout import ChunkHeader, Layout
from server.replay.store import ReplayStore
from server.replay.view import ReplayView
from tests.unit.replay_rows import Recorder, rows


@pytest.fixture
def store(tmp_path: Path):
    store = ReplayStore(tmp_path / "replay")
    yield store
    store.close()


def read_steps(store: ReplayStore) -> list[float]:
    view = ReplayView(store)
    if not view.refresh():
        return []
    return view.gather(np.arange(view.head), ["step"])["step"][:, 0].tolist()


def test_a_chunk_comes_back_bit_for_bit(store: ReplayStore):
    columns = rows(0, 0, 7, terminal=True, extras=True, image=4)
    assert store.append("r", Chunk("boot", 0, 0, columns)).stored == 7
    with store.read() as snapshot:
        value = snapshot.value(0)
        header = ChunkHeader.unpack(value)
        layout = snapshot.layout(header.layout)
        assert layout == Layout.of(columns)
        for name, expected in columns.items():
            found = layout.columns[name].read(value, header.rows)
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)
            del found
        del value


def test_duplicates_overlaps_and_gaps(store: ReplayStore):
    def put(start: int, stop: int):
        return store.append("r", Chunk("boot", 0, start, rows(0, start, stop)))

    assert (put(0, 5).next_seq, put(0, 5).stored) == (5, 0)
    assert (put(3, 8).stored, put(2, 6).stored) == (3, 0)
    outcome = put(9, 12)
    assert (outcome.gap, outcome.next_seq, outcome.stored) == (True, 8, 0)
    assert put(8, 9).next_seq == store.next_seq("r", "boot") == 9
    assert read_steps(store) == list(range(9))
    assert store.verify().problems == ()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 8)), max_size=40), st.data())
def test_any_order_of_uploads_stores_each_row_once(tmp_path_factory, uploads, data):
    store = ReplayStore(tmp_path_factory.mktemp("replay"))
    mark = 0
    while uploads:
        size = data.draw(st.integers(1, len(uploads)))
        group, uploads = uploads[:size], uploads[size:]
        batch = [("r", Chunk("boot", 0, a, rows(0, a, a + n))) for a, n in group]
        for (first, count), outcome in zip(group, store.commit(batch), strict=True):
            expected = max(0, first + count - mark) if first <= mark else 0
            assert (outcome.stored, outcome.gap) == (expected, first > mark)
            mark += expected
            assert outcome.next_seq == mark
    assert read_steps(store) == list(range(mark))
    assert store.verify().problems == ()
    store.close()


def test_a_chunk_that_contradicts_its_stream_is_refused(store: ReplayStore):
    def put(episode: int, seq: int, columns):
        return store.append("r", Chunk("boot", episode, seq, columns))

    assert "without is_first" in put(0, 0, rows(0, 1, 3)).refused
    put(0, 0, rows(0, 0, 3, last=True))
    assert "after the last row" in put(0, 3, rows(0, 3, 5)).refused
    put(2, 3, rows(2, 0, 3))
    assert "episode 1 after" in put(1, 6, rows(1, 0, 3)).refused
    assert "is_first inside" in put(2, 6, rows(2, 0, 3)).refused
    assert store.verify().problems == ()
    assert store.rows == 6


def test_one_bad_chunk_does_not_hold_up_the_batch(store: ReplayStore):
    good, late = Recorder(0), Recorder(1)
    gap = replace(late.chunks(5)[0][1], first_seq=7)
    outcomes = store.commit([*good.chunks(5), (late.name, gap)])
    assert [(o.stored, o.gap) for o in outcomes] == [(5, False), (0, True)]


def test_an_impossible_name_stores_nothing(store: ReplayStore):
    chunk = Chunk("x" * 300, 0, 0, rows(0, 0, 2))
    with pytest.raises(SchemaError, match="epoch"):
        store.commit([*Recorder().chunks(5), ("r", chunk)])
    assert store.rows == 0


def test_the_map_grows_under_writer_and_reader(tmp_path: Path):
    writer = ReplayStore(tmp_path / "replay", map_size=2**18)
    recorder = Recorder(image=32)
    writer.commit(recorder.chunks(10))
    script = (
        "import sys; from pathlib import Path; from server.replay.store import ReplayStore\n"
        "store = ReplayStore(Path(sys.argv[1]), map_size=2**18, readonly=True)\n"
        "print(store.rows, flush=True); input(); print(store.verify())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "replay")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdout
        assert reader.stdin
        assert reader.stdout.readline() == "10\n"
        for _ in range(10):
            writer.commit(recorder.chunks(60))
        found, _ = reader.communicate("\n")
    assert found.startswith("Audit(rows=610")
    assert found.endswith("problems=())\n")
    writer.close()


def test_opening_what_is_no_store(tmp_path: Path):
    with pytest.raises(ReplayError, match="cannot open"):
        ReplayStore(tmp_path / "none", readonly=True)
    with lmdb.open(str(tmp_path / "other"), max_dbs=4) as env, env.begin(write=True) as txn:
        txn.put(b"format", b"another", db=env.open_db(b"meta", txn=txn))
    with pytest.raises(ReplayError, match="format"):
        ReplayStore(tmp_path / "other")


def test_verify_sees_damage(store: ReplayStore):
    store.commit(Recorder().chunks(20))
    key = (1).to_bytes(8, "big")
    with store._env.begin(write=True) as txn:
        value = bytearray(txn.get(key, db=store._tables.chunks))
        value[8:16] = (99).to_bytes(8, "little")  # first_seq
        txn.put(key, bytes(value), db=store._tables.chunks)
    assert any("row 99" in problem for problem in store.verify().problems)


KILLED_WRITER = """
import sys
from pathlib import Path
from robot_client.schema import Chunk
from server.replay.store import ReplayStore
from tests.unit.replay_rows import rows
store = ReplayStore(Path(sys.argv[1]), map_size=2**18)
while True:
    at = [store.next_seq(f"r{i}", "boot") for i in range(3)]
    store.commit([
        (f"r{i}", Chunk("boot", 0, seq + 4 * k, rows(0, seq + 4 * k, seq + 4 * k + 4, image=8)))
        for k in range(3) for i, seq in enumerate(at)
    ])
    print(*[store.next_seq(f"r{i}", "boot") for i in range(3)], flush=True)
"""


def test_a_killed_writer_loses_nothing_it_has_acknowledged(tmp_path: Path):
    path, chance = tmp_path / "replay", random.Random(0)
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", KILLED_WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout
        acknowledged = [writer.stdout.readline() for _ in range(chance.randint(1, 12))]
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.readlines()
        writer.wait()
        writer.stdout.close()
        store = ReplayStore(path)
        audit = store.verify()
        marks = [store.next_seq(f"r{i}", "boot") for i in range(3)]
        store.close()
        assert audit.problems == ()
        assert len(set(marks)) == 1, "a commit was torn"
        whole = [line for line in acknowledged if line.endswith("\n")]
        assert marks[0] >= int(whole[-1].split()[0]) > 0


KILLED_READERS = """
import os, signal, sys
from pathlib import Path
from server.replay.store import ReplayStore
for _ in range(130):
    if os.fork() == 0:
        store = ReplayStore(Path(sys.argv[1]), readonly=True)
        with store.read():
            os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.wait()
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        sys.exit("a reader could not read")
"""


def test_readers_that_were_killed_do_not_keep_later_ones_out(store: ReplayStore):
    store.append("r", Chunk("boot", 0, 0, rows(0, 0, 3)))
    subprocess.run([sys.executable, "-c", KILLED_READERS, str(store.path)], check=True)
    assert store.append("r", Chunk("boot", 0, 3, rows(0, 3, 5))).stored == 2
