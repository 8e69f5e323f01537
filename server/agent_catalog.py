"""Asks `python -m server.catalog` what agents there are, so that the server never loads torch."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from robot_client.schema import Json
from server.errors import Invalid, ServerError

_PATIENCE_S = 180.0  # loading torch from a cold disk is slow


class AgentCatalog:
    """Lists agents and checks their configurations, each question in a process of its own."""

    def __init__(self) -> None:
        self._listing: asyncio.Task[list[Json]] | None = None

    async def agents(self) -> list[Json]:
        """Every agent: name, doc, presets, schema (of its config) and error (why it has none).

        The answer is kept. Raises ServerError.
        """
        if self._listing is None or _went_wrong(self._listing):
            self._listing = asyncio.create_task(_list_agents())
        return await asyncio.shield(self._listing)

    def preload(self) -> None:
        """Begin to fetch the list in the background."""
        if self._listing is None:
            self._listing = asyncio.create_task(_list_agents())

    async def check(self, agent: str, preset: str | None, config: Json) -> Json:
        """The config with all defaults filled in. Raises Invalid on the first wrong field."""
        answer = await _ask("validate", {"agent": agent, "preset": preset, "config": config})
        for problem in answer["problems"]:
            raise Invalid(problem["field"], problem["expected"], problem["got"])
        found: Json = answer["config"]
        return found

    async def close(self) -> None:
        """Give up a list that is still being fetched."""
        if self._listing is not None and not self._listing.done():
            self._listing.cancel()
            await asyncio.wait([self._listing])


def _went_wrong(task: asyncio.Task[list[Json]]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def _list_agents() -> list[Json]:
    agents: list[Json] = (await _ask("list", {}))["agents"]
    return agents


async def _ask(question: str, about: Json) -> Any:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server.catalog", question),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        talk = process.communicate(json.dumps(about).encode())
        out, errors = await asyncio.wait_for(talk, _PATIENCE_S)
    except TimeoutError as error:
        raise ServerError(f"no answer about agents within {_PATIENCE_S:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise ServerError(f"agents cannot be loaded: {errors.decode(errors='replace')[-2000:]}")
    return json.loads(out)
