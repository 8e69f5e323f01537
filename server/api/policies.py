"""Versions of policies: what they returned, their files, and which of them robots are offered."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from server.api.deps import Running
from server.api.paging import Page, Paged
from server.api.params import ExperimentId, RobotName, Version
from server.api.problems import answers, problems
from server.api.schemas import Canary, PolicyView, ReturnsView, RolloutView, TrialView
from server.bundles import bundle_bytes, write_bundle
from server.compression import find_policy
from server.rollout import EVERYONE
from server.service import Service
from server.storage import Course, Policy, VersionReturns
from server.version_files import is_whole

router = APIRouter(prefix="/experiments/{experiment}", tags=["policies"])


@router.get("/policies", responses=problems(404))
async def list_policies(
    experiment: ExperimentId, service: Running, paging: Paged
) -> Page[PolicyView]:
    """Every version that was published, newest first."""
    service.experiments.get(experiment)
    await service.writer.settle()
    storage = service.storage
    found = await asyncio.to_thread(storage.policies, experiment, paging.offset, paging.limit)
    total = await asyncio.to_thread(storage.count_policies, experiment)
    returns = await _returns(service, experiment)
    return paging.page([_view(service, policy, *returns) for policy in found], total)


@router.get("/policies/{version}", responses=problems(404))
async def get_policy(experiment: ExperimentId, version: Version, service: Running) -> PolicyView:
    """One version."""
    policy = await _policy(service, experiment, version)
    return _view(service, policy, *await _returns(service, experiment))


@router.get(
    "/policies/{version}/bundle.zip",
    response_class=FileResponse,
    responses=problems(404, 409) | answers("application/zip"),
)
async def download_policy(
    experiment: ExperimentId, version: Version, service: Running
) -> FileResponse:
    """Manifest, graphs and weights in one file. 409: newer versions have taken its place."""
    policy = await _policy(service, experiment, version)
    path = await asyncio.to_thread(
        _temporary_bundle, service.settings.experiment_dir(experiment), policy
    )
    return FileResponse(
        path,
        media_type="application/zip",
        filename=f"{experiment}-{version}.zip",
        background=BackgroundTask(path.unlink),
    )


@router.get("/rollout", responses=problems(404))
async def get_rollout(experiment: ExperimentId, service: Running) -> RolloutView:
    """Which versions the robots are offered."""
    service.experiments.get(experiment)
    return _rollout(service, experiment)


@router.post("/policies/{version}/pin", responses=problems(404, 409))
async def pin_policy(experiment: ExperimentId, version: Version, service: Running) -> RolloutView:
    """Offer this version, and no later one, to all robots that are no canaries. It stays so over
    restarts; what the learner publishes meanwhile is kept."""
    service.experiments.get(experiment)
    await service.experiments.rollout.pin(experiment, version)
    return _rollout(service, experiment)


@router.post("/policies/{version}/promote", responses=problems(404, 409))
async def promote_policy(
    experiment: ExperimentId, version: Version, service: Running
) -> RolloutView:
    """Pin this version for all robots; there are no canaries any more."""
    service.experiments.get(experiment)
    await service.experiments.rollout.promote(experiment, version)
    return _rollout(service, experiment)


@router.delete("/rollout/pin", responses=problems(404))
async def unpin_policy(experiment: ExperimentId, service: Running) -> RolloutView:
    """Offer the newest version again, and those to come. Idempotent."""
    service.experiments.get(experiment)
    await service.experiments.rollout.unpin(experiment)
    return _rollout(service, experiment)


@router.post("/rollout/back", responses=problems(404, 409))
async def roll_back_policy(experiment: ExperimentId, service: Running) -> RolloutView:
    """Pin the newest version before the one offered now whose files are still there."""
    service.experiments.get(experiment)
    await service.experiments.rollout.roll_back(experiment)
    return _rollout(service, experiment)


@router.put("/rollout/canaries/{robot}", responses=problems(404, 409))
async def set_canary(
    experiment: ExperimentId, robot: RobotName, canary: Canary, service: Running
) -> RolloutView:
    """Offer one robot a version of its own, while it is of this experiment."""
    service.experiments.get(experiment)
    service.experiments.roster.get(robot)
    await service.experiments.rollout.pin(experiment, canary.version, robot)
    return _rollout(service, experiment)


@router.delete("/rollout/canaries/{robot}", responses=problems(404))
async def end_canary(experiment: ExperimentId, robot: RobotName, service: Running) -> RolloutView:
    """Offer the robot what the others are offered. Idempotent."""
    service.experiments.get(experiment)
    service.experiments.roster.get(robot)
    await service.experiments.rollout.unpin(experiment, robot)
    return _rollout(service, experiment)


async def _policy(service: Service, experiment: str, version: int) -> Policy:
    service.experiments.get(experiment)
    await service.writer.settle()
    return await find_policy(service.storage, experiment, version)


async def _returns(
    service: Service, experiment: str
) -> tuple[Mapping[int, VersionReturns], Mapping[int, VersionReturns]]:
    """Of episodes to learn, and of evaluations, by version."""
    ask = service.storage.version_returns
    learning = await asyncio.to_thread(ask, experiment)
    return learning, await asyncio.to_thread(ask, experiment, evaluations=True)


def _temporary_bundle(home: Path, policy: Policy) -> Path:
    descriptor, name = tempfile.mkstemp(suffix=".zip")
    try:
        with os.fdopen(descriptor, "wb") as file:
            write_bundle(home, policy.manifest, file)
    except BaseException:
        os.unlink(name)
        raise
    return Path(name)


def _rollout(service: Service, experiment: str) -> RolloutView:
    rollout = service.experiments.rollout
    pins = dict(rollout.pins(experiment))
    course = service.experiments.overseer.courses.of(experiment)
    return RolloutView(
        newest=rollout.newest(experiment),
        offered=rollout.offered(experiment),
        pinned=pins.pop(EVERYONE, None),
        canaries=pins,
        best=course.best,
        trial=None if course.stable is None else _trial(course),
    )


def _trial(course: Course) -> TrialView:
    refused = course.refused if course.refused >= 0 else None
    found = {k: getattr(course, k) for k in ("stable", "previous", "candidate", "canaries")}
    return TrialView.model_validate(found | {"refused": refused})


def _view(
    service: Service,
    policy: Policy,
    learning: Mapping[int, VersionReturns],
    evaluations: Mapping[int, VersionReturns],
) -> PolicyView:
    rollout, home = service.experiments.rollout, service.settings.experiment_dir(policy.experiment)
    returns, evaluated = (kind.get(policy.version) for kind in (learning, evaluations))
    course = service.experiments.overseer.courses.of(policy.experiment)
    return PolicyView(
        version=policy.version,
        updates=policy.updates,
        created_at=policy.created_at,
        kind=policy.manifest.get("kind"),
        nbytes=bundle_bytes(policy.manifest),
        available=is_whole(home, policy.manifest),
        offered=rollout.offered(policy.experiment) == policy.version,
        robots=sorted(
            robot
            for robot, version in rollout.pins(policy.experiment).items()
            if version == policy.version and robot != EVERYONE
        ),
        returns=None if returns is None else ReturnsView.of(returns),
        evaluation=None if evaluated is None else ReturnsView.of(evaluated),
        best=course.best == policy.version,
    )
