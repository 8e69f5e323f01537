"""The learner: one process that trains one experiment's agent without pause.

    python -m server.learner DIRECTORY

It reads the directory's `experiment.json` and `replay/`, trains at the train ratio, and writes
checkpoints/, policies/, graphs.json, blobs/, reports/ and tb/. It says what it does as JSON lines
on stdout and obeys `{"do": "pause" | "resume" | "stop"}` on stdin; stdin's end is a stop. Killed at
any moment, it goes on from its newest checkpoint when it is started again.
"""

from __future__ import annotations

import fcntl
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch.utils.tensorboard import SummaryWriter

from agents.errors import UnknownAgent, UnsupportedSpace
from robot_client.clock import Clock, SystemClock
from robot_client.durable import write_durably
from server.channel import Channel
from server.checkpoint import Checkpoints
from server.errors import Invalid, ReplayError
from server.job import Job
from server.pictures import picture
from server.prefetch import Prefetcher
from server.publisher import Publisher
from server.replay.sampler import OnPolicyQueue
from server.replay.store import ReplayStore
from server.training import (
    MeanMetrics,
    job_spaces,
    make_agent,
    make_limiter,
    make_replay,
    make_sampler,
    make_teachers,
    make_view,
    rows_per_update,
)

_BEAT_S = 0.4
_WAIT_S = 0.1  # longest wait for a batch before commands are looked at again
_METRICS_S = 1.0
_ORPHAN_S = 60.0  # for a last checkpoint, once the parent is gone


