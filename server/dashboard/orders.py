"""Telling a robot something, and hearing what became of it."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from server.dashboard.visit import Refused, Visit

_LOOK_S, _LOOKS = 0.25, 40  # a robot answers within its next tick, or is out of reach


async def tell(visit: Visit, robot: str, verb: str) -> None:
    """Send a command to a robot; say that it is sent, and complain if the robot refuses."""
    try:
        sent = await visit.ask("POST", f"/robots/{quote(robot, safe='')}/{verb}")
        visit.say(f"{robot}: {verb} sent")
        problem = await _problem(visit, sent["id"])
    except Refused as error:
        problem = str(error)
    if problem and not visit.client.is_deleted:
        visit.complain(f"{robot}: {problem}")


async def _problem(visit: Visit, command: int) -> str:
    """Why the robot did not do it; empty when it did, or says nothing for a while."""
    for _ in range(_LOOKS):
        order = await visit.get(f"/commands/{command}")
        if order["done"]:
            return str(order["error"])
        await asyncio.sleep(_LOOK_S)
    return ""
