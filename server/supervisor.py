"""Starts a learner process per experiment, watches it, and restarts it when it dies.

The learner reads JSON lines `{"do": "pause" | "resume" | "stop"}` from its stdin; end of file means
that this server has died. It writes JSON lines to its stdout, each with an `event`; every line,
`heartbeat` included, proves that it is alive. Its stderr goes to `learner.log` in its directory.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from robot_client.clock import Clock, SystemClock
from robot_client.schema import Json

log = logging.getLogger(__name__)

State = Literal["none", "starting", "running", "paused", "frozen", "restarting", "failed"]
Order = Literal["pause", "resume", "stop"]
Command = Callable[[Path], Sequence[str]]

LOG_NAME = "learner.log"
_TAIL_BYTES = 8192
_MAX_LINE_BYTES = 2**24  # a manifest is a few kilobytes


def learner_command(directory: Path) -> Sequence[str]:
    """The command line of the learner that works in `directory`."""
    return (sys.executable, "-m", "server.learner", str(directory))


class Listener(Protocol):
    """Hears what the learners say. Called on the event loop; must not block."""

    def learner_said(self, experiment: str, event: Json) -> None:
        """A line of a learner's stdout."""
        ...

    def learner_died(self, experiment: str, reason: str, final: bool) -> None:
        """A learner ended unasked. `final`: it says that a restart cannot help."""
        ...


@dataclass(frozen=True)
class Status:
    """How a learner is.

    Args:
        state: none, starting, running, paused, frozen (it has missed its heartbeats), restarting
            (it died and will start again) or failed.
        reason: why it died the last time; empty if it never did.
        tail: the end of what it wrote to stderr before it died.
        updates: learner updates so far; without a learner, those that the next one goes on from.
        restarts: how many times it has been started again since it last ran well.
        pid: its process; None if there is none.
        learns: whether its agent makes any updates at all.
    """

    state: State = "none"
    reason: str = ""
    tail: str = ""
    updates: int = 0
    restarts: int = 0
    pid: int | None = None
    learns: bool = True


@dataclass(frozen=True)
class Patience:
    """How long the supervisor waits, in seconds.

    Args:
        start: for a learner's first line.
        frozen: for the next line, before the learner is called frozen; it beats every 0.4 s.
        silence: for the next line, before it is killed.
        stuck: for its training thread to turn round, before it is killed. A first update may
            compile for minutes.
        stop: for a learner to checkpoint and end when it is asked to.
        terminate: for it to end after SIGTERM; then it is killed.
        first_delay, max_delay: before the first restart, and at most; doubled each time between.
        well: a learner that ran this long, or wrote a checkpoint, ran well: the delay begins anew.
    """

    start: float = 180.0
    frozen: float = 1.2
    silence: float = 60.0
    stuck: float = 1800.0
    stop: float = 60.0
    terminate: float = 5.0
    first_delay: float = 1.0
    max_delay: float = 60.0
    well: float = 60.0


@dataclass(eq=False)
class _Slot:
    """One experiment's learner, over all of its lives."""

    experiment: str
    directory: Path
    paused: bool
    status: Status = Status("starting")
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    process: asyncio.subprocess.Process | None = None
    task: asyncio.Task[None] | None = None
    said: str = ""  # the error of its last `failed` event
    fatal: bool = False
    progressed: bool = False  # this life has written a checkpoint
    busy_s: float = 0.0  # since its training thread turned round, as it said last

    def update(self, **changes: Any) -> None:
        self.status = replace(self.status, **changes)


