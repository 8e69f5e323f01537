"""Reads a LeRobotDataset v3.0: an export of ours bit for bit, another's as well as it can be.

One that is not ours has T frames an episode and nothing after the last action. What that led to is
known all the same, by `next.reward` and `next.done`, and must not be lost: a row is added with them
and the last observation once more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.schema import (
    ACTION,
    ACTION_REQUESTED,
    STEP_DTYPES,
    ActionSpace,
    Columns,
    Field,
    Json,
    row_fields,
)
from server.datasets import lerobot_files as files
from server.datasets.episodes import About, Found, Recorded
from server.datasets.extra import need
from server.datasets.foreign import fitted, task_name
from server.datasets.lerobot import LAST, ROWS
from server.datasets.manifest import Manifest
from server.datasets.parquet import by_episode, to_columns
from server.datasets.steps import NOT_OBSERVED, Steps, restored, to_rows
from server.datasets.video import VideoReader
from server.errors import Invalid

_ABSENT = {
    files.REWARD: "there is no next.reward: taken as 0",
    files.DONE: "there is no next.done: no episode is taken to end for good",
    files.TRUNCATED: "there is no next.truncated: next.done is taken as an end for good",
}


class LeRobotReader:
    """A dataset in a folder.

    Raises Invalid when it is none of version 3.0.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = _json(folder / files.INFO)
        version = self.info.get("codebase_version")
        if version != files.VERSION:
            raise Invalid(files.INFO, f"codebase_version {files.VERSION}", version)
        self.features: dict[str, Json] = self.info["features"]
        paths = sorted(folder.glob("meta/episodes/*/*.parquet"))
        self._episodes = [row for path in paths for row in _listed(path)]
        self._tasks = files.read_tasks(folder / files.TASKS)
        self._videos: dict[str, VideoReader] = {}

    @property
    def count(self) -> int:
        """Number of episodes."""
        return len(self._episodes)

    def frames(self, names: list[str]) -> Iterator[tuple[int, str, Columns]]:
        """Number, task and (T, ...) features of each episode. Raises Invalid."""
        stored = [n for n in names if self.features[n]["dtype"] != "video"]
        videos = [n for n in names if n not in stored]
        expected = 0
        for number, table in by_episode(sorted(self.folder.glob("data/*/*.parquet"))):
            if number != expected:
                raise Invalid("data", f"episode {expected} next", f"episode {number}")
            columns = to_columns(table, [*stored, "task_index"])
            task = self._tasks[int(columns.pop("task_index")[0])]
            for name in videos:
                columns[name] = self._video(number, name, len(table))
            yield number, task, columns
            expected += 1
        if expected != self.count:
            raise Invalid("data", f"{self.count} episodes", expected)

    def _video(self, number: int, name: str, count: int) -> NDArray[Any]:
        row, prefix = self._episodes[number], f"videos/{name}/"
        where = {k: row[prefix + k] for k in ("chunk_index", "file_index")}
        path = self.folder / self.info["video_path"].format(video_key=name, **where)
        start = round(row[prefix + "from_timestamp"] * self.info["fps"])
        pictures = self._videos.setdefault(name, VideoReader()).read(path, start, count)
        return pictures[..., : files.height_width_channels(self.features[name])[2]]


def open_ours(folder: Path, manifest: Manifest) -> Found:
    """An export, to be read as it was recorded. Raises Invalid where it was changed."""
    about = manifest.about
    return Found(about, len(manifest.episodes), (), _ours(LeRobotReader(folder), manifest, about))


def open_foreign(folder: Path, like: About | None) -> Found:
    """Another's dataset, as spaces like those given or, without any, guessed.

    Raises Invalid when it does not fit them.
    """
    reader = LeRobotReader(folder)
    names = {_key(n): n for n in reader.features if n.startswith(files.OBSERVED)}
    if not names or ACTION not in reader.features:
        raise Invalid("features", "observations and an action", sorted(reader.features))
    notes = ["the observation after an episode's last action is not stored: the one before, again"]
    notes += [text for name, text in _ABSENT.items() if name not in reader.features]
    if like is None:
        like = _guessed(reader, names)
        notes.append("bounds are not stored: none for observations, what occurred for actions")
    return Found(like, reader.count, tuple(notes), _foreign(reader, names, like))


