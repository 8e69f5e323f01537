"""Episodes as a Minari dataset (https://minari.farama.org), through the package's own storage.

Minari keeps the observation after the last action, and the reward with its action. What else a row
has is in `infos/dreamfleet`, which readers may ignore, so that nothing is lost. Pictures are kept
as they are, not as JPEG.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.schema import ACTION, ActionSpace, Columns, Field, row_fields
from server.datasets.episodes import About, Found, Recorded, portable_names
from server.datasets.extra import need
from server.datasets.foreign import fitted
from server.datasets.manifest import Manifest
from server.datasets.steps import NOT_OBSERVED, Steps, beside, restored, to_rows, to_steps
from server.errors import Invalid

DATA = "data"
_OURS = "dreamfleet"
_GUESSED_HZ = 20.0  # Minari does not say how fast an environment is


class MinariWriter:
    """Writes one episode after the other; `finish` makes it a dataset.

    Args:
        folder: an empty one; the data are in its `data/`, as below `~/.minari/datasets/ID/`.
        about: spaces and pace.
        name: of what recorded it; becomes a part of the dataset's id.

    Raises Invalid when a space has no place in the format.
    """

    def __init__(self, folder: Path, about: About, name: str) -> None:
        self._keys = about.observation_space.keys()
        self.names, self.lossy = portable_names(list(self._keys)), list[str]()
        self._id = f"dreamfleet/{re.sub(r'[^A-Za-z0-9_]+', '-', name).strip('-') or 'episodes'}-v0"
        observed = {self.names[k]: space for k, space in about.observation_space.spaces.items()}
        self._storage = need("minari.dataset.minari_storage").MinariStorage.new(
            (folder / DATA).absolute(),  # its links between files join relative paths twice
            observation_space=spaces.Dict(observed),
            action_space=about.action_space,
            data_format="hdf5",
            jpeg_encoding=False,
        )

    def add(self, episode: Recorded) -> None:
        """Write an episode of at least two rows."""
        steps = to_steps(episode.columns)
        kept = beside(episode.columns) | {"last_action": episode.columns[ACTION][-1:]}
        buffer = need("minari.data_collector").EpisodeBuffer(
            observations={self.names[k]: v for k, v in steps.observations.items()},
            actions=steps.actions,
            rewards=steps.rewards,
            terminations=steps.terminations,
            truncations=steps.truncations,
            infos={_OURS: kept},
        )
        self._storage.update_episodes([buffer])

    def finish(self) -> None:
        """Write what describes the dataset."""
        self._storage.update_metadata(
            {
                "dataset_id": self._id,
                "minari_version": str(need("minari").__version__),
                "algorithm_name": "dreamfleet",
            }
        )


def open_ours(folder: Path, manifest: Manifest) -> Found:
    """An export, to be read as it was recorded. Raises Invalid where it was changed."""
    return Found(manifest.about, len(manifest.episodes), (), _ours(folder, manifest))


def open_foreign(folder: Path, like: About | None) -> Found:
    """Another's dataset, as spaces like those given or its own.

    Raises Invalid when it does not fit, or its spaces are of kinds that rows do not have.
    """
    storage = _storage(folder)
    own = spaces.Dict(dict(_flat(storage.observation_space)))
    starts = {key: int(s.start) for key, s in own.items() if isinstance(s, spaces.Discrete)}
    about = like or About(
        spaces.Dict({key: _plain(key, space) for key, space in own.items()}),
        cast(ActionSpace, _plain(ACTION, storage.action_space)),
        _GUESSED_HZ,
    )
    notes = ["who acted is not stored: taken as a person", "when is not stored: taken as even"]
    if like is None:
        notes.append(f"the pace is not stored: taken as {_GUESSED_HZ:g} Hz")
    reader = _foreign(storage, about, starts)
    return Found(about, storage.total_episodes, tuple(notes), reader)


def _ours(folder: Path, manifest: Manifest) -> Iterator[Recorded]:
    storage = _storage(folder)
    episodes = storage.get_episodes(range(storage.total_episodes))
    for entry, episode in zip(manifest.episodes, episodes, strict=True):
        kept = dict(episode["infos"][_OURS])
        action = np.concatenate([episode["actions"], kept.pop("last_action")])
        observed = {key: episode["observations"][n] for key, n in manifest.names.items()}
        columns = restored(observed, action, kept)
        yield Recorded(entry.robot, entry.epoch, entry.number, entry.task, columns)


def _foreign(storage: Any, about: About, starts: Mapping[str, int]) -> Iterator[Recorded]:
    fields = row_fields(about.observation_space, about.action_space)
    for number, episode in enumerate(storage.get_episodes(range(storage.total_episodes))):
        observed = dict(_flat_values(episode["observations"]))
        missing = sorted(fields.keys() - NOT_OBSERVED - observed.keys())
        if missing:
            raise Invalid(f"observation_space.{missing[0]}", f"one of {sorted(observed)}", "none")
        steps = _steps(episode, _observed(observed, fields, starts), storage, fields[ACTION])
        yield Recorded("", "import", number, "", to_rows(steps, about.control_hz))


def _observed(
    found: Mapping[str, NDArray[Any]], fields: Mapping[str, Field], starts: Mapping[str, int]
) -> Columns:
    return {
        key: fitted(key, np.asarray(found[key]) - np.array(starts.get(key, 0), found[key].dtype), f)
        for key, f in fields.items()
        if key not in NOT_OBSERVED
    }


def _steps(episode: Mapping[str, Any], observed: Columns, storage: Any, action: Field) -> Steps:
    start = getattr(storage.action_space, "start", 0)
    actions = np.asarray(episode["actions"])
    return Steps(
        observed,
        fitted(ACTION, actions - np.array(start, actions.dtype), action),
        np.asarray(episode["rewards"], np.float32),
        np.asarray(episode["terminations"], np.bool_),
        np.asarray(episode["truncations"], np.bool_),
    )


def _storage(folder: Path) -> Any:
    inner = folder / DATA
    data = inner if inner.is_dir() else folder
    try:
        return need("minari.dataset.minari_storage").MinariStorage.read(data)
    except (ValueError, KeyError, NotImplementedError, OSError) as error:
        raise Invalid(str(data.name), "a Minari dataset with readable spaces", error) from error


def _flat(space: spaces.Space[Any], prefix: str = "") -> Iterator[tuple[str, spaces.Space[Any]]]:
    """The spaces of a dictionary of dictionaries, by keys joined with dots."""
    if isinstance(space, spaces.Dict):
        for key, inner in space.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix or _lone_key(space), space


def _flat_values(value: Any, prefix: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat_values(inner, f"{prefix}.{key}" if prefix else key)
    else:
        array = np.asarray(value)
        yield prefix or _lone_name(array.dtype.name, array.ndim - 1), array


def _lone_key(space: spaces.Space[Any]) -> str:
    return _lone_name(str(space.dtype), len(space.shape or ()))


def _lone_name(dtype: str, axes: int) -> str:
    """What the robots that are Gymnasium environments call an observation without a name."""
    return "image" if dtype == "uint8" and axes == 3 else "obs"


def _plain(name: str, space: spaces.Space[Any]) -> spaces.Space[Any]:
    """A space as rows may have it. Raises Invalid where there is none."""
    if isinstance(space, spaces.Discrete):
        return spaces.Discrete(int(space.n))
    if isinstance(space, spaces.Box) and space.dtype == np.uint8:
        return space
    if isinstance(space, spaces.Box):
        with np.errstate(over="ignore"):  # bounds that float32 cannot hold are none
            low, high = (bound.astype(np.float32) for bound in (space.low, space.high))
        return spaces.Box(low, high, space.shape, np.float32)
    raise Invalid(name, "a Box or Discrete", type(space).__name__)