class Supervisor:
    """Keeps one learner alive per started experiment. Use on one event loop.

    Args:
        listener: hears events and deaths.
        command: makes a learner's command line from its directory.
        patience: how long to wait for what.
        clock: tells how long a learner ran.
    """

    def __init__(
        self,
        listener: Listener,
        command: Command = learner_command,
        patience: Patience | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._listener = listener
        self._command = command
        self._patience = patience or Patience()
        self._clock = clock or SystemClock()
        self._slots: dict[str, _Slot] = {}
        self._updates: dict[str, int] = {}  # of learners that are not there

    def status(self, experiment: str) -> Status:
        """How the experiment's learner is."""
        slot = self._slots.get(experiment)
        return slot.status if slot else Status(updates=self._updates.get(experiment, 0))

    def recall(self, experiment: str, updates: int) -> None:
        """A learner that is not there has made so many."""
        self._updates[experiment] = updates

    def start(self, experiment: str, directory: Path, paused: bool = False) -> None:
        """Start the experiment's learner, unless it is there already."""
        slot = self._slots.get(experiment)
        if slot and slot.task and not slot.task.done():
            return
        status = Status("starting", updates=self.status(experiment).updates)
        slot = self._slots[experiment] = _Slot(experiment, directory, paused, status)
        slot.task = asyncio.create_task(self._keep_running(slot))

    def pause(self, experiment: str) -> None:
        """Let the learner wait."""
        self._tell(experiment, paused=True)

    def resume(self, experiment: str) -> None:
        """Let the learner go on."""
        self._tell(experiment, paused=False)

    async def stop(self, experiment: str) -> None:
        """Ask the learner to checkpoint and end; end it if it does not. Idempotent."""
        slot = self._slots.get(experiment)
        if slot is None or slot.task is None:
            return
        slot.stopping.set()
        await slot.task
        if self._slots.get(experiment) is slot:
            self.recall(experiment, slot.status.updates)
            del self._slots[experiment]

    async def close(self) -> None:
        """Stop every learner."""
        await asyncio.gather(*(self.stop(experiment) for experiment in list(self._slots)))

    def _tell(self, experiment: str, paused: bool) -> None:
        slot = self._slots.get(experiment)
        if slot is None:
            return
        slot.paused = paused
        if slot.process and slot.status.state in ("running", "paused", "frozen"):
            _order(slot.process, "pause" if paused else "resume")
            if slot.status.state != "frozen":
                slot.update(state="paused" if paused else "running")

    async def _keep_running(self, slot: _Slot) -> None:
        delay = self._patience.first_delay
        while not slot.stopping.is_set():
            started = self._clock.monotonic()
            reason = await self._live(slot)
            if slot.stopping.is_set():
                break
            if slot.progressed or self._clock.monotonic() - started >= self._patience.well:
                delay = self._patience.first_delay
                slot.update(restarts=0)
            self._died(slot, reason)
            if slot.fatal:
                return
            await _wait(slot.stopping, delay)
            delay = min(2 * delay, self._patience.max_delay)
            slot.update(restarts=slot.status.restarts + 1)
        slot.update(state="none", pid=None)

    def _died(self, slot: _Slot, reason: str) -> None:
        tail = _tail(slot.directory / LOG_NAME)
        last = tail.strip().rpartition("\n")[2]
        explained = last and "signal" not in reason  # who is killed has no last word
        why = slot.said or (f"{reason}: {last}" if explained else reason)
        state: State = "failed" if slot.fatal else "restarting"
        slot.update(state=state, reason=why, tail=tail, pid=None)
        log.warning("learner of %s %s: %s", slot.experiment, state, why)
        self._listener.learner_died(slot.experiment, why, slot.fatal)

    async def _live(self, slot: _Slot) -> str:
        """One life of the learner, from start to death. Returns what ended it."""
        slot.said, slot.fatal, slot.progressed, slot.busy_s = "", False, False, 0.0
        try:
            process = slot.process = await self._spawn(slot.directory)
        except OSError as error:
            return f"could not be started ({error})"
        slot.update(pid=process.pid)
        ender = asyncio.create_task(self._end_when_asked(slot, process))
        try:
            silent = await self._listen(slot, process)
        finally:  # cancelled too: no learner outlives its supervisor
            ender.cancel()
            if process.returncode is None:
                process.kill()
            code = await process.wait()
            slot.process = None
            _close_stdin(process)
        return silent or (
            f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        )

    async def _spawn(self, directory: Path) -> asyncio.subprocess.Process:
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / LOG_NAME).open("wb") as errors:
            return await asyncio.create_subprocess_exec(
                *self._command(directory.absolute()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                limit=_MAX_LINE_BYTES,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # Ctrl-C is ours to handle: we ask it to checkpoint
            )

    async def _listen(self, slot: _Slot, process: asyncio.subprocess.Process) -> str:
        """Handle lines until the learner ends (returns "") or is silent for too long."""
        patience = self._patience.start
        while True:
            try:
                line = await self._line(slot, process, patience)
            except TimeoutError:
                return f"killed because it was silent for {patience:g} s"
            except ValueError:
                return f"killed because it wrote a line of more than {_MAX_LINE_BYTES} bytes"
            if not line:
                return await self._ending(process)
            patience = self._patience.silence
            self._heard(slot, process, line)
            if slot.busy_s > self._patience.stuck:
                return f"killed because it was stuck for {slot.busy_s:.0f} s"

    async def _line(
        self, slot: _Slot, process: asyncio.subprocess.Process, patience: float
    ) -> bytes:
        """The next line. The learner counts as frozen while it misses its heartbeats."""
        assert process.stdout is not None
        reading = asyncio.ensure_future(process.stdout.readline())
        try:
            before = slot.status.state
            if before in ("running", "paused"):
                await asyncio.wait([reading], timeout=self._patience.frozen)
                if not reading.done():
                    slot.update(state="frozen")
                    patience -= self._patience.frozen
            line = await asyncio.wait_for(reading, patience)
            if slot.status.state == "frozen":
                slot.update(state="paused" if slot.paused else "running")
            return line
        finally:
            reading.cancel()

    async def _ending(self, process: asyncio.subprocess.Process) -> str:
        try:
            await asyncio.wait_for(process.wait(), self._patience.terminate)
        except TimeoutError:
            return "killed because it closed its output without ending"
        return ""

    def _heard(self, slot: _Slot, process: asyncio.subprocess.Process, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind = event["event"]
        except (ValueError, TypeError, KeyError):
            log.warning("learner of %s wrote no event: %r", slot.experiment, line[:200])
            return
        if slot.status.state in ("starting", "restarting"):
            slot.update(state="paused" if slot.paused else "running")
            if slot.paused:
                _order(process, "pause")
        slot.progressed = slot.progressed or kind == "checkpoint"
        if kind == "heartbeat":
            busy = event.get("busy_s")
            slot.busy_s = float(busy) if isinstance(busy, int | float) else 0.0
        if kind == "ready":
            slot.update(learns=event.get("learns") is not False)
        if kind == "failed":
            slot.said, slot.fatal = str(event.get("error", "")), bool(event.get("fatal", False))
        if isinstance(event.get("updates"), int):
            slot.update(updates=event["updates"])
        self._listener.learner_said(slot.experiment, event)

    async def _end_when_asked(self, slot: _Slot, process: asyncio.subprocess.Process) -> None:
        await slot.stopping.wait()
        _order(process, "stop")
        try:
            await asyncio.wait_for(process.wait(), self._patience.stop)
            return
        except TimeoutError:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self._patience.terminate)
        except TimeoutError:
            process.kill()


def _order(process: asyncio.subprocess.Process, order: Order) -> None:
    assert process.stdin is not None
    if process.returncode is None and not process.stdin.is_closing():
        process.stdin.write(json.dumps({"do": order}).encode() + b"\n")


def _close_stdin(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
