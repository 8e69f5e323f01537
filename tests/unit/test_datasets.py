"""Exports and imports: nothing is lost, readers of the formats agree, and half is nothing."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from gymnasium import spaces
from minari import MinariDataset

from robot_client.schema import Source, space_to_json
from server.datasets import export as export_module
from server.datasets.episodes import About, Recorded, chosen
from server.datasets.manifest import FILE, read_manifest
from server.datasets.parquet import decode_png
from server.datasets.shelf import (
    REPLAY,
    begin,
    described,
    listed,
    refuse_other_spaces,
    remove,
    verify,
)
from server.errors import Conflict, Invalid, NotFound
from server.replay.sampler import SequenceSampler
from server.replay.store import ReplayStore
from server.replay.view import ReplayView
from tests.unit.dataset_rows import (
    KINDS,
    columns_of,
    episodes_of,
    exported,
    foreign,
    imported,
    one,
    quiet,
    read_all,
    same,
    stored,
)
from tests.unit.replay_rows import Recorder

FORMATS = ("lerobot", "minari")


@pytest.fixture(params=FORMATS)
def format_name(request):
    return request.param


@pytest.fixture(params=sorted(KINDS))
def about(request):
    return KINDS[request.param]


def test_a_round_trip_loses_nothing(tmp_path, about, format_name):
    episodes, out, summary = one(tmp_path, about, format_name)
    assert summary == {"episodes": 5, "rows": 92, "lossy": [], "left_out": []}
    made = imported(out, tmp_path / "home")
    assert (made.episodes, made.rows, made.notes) == (5, 92, [])
    assert (made.robots, made.tasks) == (["ball-1", "ball-2"], ["", "jump", "roll"])
    assert made.control_hz == about.control_hz
    assert made.observation_space == space_to_json(about.observation_space)
    again = read_all(tmp_path / "home" / "demos" / REPLAY)
    assert [same(a, b) for a, b in zip(episodes, again, strict=True)] == [True] * 5
    assert verify(tmp_path / "home", "demos", quiet)["problems"] == []


def test_an_export_to_a_relative_path_is_as_good(tmp_path, format_name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    about = KINDS["vector"]
    replay = stored(tmp_path / "r", about, episodes_of(about)).relative_to(tmp_path)
    assert exported(replay, Path("here/out"), about, format_name)["episodes"] == 5


def test_an_export_of_an_import_is_the_same_export(tmp_path, format_name):
    _, out, _ = one(tmp_path, KINDS["vector"], format_name)
    imported(out, tmp_path / "home")
    replay = tmp_path / "home" / "demos" / REPLAY
    exported(replay, tmp_path / "again", KINDS["vector"], format_name)
    assert read_manifest(tmp_path / "again").episodes == read_manifest(out).episodes


def test_minaris_own_reader_sees_steps(tmp_path):
    episodes, out, _ = one(tmp_path, KINDS["mixed"], "minari")
    dataset = MinariDataset(out / "data")
    assert (dataset.total_episodes, dataset.total_steps) == (5, 87)
    assert dataset.spec.dataset_id == "dreamfleet/a-test-v0"
    assert dataset.action_space == KINDS["mixed"].action_space
    for episode, found in zip(episodes, dataset.iterate_episodes(), strict=True):
        columns, ends = episode.columns, bool(episode.columns["is_terminal"][-1])
        assert np.array_equal(found.observations["camera"], columns["camera"])
        assert np.array_equal(found.observations["arm.angle"], columns["arm/angle"])
        assert np.array_equal(found.actions, columns["action"][:-1])
        assert np.array_equal(found.rewards, columns["reward"][1:])
        assert (bool(found.terminations[-1]), bool(found.truncations[-1])) == (ends, not ends)
        assert not (found.terminations[:-1] | found.truncations[:-1]).any()


def test_the_layout_is_that_of_lerobot(tmp_path):
    episodes, out, _ = one(tmp_path, KINDS["mixed"], "lerobot")
    info = json.loads((out / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (5, 87, 3)
    assert (info["fps"], info["splits"], info["video_path"]) == (2, {"train": "0:5"}, None)
    data = pq.read_table(out / info["data_path"].format(chunk_index=0, file_index=0))
    assert set(data.column_names) == set(info["features"])
    assert pq.ParquetFile(out / "data/chunk-000/file-000.parquet").num_row_groups == 5
    columns = episodes[1].columns
    where = slice(69, 73)  # the second episode
    assert data["index"].to_pylist() == list(range(87))
    assert data["episode_index"].to_pylist()[where] == [1] * 4
    assert data["frame_index"].to_pylist()[where] == [0, 1, 2, 3]
    assert data["timestamp"].to_pylist()[where] == [0, 0.5, 1, 1.5]
    assert data["next.reward"].to_pylist()[where] == columns["reward"][1:].tolist()
    assert data["next.done"].to_pylist()[where] == [False] * 3 + [True]
    assert data["next.truncated"].to_pylist()[where] == [False] * 4
    assert data["action"].to_pylist()[where] == columns["action"][:-1].tolist()
    assert data["observation.map"].to_pylist()[where] == columns["map"][:-1].tolist()
    human = columns["source"][:-1] == Source.HUMAN
    assert data["is_intervention"].to_pylist()[where] == human.tolist()
    picture = decode_png(data["observation.images.camera"][69].as_py()["bytes"])
    assert np.array_equal(picture, columns["camera"][0])
    assert info["features"]["observation.images.grey"]["shape"] == [8, 8, 1]


def test_lerobots_descriptions_of_episodes_tasks_and_numbers(tmp_path):
    episodes, out, _ = one(tmp_path, KINDS["vector"], "lerobot")
    rows = pq.read_table(out / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["length"] for row in rows] == [69, 4, 1, 8, 5]
    assert [row["tasks"] for row in rows] == [["roll"], ["jump"], ["jump"], [""], ["roll"]]
    assert [row["dataset_from_index"] for row in rows] == [0, 69, 73, 74, 82]
    assert [row["dataset_to_index"] for row in rows] == [69, 73, 74, 82, 87]
    tasks = pq.read_table(out / "meta/tasks.parquet")
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    assert tasks.to_pydict() == {"task_index": [0, 1, 2], "task": ["roll", "jump", ""]}
    stats = json.loads((out / "meta/stats.json").read_text())
    every = np.concatenate([e.columns["obs"][:-1] for e in episodes]).astype(float)
    got = stats["observation.state"]
    for name, expected in (
        ("min", every.min(0)),
        ("max", every.max(0)),
        ("mean", every.mean(0)),
        ("std", every.std(0)),
        ("count", [87]),
    ):
        assert got[name] == pytest.approx(expected)
    first = episodes[0].columns["obs"][:-1]
    assert rows[0]["stats/observation.state/q90"] == pytest.approx(np.quantile(first, 0.9, 0))


def test_pictures_have_statistics_per_channel_between_0_and_1(tmp_path):
    _, out, _ = one(tmp_path, KINDS["camera"], "lerobot")
    stats = json.loads((out / "meta/stats.json").read_text())["observation.images.camera"]
    assert np.shape(stats["mean"]) == (3, 1, 1)
    assert 0.45 < np.mean(stats["mean"]) < 0.55
    assert np.max(stats["max"]) <= 1


def test_video_keeps_everything_but_bits_of_pictures(tmp_path):
    about = KINDS["camera"]
    smooth = np.linspace(0, 200, 16 * 18 * 3).reshape(16, 18, 3)
    episodes = episodes_of(about)
    for number, episode in enumerate(episodes):
        count = len(episode.columns["camera"])
        level = np.arange(count).reshape(-1, 1, 1, 1) % 7 + 5 * number
        episode.columns["camera"][:] = smooth + level
    replay = stored(tmp_path / "replay", about, episodes)
    summary = exported(replay, tmp_path / "out", about, "lerobot", images="video")
    assert summary["lossy"] == ["camera"]
    assert summary["left_out"] == ["camera: not every bit, the video is compressed"]
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    feature = info["features"]["observation.images.camera"]
    assert (feature["dtype"], feature["info"]["video.codec"]) == ("video", "h264")
    data = pq.read_table(tmp_path / "out/data/chunk-000/file-000.parquet")
    assert "observation.images.camera" not in data.column_names
    assert imported(tmp_path / "out", tmp_path / "home").lossy == ["camera"]
    for before, after in zip(episodes, read_all(tmp_path / "home/demos" / REPLAY), strict=True):
        off = before.columns["camera"].astype(int) - after.columns["camera"]
        assert np.abs(off).mean() < 6
        assert not off[-1].any()  # the last observation is not in the video
        kept = {**after.columns, "camera": before.columns["camera"]}
        assert same(before, Recorded(*who(after), kept))


def who(episode):
    return episode.robot, episode.epoch, episode.number, episode.task


def test_what_does_not_fit_a_video_is_refused(tmp_path):
    about = About(spaces.Dict({"c": spaces.Box(0, 255, (7, 8, 3), np.uint8)}), KINDS["vector"]
                  .action_space, 5.0)  # fmt: skip
    replay = stored(tmp_path / "r", about, [Recorded("a", "b", 0, "", columns_of(about, 3))])
    with pytest.raises(Invalid, match="odd height or width"):
        exported(replay, tmp_path / "out", about, "lerobot", images="video")
    with pytest.raises(Invalid, match="png with the format minari"):
        exported(replay, tmp_path / "out", about, "minari", images="video")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r"]


def test_some_episodes_and_none(tmp_path, format_name):
    episodes, _, _ = one(tmp_path, KINDS["vector"], format_name)
    exported(tmp_path / "replay", tmp_path / "some", KINDS["vector"], format_name, episodes="1-2,4")
    imported(tmp_path / "some", tmp_path / "home")
    again = read_all(tmp_path / "home/demos" / REPLAY)
    assert [same(episodes[i], e) for i, e in zip((1, 2, 4), again, strict=True)] == [True] * 3
    assert chosen("", 3) == [0, 1, 2]
    for wrong in ("5", "2-1", "a", "1-", "-1", "0-9"):
        with pytest.raises(Invalid, match="episodes: expected"):
            chosen(wrong, 5)


def test_what_is_not_exported_is_said(tmp_path, format_name):
    store = ReplayStore(tmp_path / "replay")
    recorder = Recorder(extras=True)
    for length, ends in ((6, "terminal"), (1, "last"), (3, "last")):
        for robot, chunk in recorder.chunks(length, ends=ends):
            store.append(robot, chunk)
    store.close()
    observed = spaces.Dict({"step": spaces.Box(-1, 1, (1,), np.float32)})
    about = About(observed, spaces.Box(-1, 1, (1,), np.float32), 20.0)
    summary = exported(tmp_path / "replay", tmp_path / "out", about, format_name)
    assert summary["episodes"] == 2
    assert summary["left_out"] == [
        "policy/h: latent state of the policy's own network",
        "1 episodes of a single row, in which nothing was done",
    ]
    assert imported(tmp_path / "out", tmp_path / "home").notes == summary["left_out"]


def test_nothing_to_export(tmp_path, format_name):
    about = KINDS["vector"]
    lone = [Recorded("a", "b", 0, "", columns_of(about, 1))]
    with pytest.raises(Conflict, match="no episode of a step"):
        exported(stored(tmp_path / "r", about, lone), tmp_path / "out", about, format_name)
    assert not (tmp_path / "out").exists()


# What is half is nothing.


def test_an_export_that_fails_leaves_nothing(tmp_path, format_name, monkeypatch):
    about = KINDS["vector"]
    replay = stored(tmp_path / "r", about, episodes_of(about))

    def wrong(part, manifest, progress):
        assert (part / FILE).exists()
        raise Invalid("episode 3", "as it was", "otherwise")

    monkeypatch.setattr(export_module, "_verify", wrong)
    with pytest.raises(Invalid):
        exported(replay, tmp_path / "out", about, format_name)
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_what_a_killed_export_left_does_not_matter(tmp_path, format_name):
    part = tmp_path / ".out.part"
    part.mkdir()
    (part / "rubbish").write_text("half")
    _, out, _ = one(tmp_path, KINDS["vector"], format_name)
    assert not part.exists()
    assert not (out / "rubbish").exists()
    with pytest.raises(Conflict, match="exists"):
        exported(tmp_path / "replay", out, KINDS["vector"], format_name)


def test_an_export_of_which_a_bit_has_changed_is_refused_as_a_whole(tmp_path, format_name):
    _, out, _ = one(tmp_path, KINDS["vector"], format_name)
    big = max((p for p in out.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    data = bytearray(big.read_bytes())
    data[len(data) // 2] ^= 1
    big.write_bytes(data)
    with pytest.raises(Invalid, match="as it was exported"):
        imported(out, tmp_path / "home")
    assert list((tmp_path / "home").iterdir()) == []


def test_an_import_that_fails_in_the_middle_leaves_nothing(tmp_path, format_name):
    _, out, _ = one(tmp_path, KINDS["vector"], format_name)
    manifest = read_manifest(out)
    entries = [*manifest.episodes[:-1], manifest.episodes[-1].model_copy(update={"sha256": "0"})]
    manifest.model_copy(update={"episodes": entries}).write(out)
    with pytest.raises(Invalid, match="episode 4: expected as it was exported"):
        imported(out, tmp_path / "home")
    assert list((tmp_path / "home").iterdir()) == []


def test_names_are_checked_and_taken_once(tmp_path):
    _, out, _ = one(tmp_path, KINDS["vector"], "minari")
    imported(out, tmp_path / "home")
    with pytest.raises(Conflict, match="choose another name"):
        imported(out, tmp_path / "home")
    for wrong in ("", "../x", ".hidden", "a b", "x" * 65):
        with pytest.raises(Invalid, match="name: expected"):
            imported(out, tmp_path / "home", wrong)
    assert [dataset.name for dataset in listed(tmp_path / "home")] == ["demos"]
    remove(tmp_path / "home", "demos")
    assert list((tmp_path / "home").iterdir()) == []
    with pytest.raises(NotFound):
        described(tmp_path / "home", "demos")


def test_damage_is_found(tmp_path):
    _, out, _ = one(tmp_path, KINDS["vector"], "minari")
    imported(out, tmp_path / "home")
    described_in = tmp_path / "home/demos/dataset.json"
    about = json.loads(described_in.read_text())
    described_in.write_text(json.dumps(about | {"sha256": "0", "rows": 93}))
    problems = verify(tmp_path / "home", "demos", quiet)["problems"]
    assert problems[0] == "rows: expected 93, got 92"
    assert problems[1].startswith("sha256: expected 0, got ")


# Experiments that begin with datasets.


def test_an_experiment_begins_with_demonstrations(tmp_path):
    episodes, out, _ = one(tmp_path, KINDS["vector"], "lerobot")
    imported(out, tmp_path / "home", "one")
    imported(foreign(out), tmp_path / "home", "two", KINDS["vector"])
    assert begin(tmp_path / "home", ["one", "two"], tmp_path / "new") == 2 * 92
    store = ReplayStore(tmp_path / "new", readonly=True)
    assert (store.rows, store.verify().problems) == (184, ())
    view = ReplayView(store)
    assert (view.refresh(), view.episode_count) == (184, 10)
    batch = SequenceSampler(view, 4, 16, (), np.random.default_rng(0)).sample()
    assert batch["obs"].shape == (4, 16, 3)
    assert set(batch["source"].flat) == {Source.HUMAN}
    store.close()
    shown = read_all(tmp_path / "new")
    assert {e.robot for e in shown} == {"import:one:ball-1", "import:one:ball-2", "import:two"}
    for before, after in zip(episodes, shown, strict=False):
        assert np.array_equal(before.columns["obs"], after.columns["obs"])
        assert set(after.columns["source"]) == {Source.HUMAN}
        assert set(after.columns["policy_version"]) == {-1}
    with pytest.raises(NotFound):
        begin(tmp_path / "home", ["one", "three"], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_spaces_that_differ_are_named_by_their_part():
    ours, theirs = (space_to_json(KINDS[kind].observation_space) for kind in ("vector", "camera"))
    refuse_other_spaces("observation_space", ours, ours, "robot a")
    with pytest.raises(Invalid) as caught:
        refuse_other_spaces("observation_space", ours, theirs, "robot a")
    assert caught.value.field == "observation_space.camera"
    assert caught.value.expected == "nothing, as robot a"
    assert '"shape": [16, 18, 3]' in caught.value.got


def test_discarded_episodes_are_left_out(tmp_path):
    about = KINDS["vector"]
    episodes = episodes_of(about)
    store = ReplayStore(stored(tmp_path / "replay", about, episodes))
    gone = episodes[1]
    store.discard(gone.robot, gone.epoch, gone.number, True)
    store.close()
    again = read_all(tmp_path / "replay")
    kept = [episode for episode in episodes if episode is not gone]
    assert [same(a, b) for a, b in zip(kept, again, strict=True)] == [True] * 4
