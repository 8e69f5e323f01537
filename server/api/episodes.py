"""Episodes: which there are, what happened in one, and what people say of it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response

from server.api.deps import Running
from server.api.paging import MAX_INT, Page, Paged
from server.api.params import ExperimentId, Number, Text, Time
from server.api.problems import answers, problems
from server.api.schemas import EpisodeMark, EpisodeView, SignalsView, columns_of
from server.errors import NotFound
from server.film import encode_film, encode_png
from server.replay.store import ReplayStore
from server.service import Service
from server.signals import Recorded, film_of, frame_of, recorded, signals_of
from server.storage import Episode, EpisodeFilter, EpisodeKey, Mark

router = APIRouter(prefix="/experiments/{experiment}/episodes", tags=["episodes"])

EpisodeId = Annotated[
    str, Path(max_length=1000, description="Id of an episode, as the list says it.")
]
Name = Annotated[str, Path(max_length=200, description="Column that holds pictures.")]


def _filter(
    robot: Text = None,
    task: Text = None,
    source: Text = None,
    outcome: Annotated[Literal["success", "failure"] | None, Query()] = None,
    since: Time = None,
    until: Time = None,
    min_return: Number = None,
    max_return: Number = None,
    discarded: bool | None = None,
    evaluation: bool | None = None,
) -> EpisodeFilter:
    return EpisodeFilter(
        *(robot, task, source, outcome, since, until, min_return, max_return),
        *(discarded, evaluation),
    )


@router.get("", responses=problems(404))
async def list_episodes(
    experiment: ExperimentId,
    service: Running,
    paging: Paged,
    wanted: Annotated[EpisodeFilter, Depends(_filter)],
    order: Annotated[
        Literal["oldest", "newest"], Query(description="Which come first.")
    ] = "oldest",
) -> Page[EpisodeView]:
    """Finished episodes in order of their ends; `since` leaves out those that ended by then."""
    service.experiments.get(experiment)
    await service.writer.settle()
    found, total = await asyncio.to_thread(
        service.storage.episode_page,
        experiment,
        wanted,
        paging.offset,
        paging.limit,
        order == "newest",
    )
    return paging.page([_view(episode, mark) for episode, mark in found], total)


@router.get("/{episode}", responses=problems(404))
async def get_episode(
    experiment: ExperimentId, episode: EpisodeId, service: Running
) -> EpisodeView:
    """One finished episode."""
    return await _found(service, experiment, _key(episode))


@router.patch("/{episode}", responses=problems(404))
async def mark_episode(
    experiment: ExperimentId, episode: EpisodeId, said: EpisodeMark, service: Running
) -> EpisodeView:
    """Say whether the task was done, or that the episode is not to be learned from.

    The rows of a discarded episode stay; they are neither sampled nor do its returns count. What
    is left out is not changed; an outcome of null takes it back. Idempotent.
    """
    key, marks = _key(episode), service.experiments.marks
    await _found(service, experiment, key)
    if "outcome" in said.model_fields_set:
        await marks.outcome(experiment, key, said.outcome)
    if said.discarded is not None:
        await marks.discard(service.fleet, experiment, key, said.discarded)
    return await _found(service, experiment, key)


@router.get("/{episode}/signals", responses=problems(404))
async def get_episode_signals(
    experiment: ExperimentId,
    episode: EpisodeId,
    service: Running,
    name: Annotated[
        list[str] | None, Query(description="Columns; none: all that are not pictures.")
    ] = None,
    points: Annotated[int, Query(ge=2, le=10_000, description="Rows at most.")] = 1000,
) -> SignalsView:
    """The numbers of an episode over its rows, evenly thinned, with the first and the last."""
    rows = await _rows(service, experiment, episode)
    return SignalsView(**await asyncio.to_thread(signals_of, rows, name, points))


@router.get(
    "/{episode}/video/{camera}.png",
    response_class=Response,
    responses=problems(404) | answers("image/apng"),
)
async def get_episode_video(
    experiment: ExperimentId,
    episode: EpisodeId,
    camera: Name,
    service: Running,
    frames: Annotated[int, Query(ge=1, le=600, description="Pictures at most.")] = 200,
) -> Response:
    """What a camera saw, as an animated PNG that lasts as long as the episode did."""
    rows = await _rows(service, experiment, episode)
    pictures, seconds = await asyncio.to_thread(film_of, rows, camera, frames)
    film = await asyncio.to_thread(encode_film, pictures, seconds)
    return Response(film, media_type="image/apng")


@router.get(
    "/{episode}/frames/{camera}/{row}.png",
    response_class=Response,
    responses=problems(404) | answers("image/png"),
)
async def get_episode_frame(
    experiment: ExperimentId,
    episode: EpisodeId,
    camera: Name,
    row: Annotated[int, Path(ge=0, le=MAX_INT, description="Row of the episode, from 0.")],
    service: Running,
) -> Response:
    """What a camera saw at one row."""
    rows = await _rows(service, experiment, episode)
    frame = await asyncio.to_thread(frame_of, rows, camera, row)
    return Response(await asyncio.to_thread(encode_png, frame), media_type="image/png")


async def _rows(service: Service, experiment: str, episode: str) -> Recorded:
    service.experiments.get(experiment)
    store: ReplayStore = service.fleet.store(experiment)
    return await asyncio.to_thread(recorded, store, _key(episode))


async def _found(service: Service, experiment: str, key: EpisodeKey) -> EpisodeView:
    service.experiments.get(experiment)
    await service.writer.settle()
    found = await asyncio.to_thread(service.storage.episode, experiment, key)
    if found is None:
        raise NotFound(f"no finished episode {key.episode} of {key.robot}, {key.epoch}")
    return _view(found, await asyncio.to_thread(service.storage.mark, experiment, key))


def _view(episode: Episode, mark: Mark | None) -> EpisodeView:
    said = {
        "id": episode_id(EpisodeKey(episode.robot, episode.epoch, episode.episode)),
        "outcome": (mark.outcome or None) if mark else None,
        "discarded": mark.discarded if mark else False,
        "ending": _ending(episode),
    }
    return EpisodeView.model_validate(columns_of(EpisodeView, episode) | said)


def _ending(episode: Episode) -> str:
    if episode.is_terminal or episode.aborted:
        return "ended" if episode.is_terminal else "aborted"
    return "cut short" if episode.human_steps else "time limit"


def episode_id(key: EpisodeKey) -> str:
    """A key as it stands in addresses: names may hold anything."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def _key(episode: str) -> EpisodeKey:
    try:
        robot, epoch, number = json.loads(base64.urlsafe_b64decode(episode + "=" * 3))
        key = EpisodeKey(robot, epoch, number)
        if episode_id(key) == episode and 0 <= number <= MAX_INT and robot and epoch:
            return key
    except (binascii.Error, ValueError, TypeError):
        pass
    raise NotFound(f"no episode {episode[:80]!r}")
