"""Writes episodes as a LeRobotDataset v3.0 (https://github.com/huggingface/lerobot).

A frame of LeRobot is a step: an observation, its action, and under `next.` what the action led to.
It has no place for the observation after the last action, nor for rewards at the beginning, who
acted, or when: these lie beside it in `dreamfleet/`, where LeRobot does not look, so that nothing
is lost. Timestamps of LeRobot are frame / fps; when a row was really measured is in there too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from robot_client.schema import (
    ACTION,
    POLICY_VERSION,
    SOURCE,
    Columns,
    Json,
    Source,
    row_fields,
)
from server.datasets import lerobot_files as files
from server.datasets.episodes import About, Recorded
from server.datasets.extra import need
from server.datasets.parquet import EPISODE, TableFile, is_picture
from server.datasets.stats import Stats, flattened, merged, stats_of
from server.datasets.steps import NOT_OBSERVED, beside, to_steps
from server.datasets.video import VideoFile

Images = Literal["png", "video"]
ROWS, LAST = "dreamfleet/rows.parquet", "dreamfleet/last.parquet"
_MB = 2**20


class LeRobotWriter:
    """Writes one episode after the other; `finish` makes it a dataset.

    Args:
        folder: an empty one.
        about: spaces and pace; `fps` is the pace as a whole number.
        images: png keeps every bit, inside the Parquet files; video is H.264, and loses some.

    Raises Invalid when a space has no place in the format.
    """

    def __init__(self, folder: Path, about: About, images: Images) -> None:
        fields = row_fields(about.observation_space, about.action_space)
        self._observed = {k: f for k, f in fields.items() if k not in NOT_OBSERVED}
        self._action = fields[ACTION]
        self.names = files.feature_names(self._observed)
        pictures = [k for k, f in self._observed.items() if is_picture(f.dtype, f.shape)]
        self.lossy = pictures if images == "video" else []
        self._folder, self._fps = folder, max(1, round(about.control_hz))
        self._data, self._data_number = (
            TableFile(folder / files.DATA.format(**files.place(0)), 1),
            0,
        )
        self._rows, self._last = TableFile(folder / ROWS), TableFile(folder / LAST)
        self._videos = {key: _Videos(self, key) for key in self.lossy}
        self._tasks: dict[str, int] = {}
        self._episodes: list[Json] = []
        self._stats: list[dict[str, Stats]] = []
        self._frames = 0

    def add(self, episode: Recorded) -> None:
        """Write an episode of at least two rows."""
        number = len(self._episodes)
        task = self._tasks.setdefault(episode.task, len(self._tasks))
        frames = self._frames_of(episode.columns)
        self._add_data(number, task, {k: v for k, v in frames.items() if k not in self._seen_lossy})
        videos: Json = {}
        for key, video in self._videos.items():
            videos |= video.add(frames[self.names[key]])
        self._rows.add(number, beside(episode.columns))
        last = {**self.names, ACTION: ACTION}
        self._last.add(number, {name: episode.columns[key][-1:] for key, name in last.items()})
        self._note(episode, number, {k: stats_of(v) for k, v in frames.items()}, videos)

    def finish(self) -> None:
        """Close the files and write what describes them."""
        for table in (self._data, self._rows, self._last):
            table.close()
        for video in self._videos.values():
            video.close()
        files.write_json(self._folder / files.INFO, self._info())
        files.write_json(self._folder / files.STATS, self._all_stats())
        files.write_tasks(self._folder / files.TASKS, list(self._tasks))
        path = self._folder / files.EPISODES
        path.parent.mkdir(parents=True)
        described = need("pyarrow").Table.from_pylist(self._episodes)
        need("pyarrow.parquet").write_table(described, path)

    @property
    def fps(self) -> int:
        """Frames per second."""
        return self._fps

    def path(self, template: str, number: int, **more: str) -> Path:
        """Of file `number` of a kind."""
        return self._folder / template.format(**files.place(number), **more)

    def shape(self, key: str) -> tuple[int, ...]:
        """Of an observation."""
        return self._observed[key].shape

    @property
    def _seen_lossy(self) -> set[str]:
        return {self.names[key] for key in self.lossy}

    def _frames_of(self, columns: Columns) -> Columns:
        steps = to_steps(columns)
        found = {self.names[k]: v[:-1] for k, v in steps.observations.items()}
        return found | {
            ACTION: steps.actions,
            files.REWARD: steps.rewards,
            files.DONE: steps.terminations | steps.truncations,
            files.TRUNCATED: steps.truncations,
            files.HUMAN: columns[SOURCE][:-1] == Source.HUMAN,
            files.VERSION_OF_POLICY: columns[POLICY_VERSION][:-1],
        }

    def _add_data(self, number: int, task: int, frames: Columns) -> None:
        if self._data.nbytes > files.DATA_MB * _MB:
            self._data.close()
            self._data_number += 1
            self._data = TableFile(self.path(files.DATA, self._data_number), 1)
        count = len(frames[ACTION])
        index = np.arange(count)
        automatic = {
            "timestamp": index / self._fps,
            "frame_index": index,
            "index": self._frames + index,
            "task_index": np.full(count, task),
        }
        typed = {k: v.astype(files.AUTOMATIC[k]) for k, v in automatic.items()}
        self._data.add(number, frames | typed)

    def _note(
        self, episode: Recorded, number: int, stats: dict[str, Stats], videos: Mapping[str, Any]
    ) -> None:
        count, data = episode.rows - 1, files.place(self._data_number)
        self._episodes.append(
            {
                EPISODE: number,
                "tasks": [episode.task],
                "length": count,
                **{f"data/{name}": value for name, value in data.items()},
                "dataset_from_index": self._frames,
                "dataset_to_index": self._frames + count,
                **videos,
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
                **flattened(stats),
            }
        )
        self._stats.append(stats)
        self._frames += count

    def _info(self) -> Json:
        count = len(self._episodes)
        video = bool(self.lossy)
        return {
            "codebase_version": files.VERSION,
            "robot_type": None,
            "total_episodes": count,
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": files.CHUNK_FILES,
            "data_files_size_in_mb": files.DATA_MB,
            "video_files_size_in_mb": files.VIDEO_MB,
            "fps": self._fps,
            "splits": {"train": f"0:{count}"},
            "data_path": files.DATA,
            "video_path": files.VIDEO if video else None,
            "features": files.features(self._observed, self.names, self._action, self._fps, video),
        }

    def _all_stats(self) -> Json:
        return {
            feature: {
                name: value.tolist()
                for name, value in merged([stats[feature] for stats in self._stats]).items()
            }
            for feature in self._stats[0]
        }


class _Videos:
    """The files of one camera."""

    def __init__(self, writer: LeRobotWriter, key: str) -> None:
        self._writer, self._key, self._number = writer, writer.names[key], 0
        self._shape = writer.shape(key)
        self._file = self._open()

    def add(self, pictures: Any) -> Json:
        """Append an episode's; says where in the columns of its description."""
        if self._file.nbytes > files.VIDEO_MB * _MB:
            self._file.close()
            self._number += 1
            self._file = self._open()
        start = self._file.frames
        self._file.add(pictures)
        where = {
            **files.place(self._number),
            "from_timestamp": start / self._writer.fps,
            "to_timestamp": self._file.frames / self._writer.fps,
        }
        return {f"videos/{self._key}/{name}": value for name, value in where.items()}

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def _open(self) -> VideoFile:
        path = self._writer.path(files.VIDEO, self._number, video_key=self._key)
        return VideoFile(path, self._writer.fps, self._shape)
