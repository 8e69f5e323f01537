"""What is read from an experiment's files when its server starts."""

import json

from server.recovery import newest_manifest, rows_in
from server.replay.store import ReplayStore


def test_rows_are_those_of_the_store(tmp_path):
    assert rows_in(tmp_path) is None
    ReplayStore(tmp_path / "replay").close()
    assert rows_in(tmp_path) == 0


def test_the_manifest_is_the_newest(tmp_path):
    assert newest_manifest(tmp_path) is None
    (tmp_path / "policies").mkdir()
    for version in (9, 10):
        path = tmp_path / "policies" / f"{version:08d}.json"
        path.write_text(json.dumps({"version": version}))
    assert newest_manifest(tmp_path) == {"version": 10}


def test_a_damaged_manifest_is_passed_over(tmp_path):
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "00000001.json").write_text('{"version": 1}')
    (tmp_path / "policies" / "00000002.json").write_text('{"versi')
    assert newest_manifest(tmp_path) == {"version": 1}