def _ours(reader: LeRobotReader, manifest: Manifest, about: About) -> Iterator[Recorded]:
    fields = row_fields(about.observation_space, about.action_space)
    features = {**manifest.names, ACTION: ACTION}
    kept = [*STEP_DTYPES, ACTION_REQUESTED]
    rows = by_episode([reader.folder / ROWS])
    ends = by_episode([reader.folder / LAST])
    frames = reader.frames(list(features.values()))
    for entry, (_, _, found), row, end in zip(manifest.episodes, frames, rows, ends, strict=True):
        last = to_columns(end[1], features.values())
        joined = {k: _join(fields[k], found[n], last[n]) for k, n in features.items()}
        beside = {k: _shaped(fields[k], v) for k, v in to_columns(row[1], kept).items()}
        columns = restored(joined, joined.pop(ACTION), beside)
        yield Recorded(entry.robot, entry.epoch, entry.number, entry.task, columns)


def _foreign(reader: LeRobotReader, names: Mapping[str, str], like: About) -> Iterator[Recorded]:
    fields = row_fields(like.observation_space, like.action_space)
    wanted = [key for key in fields if key not in NOT_OBSERVED]
    ours = files.feature_names({key: fields[key] for key in wanted})
    names = {**names, **{key: n for key, n in ours.items() if n in reader.features}}
    missing = sorted(set(wanted) - set(names))
    if missing:
        raise Invalid(f"observation_space.{missing[0]}", f"one of {sorted(names)}", missing[0])
    results = [n for n in (files.REWARD, files.DONE, files.TRUNCATED) if n in reader.features]
    features = [*(names[key] for key in wanted), ACTION, *results]
    for number, task, found in reader.frames(features):
        observed = {key: fitted(key, found[names[key]], fields[key]) for key in wanted}
        action = fitted(ACTION, found[ACTION], fields[ACTION])
        columns = to_rows(_steps(observed, action, found), float(reader.info["fps"]))
        yield Recorded("", "import", number, task_name(task), columns)


def _steps(observed: Columns, action: NDArray[Any], found: Columns) -> Steps:
    count = len(action)
    nothing = np.zeros(count)
    done = found.get(files.DONE, nothing).reshape(count).astype(np.bool_)
    truncated = found.get(files.TRUNCATED, nothing).reshape(count).astype(np.bool_)
    return Steps(
        {key: np.concatenate([column, column[-1:]]) for key, column in observed.items()},
        action,
        found.get(files.REWARD, nothing).reshape(count).astype(np.float32),
        done & ~truncated,
        truncated,
    )


def _guessed(reader: LeRobotReader, names: Mapping[str, str]) -> About:
    observed: dict[str, spaces.Space[Any]] = {
        key: _observation_space(reader.features[name]) for key, name in names.items()
    }
    feature = reader.features[ACTION]
    stats = _json(reader.folder / files.STATS)[ACTION]
    low, high = (np.asarray(stats[name], np.float32) for name in ("min", "max"))
    action: ActionSpace = spaces.Box(low, high, tuple(feature["shape"]), np.float32)
    if feature["dtype"].startswith("int") and feature["shape"] == [1]:
        action = spaces.Discrete(int(high.max()) + 1)
    return About(spaces.Dict(observed), action, float(reader.info["fps"]))


def _observation_space(feature: Json) -> spaces.Box:
    if feature["dtype"] in ("image", "video"):
        return spaces.Box(0, 255, files.height_width_channels(feature), np.uint8)
    return spaces.Box(-np.inf, np.inf, tuple(feature["shape"]), np.float32)


def _key(feature: str) -> str:
    return feature.removeprefix(files.OBSERVED).removeprefix("images.").replace("/", ".")


def _join(field: Field, frames: NDArray[Any], last: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([_shaped(field, frames), _shaped(field, last)])


def _shaped(field: Field, column: NDArray[Any]) -> NDArray[Any]:
    """As (N, ...) of its field: one number is stored without its axis."""
    try:
        return column.reshape(len(column), *field.shape).astype(field.dtype)
    except ValueError as error:
        raise Invalid("data", f"rows of shape {field.shape}", column.shape[1:]) from error


def _listed(path: Path) -> list[Json]:
    parquet = need("pyarrow.parquet")
    names = parquet.read_schema(path).names
    kept = [name for name in names if not name.startswith("stats/")]
    found: list[Json] = parquet.read_table(path, columns=kept).to_pylist()
    return found


def _json(path: Path) -> Json:
    try:
        found: Json = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise Invalid(path.name, "a file of a LeRobot dataset", "none") from error
    except (OSError, ValueError) as error:
        raise Invalid(path.name, "the JSON of a LeRobot dataset", error) from error
    return found
