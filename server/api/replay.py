"""The replay of an experiment: how much there is, and whether it is whole."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from server.api.deps import Running
from server.api.params import ExperimentId
from server.api.problems import problems
from server.api.schemas import ReplayAuditView, ReplayView, StreamView
from server.replay.check import verify
from server.replay.store import ReplayStore

router = APIRouter(prefix="/experiments/{experiment}/replay", tags=["replay"])


@router.get("", responses=problems(404))
async def get_replay(experiment: ExperimentId, service: Running) -> ReplayView:
    """Rows, chunks and streams, and the bytes that they take on the disk."""
    service.experiments.get(experiment)
    return await asyncio.to_thread(_counts, service.fleet.store(experiment))


@router.post("/verify", responses=problems(404))
async def verify_replay(experiment: ExperimentId, service: Running) -> ReplayAuditView:
    """Walk all rows: is every stream whole, each row there once? Takes seconds per gigabyte."""
    service.experiments.get(experiment)
    store = service.fleet.store(experiment)
    return ReplayAuditView.model_validate(await verify(store.path))


def _counts(store: ReplayStore) -> ReplayView:
    with store.read() as snapshot:
        streams = snapshot.streams()
        return ReplayView(
            rows=snapshot.rows,
            chunks=snapshot.chunks,
            discarded_episodes=len(snapshot.discarded()),
            nbytes=sum(path.stat().st_blocks * 512 for path in store.path.iterdir()),
            streams=[StreamView.model_validate(stream) for stream in streams],
        )
