"""Make a smaller policy of a version of one, and see how both do."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from server.api.deps import Running
from server.api.experiments import view
from server.api.params import ExperimentId, Version
from server.api.problems import problems
from server.api.schemas import CompressionView, ExperimentView, ReturnsView, SideView
from server.bundles import bundle_bytes
from server.compression import TEACHERS, Compression, compressed, find_policy
from server.errors import Conflict, NotFound
from server.service import Service
from server.storage import Policy

router = APIRouter(prefix="/experiments/{experiment}", tags=["policies"])


@router.post("/policies/{version}/compress", status_code=201, responses=problems(404, 409))
async def compress_policy(
    experiment: ExperimentId, version: Version, wanted: Compression, service: Running
) -> ExperimentView:
    """Start an experiment in which a small network learns to act as this version does.

    It begins with copies of the version and of the newest rows; its learner publishes as any other.
    Once robots have joined, evaluations say what it is worth. 409: there are no rows, or newer
    versions have taken the place of this one, or a robot belongs to another experiment.
    """
    source = service.experiments.get(experiment)
    await service.writer.settle()
    made = await service.experiments.create(compressed(source, version, wanted))
    try:
        return view(service, await service.experiments.change(made.id, "start"))
    except Conflict:  # a robot is another's: no copy is to be left behind
        await service.experiments.delete(made.id)
        raise


@router.get("/compression", responses=problems(404))
async def get_compression(experiment: ExperimentId, service: Running) -> CompressionView:
    """An experiment's teachers and its newest version: their sizes and returns, side by side."""
    found = service.experiments.get(experiment)
    teachers = found.config.get(TEACHERS)
    if not teachers:
        raise NotFound(f"experiment {experiment} has no teachers")
    await service.writer.settle()
    newest = service.experiments.policy_version(experiment)
    student = None if newest is None else await _side(service, experiment, newest)
    sides = [await _side(service, one["experiment"], one["version"]) for one in teachers]
    there = [side for side in sides if side is not None]
    share = student.nbytes / sum(s.nbytes for s in there) if student and there else None
    return CompressionView(teachers=there, student=student, share=share)


async def _side(service: Service, experiment: str, version: int) -> SideView | None:
    """None when its experiment has been deleted."""
    try:
        policy = await find_policy(service.storage, experiment, version)
    except NotFound:
        return None
    returns = [await _returns(service, policy, evaluated) for evaluated in (False, True)]
    return SideView(
        experiment=experiment,
        version=version,
        nbytes=bundle_bytes(policy.manifest),
        returns=returns[0],
        evaluation=returns[1],
    )


async def _returns(service: Service, policy: Policy, evaluated: bool) -> ReturnsView | None:
    ask = service.storage.version_returns
    found = await asyncio.to_thread(ask, policy.experiment, evaluations=evaluated)
    one = found.get(policy.version)
    return None if one is None else ReturnsView.of(one)
