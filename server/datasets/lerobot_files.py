"""Where the files of a LeRobotDataset v3.0 are, and which features ours have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robot_client.schema import ACTION, Columns, Field, Json
from server.datasets.episodes import portable_names
from server.datasets.extra import need
from server.datasets.parquet import EPISODE, is_picture
from server.datasets.video import video_info
from server.errors import Invalid

VERSION = "v3.0"
CHUNK_FILES = 1000
DATA_MB, VIDEO_MB = 100, 200
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"

REWARD, DONE, TRUNCATED = "next.reward", "next.done", "next.truncated"
HUMAN, VERSION_OF_POLICY = "is_intervention", "policy_version"
STATE, IMAGES, OBSERVED = "observation.state", "observation.images.", "observation."

_OURS = {
    REWARD: "float32",
    DONE: "bool",
    TRUNCATED: "bool",
    HUMAN: "bool",
    VERSION_OF_POLICY: "int64",
}
AUTOMATIC = {
    "timestamp": "float32",
    "frame_index": "int64",
    EPISODE: "int64",
    "index": "int64",
    "task_index": "int64",
}


def place(number: int) -> dict[str, int]:
    """Chunk and file index of file `number`."""
    return {"chunk_index": number // CHUNK_FILES, "file_index": number % CHUNK_FILES}


def feature_names(fields: Mapping[str, Field]) -> dict[str, str]:
    """Feature of each observation key: cameras as images, a lone vector as the state.

    Raises Invalid when two keys would have the same.
    """
    portable = portable_names(list(fields))
    vectors = [key for key, field in fields.items() if not is_picture(field.dtype, field.shape)]
    names = {key: (OBSERVED if key in vectors else IMAGES) + portable[key] for key in fields}
    names |= {key: STATE for key in vectors if len(vectors) == 1}
    if len(set(names.values())) != len(names):
        raise Invalid("observation_space", "keys whose features differ", sorted(names.values()))
    return names


def features(
    fields: Mapping[str, Field], names: Mapping[str, str], action: Field, fps: int, video: bool
) -> Json:
    """The `features` of info.json."""
    found = {names[key]: _feature(field, fps, video) for key, field in fields.items()}
    found[ACTION] = _feature(action, fps, video=False)
    plain = {**_OURS, **AUTOMATIC}
    for name, dtype in plain.items():
        found[name] = {"dtype": dtype, "shape": [1], "names": None}
    return found


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=4))


def write_tasks(path: Path, tasks: list[str]) -> None:
    """Write the tasks as pandas does where a task is a row's name."""
    arrow = need("pyarrow")
    table = arrow.table({"task_index": list(range(len(tasks))), "task": tasks})
    columns: list[Json] = [
        {"name": "task_index", "field_name": "task_index", "pandas_type": "int64"},
        {"name": "task", "field_name": "task", "pandas_type": "unicode"},
    ]
    kinds = {"int64": "int64", "unicode": "object"}
    about = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [c | {"numpy_type": kinds[c["pandas_type"]], "metadata": None} for c in columns],
        "creator": {"library": "pyarrow", "version": arrow.__version__},
        "pandas_version": "2.2.0",
    }
    described = table.replace_schema_metadata({b"pandas": json.dumps(about).encode()})
    need("pyarrow.parquet").write_table(described, path)


def read_tasks(path: Path) -> dict[int, str]:
    """Tasks by index, whatever the column of their names is called."""
    rows: Columns = need("pyarrow.parquet").read_table(path).to_pydict()
    names = next(values for name, values in rows.items() if name != "task_index")
    return {int(i): str(name) for i, name in zip(rows["task_index"], names, strict=True)}


def height_width_channels(feature: Json) -> tuple[int, int, int]:
    """Shape of a picture, which others write with the channels first as well."""
    first, second, third = feature["shape"]
    if third not in (1, 3) and first in (1, 3):
        return second, third, first
    return first, second, third


def _feature(field: Field, fps: int, video: bool) -> Json:
    if not is_picture(field.dtype, field.shape):
        return {"dtype": field.dtype, "shape": list(field.shape) or [1], "names": None}
    about: Json = {
        "dtype": "video" if video else "image",
        "shape": list(field.shape),
        "names": ["height", "width", "channels"],
    }
    return about | {"info": video_info(fps, field.shape)} if video else about
