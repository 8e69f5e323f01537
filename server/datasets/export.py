"""Exports the episodes of an experiment: under its name only when it is whole and was read back."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from robot_client.durable import sync_directory, sync_file
from robot_client.schema import TIME_MONOTONIC, Json
from server.datasets.episodes import Place, Progress, Recorded, ReplayEpisodes, chosen
from server.datasets.formats import Writer, make_writer, open_export
from server.datasets.lerobot import Images
from server.datasets.manifest import FormatName, Manifest, about_of, check_entry, checksums, entry
from server.errors import Conflict
from server.replay.store import ReplayStore


class Export(BaseModel):
    """What is to be exported.

    `replay` is the folder of the store, `episodes` a list such as `0-9,12`, all if empty.
    `control_hz` is None where it is not known: the rows then tell.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    experiment: str
    title: str
    replay: Path
    out: Path
    format: FormatName
    images: Images = "png"
    episodes: str = ""
    observation_space: Json
    action_space: Json
    control_hz: float | None = None


def export(wanted: Export, progress: Progress) -> Json:
    """Write, read back and compare, then give it its name. Returns counts and what is not in it.

    Raises:
        Conflict: there is something of that name, or not a single episode.
        Invalid: the episodes or the spaces are not such as can be exported.
        ReplayError: the store is damaged, or the disk is full.
    """
    if wanted.out.exists():
        raise Conflict(f"{wanted.out} exists: choose another name")
    part = wanted.out.with_name(f".{wanted.out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    store = ReplayStore(wanted.replay, readonly=True)
    try:
        manifest = _write(wanted, part, ReplayEpisodes(store), progress)
        _verify(part, manifest, progress)
        make_durable(part)
        part.rename(wanted.out)
    finally:
        store.close()
        shutil.rmtree(part, ignore_errors=True)
    sync_directory(wanted.out.parent)
    return {
        "episodes": len(manifest.episodes),
        "rows": manifest.rows,
        "lossy": manifest.lossy,
        "left_out": manifest.left_out,
    }


def make_durable(folder: Path) -> None:
    """Wait until a folder and everything in it are on the disk."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            sync_directory(path)
        else:
            sync_file(path)


def _write(wanted: Export, part: Path, episodes: ReplayEpisodes, progress: Progress) -> Manifest:
    numbers = chosen(wanted.episodes, len(episodes.places))
    places = [place for number in numbers if (place := episodes.places[number]).rows > 1]
    if not places:
        raise Conflict(f"experiment {wanted.experiment} has no episode of a step or more to export")
    hz = wanted.control_hz or _pace(episodes.read(places[0]))
    about = about_of(wanted.observation_space, wanted.action_space, hz)
    writer = make_writer(wanted.format, part, about, wanted.images, wanted.title)
    entries = []
    for done, place in enumerate(places):
        recorded = episodes.read(place)
        writer.add(recorded)
        entries.append(entry(recorded, writer.lossy))
        progress(done + 1, 2 * len(places))
    writer.finish()
    manifest = Manifest(
        format=wanted.format,
        experiment=wanted.experiment,
        observation_space=wanted.observation_space,
        action_space=wanted.action_space,
        control_hz=hz,
        names=writer.names,
        lossy=writer.lossy,
        left_out=_left_out(episodes, numbers, places, writer),
        episodes=entries,
        files=checksums(part),
    )
    manifest.write(part)
    return manifest


def _left_out(
    episodes: ReplayEpisodes, numbers: list[int], places: list[Place], writer: Writer
) -> list[str]:
    """What is lost, in words."""
    found = [f"{name}: latent state of the policy's own network" for name in episodes.extras]
    if lost := len(numbers) - len(places):
        found.append(f"{lost} episodes of a single row, in which nothing was done")
    return found + [f"{key}: not every bit, the video is compressed" for key in writer.lossy]


def _verify(part: Path, manifest: Manifest, progress: Progress) -> None:
    """Read everything back and compare it with what was recorded."""
    total = len(manifest.episodes)
    episodes = open_export(part, manifest).episodes
    for number, (listed, got) in enumerate(zip(manifest.episodes, episodes, strict=True)):
        check_entry(number, listed, got, manifest.lossy)
        progress(total + number + 1, 2 * total)


def _pace(episode: Recorded) -> float:
    """Steps per second, by the median of the times between rows; 1 where they do not tell."""
    period = float(np.median(np.diff(episode.columns[TIME_MONOTONIC])))
    return 1.0 / period if 1e-4 < period < 1e4 else 1.0
