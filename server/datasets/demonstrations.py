"""Experiments that begin with the rows of datasets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from robot_client.schema import Json
from server.datasets.jobs import work
from server.datasets.shelf import Dataset, described, refuse_other_spaces
from server.errors import Conflict, Invalid, NotFound
from server.settings import Settings
from server.storage import Robot, Storage


@dataclass(frozen=True)
class Beginning:
    """What an experiment has before its first robot comes; `datasets` are name -> SHA-256."""

    rows: int = 0
    observation_space: Json | None = None
    action_space: Json | None = None
    datasets: Mapping[str, str] = field(default_factory=dict)


def shelf_of(settings: Settings) -> Path:
    """Where the server's datasets are."""
    return settings.data / "datasets"


async def begin_with(
    settings: Settings,
    storage: Storage,
    experiment: str,
    names: Sequence[str],
    robots: Sequence[str],
) -> Beginning:
    """Fill the replay of an experiment that is about to be created with datasets' rows.

    Args:
        settings, storage: the server's.
        experiment: its id.
        names: of the datasets; without any, nothing is done.
        robots: those that may join; the spaces of the ones that are known must be the datasets'.

    Raises:
        NotFound: a dataset is not there.
        Invalid: a dataset is named twice, or its spaces are not those of the others.
    """
    if not names:
        return Beginning()
    if len(set(names)) != len(names):
        raise Invalid("demonstrations", "each dataset once", list(names))
    home = shelf_of(settings)
    datasets = await asyncio.to_thread(lambda: [described(home, name) for name in names])
    known = await asyncio.to_thread(storage.robots)
    _check(datasets, [robot for robot in known if robot.name in robots])
    directory = settings.experiment_dir(experiment)
    directory.mkdir(parents=True, exist_ok=True)
    replay = directory / "replay"
    made = await work(
        {"do": "begin", "home": str(home), "names": list(names), "replay": str(replay)}
    )
    first = datasets[0]
    hashes = {dataset.name: dataset.sha256 for dataset in datasets}
    return Beginning(int(made["rows"]), first.observation_space, first.action_space, hashes)


async def refuse_changed(settings: Settings, demonstrations: Mapping[str, str]) -> None:
    """Raise Conflict when a dataset is no longer the one that an experiment began with.

    Args:
        settings: the server's.
        demonstrations: name -> SHA-256 of the contents, as the experiment keeps them.
    """
    for name, sha256 in demonstrations.items():
        try:
            found = await asyncio.to_thread(described, shelf_of(settings), name)
        except NotFound as error:
            raise Conflict(f"it began with the dataset {name!r}, which has been deleted") from error
        if found.sha256 != sha256:
            raise Conflict(f"it began with another dataset {name!r} than the one of today")


def _check(datasets: Sequence[Dataset], robots: Sequence[Robot]) -> None:
    first = datasets[0]
    for dataset in datasets:
        where = f"demonstrations.{dataset.name}"
        for robot in robots:
            _compare(where, robot, dataset, f"robot {robot.name}")
        _compare(where, first, dataset, f"dataset {first.name}")


def _compare(where: str, expected: Robot | Dataset, got: Dataset, whose: str) -> None:
    for name in ("observation_space", "action_space"):
        field = f"{where}.{name}"
        refuse_other_spaces(field, getattr(expected, name), getattr(got, name), whose)
