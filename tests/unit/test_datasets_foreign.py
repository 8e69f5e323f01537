"""Datasets that others have made: what they do not say is assumed, and told."""

import json

import numpy as np
import pytest
from gymnasium import spaces

from robot_client.errors import SchemaError
from robot_client.schema import Source, space_to_json
from server.datasets.episodes import About
from server.datasets.extra import need
from server.datasets.manifest import FILE
from server.datasets.shelf import REPLAY
from server.errors import Invalid, SettingsError
from tests.unit.dataset_rows import KINDS, foreign, imported, one, read_all


def test_lerobot_data_of_others_keep_their_last_reward(tmp_path):
    about = KINDS["mixed"]
    episodes, out, _ = one(tmp_path, about, "lerobot")
    made = imported(foreign(out), tmp_path / "home")
    assert len(made.notes) == 2
    assert "again" in made.notes[0]
    assert made.robots == ["demos"]
    assert made.action_space == {"type": "discrete", "n": 3}
    again = read_all(tmp_path / "home/demos" / REPLAY)
    for before, after in zip(episodes, again, strict=True):
        assert np.array_equal(after.columns["reward"][1:], before.columns["reward"][1:])
        assert after.columns["is_terminal"][-1] == before.columns["is_terminal"][-1]
        assert after.columns["is_last"][-1]
        assert np.array_equal(after.columns["action"][:-1], before.columns["action"][:-1])
        camera = before.columns["camera"]
        assert np.array_equal(after.columns["camera"], np.concatenate([camera[:-1], camera[-2:-1]]))
        assert set(after.columns["source"]) == {Source.HUMAN}
        assert after.task == before.task


def test_lerobot_data_of_others_fit_the_spaces_of_a_robot(tmp_path):
    _, out, _ = one(tmp_path, KINDS["camera"], "lerobot")
    made = imported(foreign(out), tmp_path / "home", like=KINDS["camera"])
    assert made.about == KINDS["camera"]
    wide = spaces.Dict({"camera": spaces.Box(0, 255, (32, 32, 3), np.uint8)})
    with pytest.raises(Invalid, match=r"camera: expected uint8 \(32, 32, 3\), got uint8 \(16, 18"):
        imported(out, tmp_path / "home", "x", About(wide, KINDS["camera"].action_space, 20.0))
    other = spaces.Dict({"lidar": spaces.Box(0, 1, (2,), np.float32)})
    with pytest.raises(Invalid, match=r"observation_space\.lidar: expected one of"):
        imported(out, tmp_path / "home", "x", About(other, KINDS["camera"].action_space, 20.0))


def test_minari_data_of_others_keep_their_spaces_and_steps(tmp_path):
    episodes, out, _ = one(tmp_path, KINDS["vector"], "minari")
    made = imported(foreign(out), tmp_path / "home")
    assert made.action_space == space_to_json(KINDS["vector"].action_space)
    for before, after in zip(episodes, read_all(tmp_path / "home/demos" / REPLAY), strict=True):
        assert np.array_equal(after.columns["obs"], before.columns["obs"])
        assert np.array_equal(after.columns["reward"][1:], before.columns["reward"][1:])
        assert after.columns["is_terminal"][-1] == before.columns["is_terminal"][-1]


def minari_of(folder, observation_space, action_space, **episode):
    """A Minari dataset of one episode of three steps."""
    storage = need("minari.dataset.minari_storage").MinariStorage.new(
        folder, observation_space, action_space
    )
    flags = np.array([False, False, True])
    buffer = need("minari.data_collector").EpisodeBuffer(
        rewards=np.arange(3.0), terminations=flags, truncations=~flags & False, **episode
    )
    storage.update_episodes([buffer])
    return folder


def test_plain_minari_spaces_become_ours(tmp_path):
    (tmp_path / "data").mkdir()
    minari_of(
        tmp_path / "data",
        spaces.Box(-2, 2, (2,), np.float64),
        spaces.Discrete(4, start=2),
        observations=np.arange(8.0).reshape(4, 2),
        actions=np.array([2, 5, 3]),
    )
    made = imported(tmp_path / "data", tmp_path / "home")
    assert made.action_space == {"type": "discrete", "n": 4}
    (episode,) = read_all(tmp_path / "home/demos" / REPLAY)
    assert episode.columns["obs"].tolist() == np.arange(8.0).reshape(4, 2).tolist()
    assert episode.columns["obs"].dtype == np.float32
    assert episode.columns["action"].tolist() == [0, 3, 1, 0]
    assert episode.columns["reward"].tolist() == [0, 0, 1, 2]
    assert episode.columns["is_terminal"].tolist() == [False] * 3 + [True]


def test_minari_spaces_that_rows_do_not_have_are_refused_by_name(tmp_path):
    (tmp_path / "data").mkdir()
    observed = spaces.Dict({"x": spaces.Dict({"y": spaces.MultiDiscrete([2, 2])})})
    minari_of(
        tmp_path / "data",
        observed,
        spaces.Discrete(2),
        observations={"x": {"y": np.zeros((4, 2), int)}},
        actions=np.zeros(3, int),
    )
    with pytest.raises(Invalid, match=r"x\.y: expected a Box or Discrete, got MultiDiscrete"):
        imported(tmp_path / "data", tmp_path / "home")


def test_numbers_that_are_none_are_refused(tmp_path):
    (tmp_path / "data").mkdir()
    observed = np.full((4, 2), np.nan, np.float32)
    minari_of(
        tmp_path / "data",
        spaces.Box(-2, 2, (2,), np.float32),
        spaces.Discrete(2),
        observations=observed,
        actions=np.zeros(3, int),
    )
    with pytest.raises(SchemaError, match=r"columns\.obs: expected finite"):
        imported(tmp_path / "data", tmp_path / "home")
    assert list((tmp_path / "home").iterdir()) == []


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(Invalid, match="neither"):
        imported(tmp_path, tmp_path / "home")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text('{"codebase_version": "v2.1"}')
    with pytest.raises(Invalid, match=r"codebase_version v3\.0, got v2\.1"):
        imported(tmp_path, tmp_path / "home")
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(Invalid, match="the manifest of an export"):
        imported(tmp_path, tmp_path / "home")


def test_without_the_packages_the_extra_is_named():
    with pytest.raises(SettingsError, match=r"needs nothing_like_it.*dreamfleet\[datasets\]"):
        need("nothing_like_it.at_all")


def test_lerobot_data_without_rewards_and_ends_are_demonstrations_all_the_same(tmp_path):
    episodes, out, _ = one(tmp_path, KINDS["vector"], "lerobot")
    info = json.loads((foreign(out) / "meta/info.json").read_text())
    for name in ("next.reward", "next.done", "next.truncated"):
        del info["features"][name]
    (out / "meta/info.json").write_text(json.dumps(info))
    made = imported(out, tmp_path / "home")
    assert [note.partition(":")[0] for note in made.notes[1:4]] == [
        "there is no next.reward",
        "there is no next.done",
        "there is no next.truncated",
    ]
    for before, after in zip(episodes, read_all(tmp_path / "home/demos" / REPLAY), strict=True):
        assert np.array_equal(after.columns["action"], before.columns["action"]) or (
            not before.columns["is_last"][-1]
        )
        assert not after.columns["reward"].any()
        assert after.columns["is_last"][-1]
        assert not after.columns["is_terminal"].any()