class Learner:
    """Trains, reports, checkpoints and publishes.

    Args:
        directory: the experiment's.
        channel: where commands come from and events go.
        clock: paces everything that is done every so many seconds.

    Attributes:
        updates: made so far, those before a restart among them.
    """

    def __init__(self, directory: Path, channel: Channel, clock: Clock) -> None:
        self._directory, self._channel, self._clock = directory, channel, clock
        self._job = job = Job.read(directory)
        torch.set_num_threads(job.threads)
        self._agent = make_agent(job)
        self._store = _open(directory / "replay", clock)
        self._view = make_view(self._store, self._agent, job.capacity)
        self._replay = make_replay(self._view, job, self._agent.device)
        self._sampler = make_sampler(
            *(self._agent.demand, self._view, job.seed, self._replay, self._agent.task),
            teachers=make_teachers(self._agent.demand, directory, job),
        )
        self._limiter = make_limiter(self._agent.demand, job)
        acting, recipe = self._agent.acting(), job.model_dump_json()
        self._publisher = Publisher(
            directory, job.id, job.agent, acting, *job_spaces(job), clock, recipe
        )
        self._checkpoints = Checkpoints(directory / "checkpoints")
        self._metrics = MeanMetrics()
        self._board = SummaryWriter(str(directory / "tb"))
        self._update_rows = rows_per_update(self._agent.demand)
        self.updates = self._counted = 0
        self._published = -1
        self._waited = self._throttled = 0.0
        self._paused = False
        self._over = threading.Event()
        self._due = _Due(clock)
        self._resume()

    def run(self) -> None:
        """Train until told to stop; then checkpoint."""
        self._turned = self._clock.monotonic()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        self._publish()
        self._channel.say("ready", updates=self.updates, learns=self._sampler is not None)
        try:
            if self._sampler is None:
                self._idle()
            else:
                device = self._agent.device
                self._train(Prefetcher(self._replay, self._sampler, self._limiter, device))
        finally:
            self._over.set()
            self._board.close()
            self._store.close()

    def _train(self, batches: Prefetcher) -> None:
        try:
            while self._obey():
                self._step(batches)
            batches.flush()
            with batches.lock:
                self._checkpoint()
        finally:
            batches.close()

    def _idle(self) -> None:
        """An agent that learns nothing: stay alive and listen."""
        while self._obey():
            self._clock.sleep_until(self._clock.monotonic() + _WAIT_S)
            self._say_metrics()

    def _step(self, batches: Prefetcher) -> None:
        start, held_back = self._clock.monotonic(), self._paused or batches.held_back
        got = None if self._paused else batches.get(_WAIT_S)
        if self._paused:
            self._clock.sleep_until(start + _WAIT_S)
        elapsed = self._clock.monotonic() - start
        self._throttled += elapsed if held_back else 0.0
        self._waited += 0.0 if held_back else elapsed
        if got is not None:
            self._update(batches, *got)
        self._say_metrics()
        if self._due("publish", self._job.publish_s):  # also when no data come any more
            self._publish()
        if self._due("checkpoint", self._job.checkpoint_s):
            batches.flush()
            with batches.lock:
                self._checkpoint()

    def _update(self, batches: Prefetcher, tensors: dict[str, torch.Tensor], row_ids: Any) -> None:
        learned = self._agent.train(tensors)
        batches.write_back(row_ids, learned)
        self._metrics.add(learned.metrics)
        self.updates += 1
        if self._due("report", self._job.report_s):
            self._report(tensors)

    def _beat(self) -> None:
        """Say, for as long as it runs, that it does, and how long an update has taken."""
        while not self._over.is_set():
            if self._channel.orphaned_s(self._clock) > _ORPHAN_S:
                os._exit(1)  # stuck: it would keep its lock, and its successor waiting, for ever
            busy = self._clock.monotonic() - self._turned
            self._channel.say("heartbeat", updates=self.updates, busy_s=round(busy, 1))
            self._clock.sleep_until(self._clock.monotonic() + _BEAT_S)

    def _obey(self) -> bool:
        """Carry out what the parent says. False to stop."""
        self._turned = self._clock.monotonic()
        while (command := self._channel.command()) is not None:
            if command == "stop":
                return False
            self._paused = command == "pause"
        return True

    def _say_metrics(self) -> None:
        """Once a second, whether there is news or not."""
        elapsed = self._due.elapsed("metrics", _METRICS_S)
        if elapsed is None:
            return
        values = self._metrics.take()
        rows = self._view.head
        values |= {
            "learner/updates_per_s": (self.updates - self._counted) / elapsed,
            "learner/wait_share": min(1.0, self._waited / elapsed),
            "learner/throttle_share": min(1.0, self._throttled / elapsed),
            "learner/train_ratio": self.updates * self._update_rows / max(1, rows),
        }
        if isinstance(self._sampler, OnPolicyQueue):
            values["learner/rollouts_dropped"] = float(self._sampler.dropped)
        self._counted, self._waited, self._throttled = self.updates, 0.0, 0.0
        for name, value in values.items():
            self._board.add_scalar(name, value, self.updates)
        now = self._clock.wall()
        self._channel.say("metrics", updates=self.updates, rows=rows, time=now, values=values)

    def _publish(self) -> None:
        if self._published == self.updates:
            return
        manifest = self._publisher.publish(self.updates)
        self._published = self.updates
        if isinstance(self._sampler, OnPolicyQueue):
            self._sampler.version = manifest.version  # what is older by too much is not on policy
        about = {"version": manifest.version, "manifest": manifest.to_json()}
        self._channel.say("policy", updates=self.updates, **about)

    def _report(self, tensors: dict[str, torch.Tensor]) -> None:
        folder = self._directory / "reports"
        folder.mkdir(exist_ok=True)
        for name, data in self._agent.report(tensors).items():
            path = folder / f"{name}.png"
            write_durably(path, picture(data.cpu().numpy()))
            self._channel.say("report", name=name, path=str(path.relative_to(self._directory)))

    def _checkpoint(self) -> None:
        if not self.updates:
            return
        state = {
            "updates": self.updates,
            "limiter": self._limiter.state(),
            "sampler": self._sampler.state() if self._sampler else {},
        }
        self._checkpoints.save(self.updates, self._agent.state_dict(), state)
        self._channel.say("checkpoint", updates=self.updates)

    def _resume(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        self._replay.refresh()
        found = self._checkpoints.load_newest()
        if found is None:
            return
        for problem in found.damaged:
            text = f"{problem}; goes on from {found.number}"
            self._channel.say("damaged", updates=found.number, text=text)
        state = found.state
        self._agent.load_state_dict(found.tensors)
        self.updates = self._counted = int(state["updates"])
        self._limiter.restore(state["limiter"])
        if self._sampler:
            self._sampler.restore(state["sampler"])


class _Due:
    """Remembers when each recurring thing was last done."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}

    def elapsed(self, name: str, period: float) -> float | None:
        """Seconds since `name` was last due, if that is at least `period`."""
        now = self._clock.monotonic()
        last = self._last.setdefault(name, now)
        if now - last < period:
            return None
        self._last[name] = now
        return now - last

    def __call__(self, name: str, period: float) -> bool:
        """Whether `name` is due, once per `period` seconds."""
        return self.elapsed(name, period) is not None


def _open(path: Path, clock: Clock) -> ReplayStore:
    """Open the replay for reading, once the service has made it."""
    while True:
        try:
            return ReplayStore(path, readonly=True)
        except ReplayError:
            if path.exists() and any(path.iterdir()):
                raise
        clock.sleep_until(clock.monotonic() + _WAIT_S)


def hold_lock(directory: Path) -> int:
    """Wait until no other learner works in the directory. Returns the descriptor that holds it."""
    descriptor = os.open(directory / "learner.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def main(arguments: list[str]) -> int:
    """Run the learner of the directory given. Exit code 0: stopped on demand; 1: failed."""
    channel = Channel.standard()
    directory = Path(arguments[0])
    lock = hold_lock(directory)
    try:
        Learner(directory, channel, SystemClock()).run()
    except Exception as error:  # noqa: BLE001 - the last chance to tell the operator why
        traceback.print_exc()
        hopeless = isinstance(error, UnsupportedSpace | UnknownAgent | Invalid | ValidationError)
        channel.say("failed", error=f"{type(error).__name__}: {error}", fatal=hopeless)
        return 1
    finally:
        os.close(lock)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
