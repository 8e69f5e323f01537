"""Who did what."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from server.api.callers import operators_only
from server.api.deps import Running
from server.api.schemas import View

router = APIRouter(prefix="/audit", tags=["audit"], dependencies=[Depends(operators_only)])


class AuditView(View):
    """A line of the audit log; see `server.storage.Audit`."""

    id: int
    time: float
    who: str
    method: str
    operation: str
    parameters: dict[str, str]
    outcome: str
    status: int | None
    address: str


@router.get("")
async def list_audit(
    service: Running,
    before: Annotated[int | None, Query(ge=1, description="Go on below this id.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[AuditView]:
    """Every change and every wrong token, newest first."""
    await service.writer.flush()
    found = await asyncio.to_thread(service.storage.audit, before, limit)
    return [AuditView.model_validate(each) for each in found]
