"""Who did what."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Depends

from server.api.callers import operators_only
from server.api.deps import Running
from server.api.paging import Page, Paged
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
async def list_audit(service: Running, paging: Paged) -> Page[AuditView]:
    """Every change and every wrong token, newest first."""
    await service.writer.flush()
    found, total = await asyncio.to_thread(service.storage.audit, paging.offset, paging.limit)
    return paging.page([AuditView.model_validate(each) for each in found], total)
