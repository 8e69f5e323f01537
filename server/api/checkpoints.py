"""Checkpoints of an experiment's learner."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path

from server.api.deps import Running
from server.api.paging import Page, Paged
from server.api.params import ExperimentId
from server.api.problems import problems
from server.api.schemas import CheckpointView
from server.checkpoint_files import Checkpoint, list_checkpoints

router = APIRouter(prefix="/experiments/{experiment}/checkpoints", tags=["checkpoints"])


@router.get("", responses=problems(404))
async def get_checkpoints(
    experiment: ExperimentId, service: Running, paging: Paged
) -> Page[CheckpointView]:
    """The whole checkpoints, newest first; the first that is not `aside` is the next to be used."""
    page = paging.cut(await _find(service, experiment))
    return paging.page([CheckpointView.model_validate(found) for found in page.items], page.total)


@router.post("/{number}/restore", responses=problems(404, 409))
async def restore_checkpoint(
    experiment: ExperimentId,
    number: Annotated[int, Path(ge=0, lt=10**12, description="Updates at the checkpoint.")],
    service: Running,
) -> list[CheckpointView]:
    """Let the next start go on from this checkpoint; newer ones are set aside, not deleted.

    The experiment must not be running or paused. Rows and policies stay. Idempotent.
    """
    await service.experiments.restore(experiment, number)
    return [CheckpointView.model_validate(c) for c in await _find(service, experiment)]


async def _find(service: Running, experiment: str) -> list[Checkpoint]:
    service.experiments.get(experiment)
    home = service.settings.experiment_dir(experiment)
    return await asyncio.to_thread(list_checkpoints, home)
