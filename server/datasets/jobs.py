"""Long work on datasets, each piece in a process of its own, and how far it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from robot_client.schema import Json
from server.errors import Conflict, Invalid, NotFound, ReplayError, ServerError, SettingsError

Kind = Literal["export", "import", "verify"]
Progress = Callable[[int, int], None]

KEPT = 100
_LINE_BYTES = 2**24
_ERRORS = {kind.__name__: kind for kind in (Conflict, NotFound, ReplayError, SettingsError)}


@dataclass
class Job:
    """Work in the background.

    Args:
        id: names it.
        kind: what is done.
        name: of the experiment or dataset that it is done with.
        state: running, done or failed.
        done, total: episodes; an export counts each twice, as it reads back what it wrote.
        result: what came of it, once it is done.
        error: why it failed.
    """

    id: str
    kind: Kind
    name: str
    state: Literal["running", "done", "failed"] = "running"
    done: int = 0
    total: int = 0
    result: Json | None = None
    error: str = ""


class Jobs:
    """Starts jobs and remembers the newest KEPT. Lives on the event loop."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def all(self) -> list[Job]:
        """Every job, oldest first."""
        return list(self._jobs.values())

    def get(self, job: str) -> Job:
        """Raises NotFound."""
        if job not in self._jobs:
            raise NotFound(f"no job {job!r}")
        return self._jobs[job]

    def start(self, kind: Kind, name: str, order: Json, job_id: str | None = None) -> Job:
        """Begin to work on an order; see `server.datasets.work`. Its id may be given.

        Raises Conflict while the same is being done with it.
        """
        for other in self._jobs.values():
            if (other.kind, other.name, other.state) == (kind, name, "running"):
                raise Conflict(f"job {other.id} is doing that already")
        job = Job(job_id or secrets.token_hex(4), kind, name)
        self._jobs[job.id] = job
        self._forget_old()
        task = asyncio.create_task(self._run(job, {"do": kind, **order}))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    async def close(self) -> None:
        """Break off what is being done; what it leaves behind is swept away at the next start."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _forget_old(self) -> None:
        ended = [job.id for job in self._jobs.values() if job.state != "running"]
        for old in ended[: max(0, len(self._jobs) - KEPT)]:
            del self._jobs[old]

    async def _run(self, job: Job, order: Json) -> None:
        def progress(done: int, total: int) -> None:
            job.done, job.total = done, total

        try:
            job.result = await work(order, progress)
            job.state = "done"
        except Exception as error:  # noqa: BLE001 - whoever asks for the job is told
            job.state, job.error = "failed", str(error)


async def work(order: Json, progress: Progress = lambda done, total: None) -> Json:
    """Have an order carried out in a process of its own; returns its result.

    Raises what the work raised, as NotFound, Conflict, Invalid or another ServerError.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server.datasets.work"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await process.stdin.drain()
        async for line in process.stdout:
            told = json.loads(line)
            if "result" in told:
                result: Json = told["result"]
                return result
            if "error" in told:
                raise _error(told["error"])
            progress(*told["progress"])
        raise ServerError(f"the work ended without a result, with code {await process.wait()}")
    finally:
        process.stdin.close()  # it ends when it sees this
        await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Until it has; who is cancelled meanwhile is so afterwards, or the loop may close before."""
    ending = asyncio.create_task(process.wait())
    try:
        await asyncio.shield(ending)
    except asyncio.CancelledError:
        await ending
        raise


def _error(told: Json) -> ServerError:
    if "field" in told:
        return Invalid(told["field"], told["expected"], told["got"])
    return _ERRORS.get(told["kind"], ServerError)(told["message"])
