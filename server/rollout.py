"""Which version of an experiment's policy its robots are offered.

The newest, as soon as it is there, unless a version is pinned: for all robots, or for one alone (a
canary). What the learner publishes meanwhile is kept and not offered. The files of a pinned version
get a second name under `kept/`, so that the learner, which prunes its own folder, cannot take them
away; pins are in the database, and so outlive the server.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from robot_client.clock import Clock
from robot_client.durable import sync_directory
from robot_client.schema import Json
from server.errors import Conflict, NotFound
from server.fleet import Fleet
from server.journal import Journal
from server.recovery import newest_manifest
from server.storage import Pin, Policy, Storage, Writer

EVERYONE = ""  # in place of a robot's name
_KEPT = "kept"


class Rollout:
    """The versions of every experiment, and who is offered which.

    Args:
        home: an experiment's directory.
        storage, writer: the database.
        journal: told of every change by an operator.
        clock: tells the time.
    """

    def __init__(
        self,
        home: Callable[[str], Path],
        storage: Storage,
        writer: Writer,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._home, self._storage, self._writer = home, storage, writer
        self._journal, self._clock = journal, clock
        self._fleet: Fleet | None = None
        self._newest: dict[str, int] = {}
        self._made_at: dict[tuple[str, int], float] = {}
        self._pins: dict[str, dict[str, int]] = {}  # experiment -> robot or EVERYONE -> version
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read the pins."""
        for pin in await asyncio.to_thread(self._storage.pins):
            if pin.version is not None:
                self._pins.setdefault(pin.experiment, {})[pin.robot] = pin.version

    async def open(self, fleet: Fleet, experiment: str) -> None:
        """Offer what is known of the experiment; the files may know of a newer version."""
        self._fleet = fleet
        policy = await asyncio.to_thread(self._storage.latest_policy, experiment)
        manifest = await asyncio.to_thread(newest_manifest, self._home(experiment))
        pins = self.pins(experiment)
        if manifest and (policy is None or policy.version < manifest["version"]):
            self.learned(experiment, manifest["version"], manifest)
        elif policy is not None:
            self._newest[experiment] = policy.version
            self._made_at[experiment, policy.version] = policy.created_at
            if EVERYONE not in pins:
                fleet.publish(experiment, policy.manifest)
        for robot, version in pins.items():
            self._offer(robot, await self._policy(experiment, version))

    def newest(self, experiment: str) -> int | None:
        """The version that the learner published last."""
        return self._newest.get(experiment)

    def pins(self, experiment: str) -> Mapping[str, int]:
        """The pinned versions, by robot or EVERYONE."""
        return dict(self._pins.get(experiment, {}))

    def offered(self, experiment: str, robot: str = EVERYONE) -> int | None:
        """The version that a robot is offered, or all that have none of their own."""
        pins = self._pins.get(experiment, {})
        return pins.get(robot, pins.get(EVERYONE, self._newest.get(experiment)))

    def age(self, experiment: str, version: int) -> float | None:
        """Seconds since a version was published; None where that is not known."""
        made_at = self._made_at.get((experiment, version))
        return None if made_at is None else max(0.0, self._clock.wall() - made_at)

    def learned(self, experiment: str, version: int, manifest: Json) -> None:
        """Remember a new version, and offer it unless one is pinned.

        Raises MessageError when it cannot travel: it is then not remembered.
        """
        if EVERYONE not in self._pins.get(experiment, {}):
            self._reach().publish(experiment, manifest)
        now = self._clock.wall()
        self._newest[experiment], self._made_at[experiment, version] = version, now
        updates = int(manifest.get("updates", 0))
        self._writer.put(
            Policy(
                experiment=experiment,
                version=version,
                updates=updates,
                manifest=manifest,
                created_at=now,
            )
        )

    async def pin(self, experiment: str, version: int, robot: str = EVERYONE) -> None:
        """Offer this version, and no later one, to a robot or to EVERYONE.

        Raises:
            NotFound: there is no such version.
            Conflict: its files are there no more.
        """
        async with self._changing:
            await self._pin(experiment, version, robot)

    async def unpin(self, experiment: str, robot: str = EVERYONE) -> None:
        """Offer what the others are offered, or the newest to EVERYONE. Idempotent."""
        async with self._changing:
            await self._unpin(experiment, robot)

    async def promote(self, experiment: str, version: int) -> None:
        """Pin this version for all robots, those with one of their own included. See `pin`."""
        async with self._changing:
            await self._pin(experiment, version, EVERYONE)
            for robot in self.pins(experiment).keys() - {EVERYONE}:
                await self._unpin(experiment, robot)

    async def roll_back(self, experiment: str) -> int:
        """Pin the newest version before the one that is offered now; returns it.

        Raises Conflict when there is none whose files are still there.
        """
        async with self._changing:
            await self._writer.flush()
            now = self.offered(experiment)
            if now is None:
                raise Conflict(f"experiment {experiment} has no policy yet")
            before = await asyncio.to_thread(self._storage.policies_before, experiment, now)
            home = self._home(experiment)
            usable = (p.version for p in before if is_whole(home, p.manifest))
            version = next(usable, None)
            if version is None:
                raise Conflict(f"no version before {now} has its files any more")
            await self._pin(experiment, version, EVERYONE)
            return version

    def forget(self, experiment: str) -> None:
        """The experiment is gone."""
        self._newest.pop(experiment, None)
        self._pins.pop(experiment, None)

    async def _pin(self, experiment: str, version: int, robot: str) -> None:
        await self._writer.flush()
        policy = await self._policy(experiment, version)
        try:
            await asyncio.to_thread(keep, self._home(experiment), policy.manifest)
        except FileNotFoundError as error:
            raise Conflict(f"version {version} has lost its files: newer ones took over") from error
        self._writer.put(Pin(experiment=experiment, robot=robot, version=version))
        await self._writer.flush()
        self._pins.setdefault(experiment, {})[robot] = version
        self._offer(robot, policy)
        whom = robot or "all robots"
        self._journal.note("policy_pinned", f"{whom}: version {version}", experiment, robot or None)
        await self._tidy(experiment)

    async def _unpin(self, experiment: str, robot: str) -> None:
        if robot not in self._pins.get(experiment, {}):
            return
        self._writer.put(Pin(experiment=experiment, robot=robot, version=None))
        await self._writer.flush()
        del self._pins[experiment][robot]
        if robot != EVERYONE:
            self._reach().publish_to(robot, experiment, None)
        elif (newest := self._newest.get(experiment)) is not None:
            self._reach().publish(experiment, (await self._policy(experiment, newest)).manifest)
        self._journal.note("policy_unpinned", robot or "all robots", experiment, robot or None)
        await self._tidy(experiment)

    async def _tidy(self, experiment: str) -> None:
        """Let go of the files that no pin needs any more."""
        used: set[str] = set()
        for version in self.pins(experiment).values():
            used |= blobs_of((await self._policy(experiment, version)).manifest)
        await asyncio.to_thread(_let_go, self._home(experiment), used)

    async def _policy(self, experiment: str, version: int) -> Policy:
        policy = await asyncio.to_thread(self._storage.policy, experiment, version)
        if policy is None:
            raise NotFound(f"experiment {experiment} has no policy version {version}")
        self._made_at[experiment, version] = policy.created_at
        return policy

    def _offer(self, robot: str, policy: Policy) -> None:
        if robot == EVERYONE:
            self._reach().publish(policy.experiment, policy.manifest)
        else:
            self._reach().publish_to(robot, policy.experiment, policy.manifest)

    def _reach(self) -> Fleet:
        assert self._fleet is not None, "open() comes first"
        return self._fleet


def blobs_of(manifest: Json) -> set[str]:
    """SHA-256 of every blob of a version."""
    weights = manifest.get("weights")
    return {*manifest.get("graphs", {}).values(), *([weights] if weights else [])}


def blob_path(home: Path, digest: str) -> Path:
    """Where a blob of the experiment with this directory is: the learner's, or one that is kept."""
    path = home / "blobs" / digest
    return path if path.exists() else home / _KEPT / digest


def is_whole(home: Path, manifest: Json) -> bool:
    """Whether all files of a version are there."""
    return all(blob_path(home, digest).is_file() for digest in blobs_of(manifest))


def keep(home: Path, manifest: Json) -> None:
    """Give the files of a version a second name. Raises FileNotFoundError when one is gone."""
    kept = home / _KEPT
    kept.mkdir(parents=True, exist_ok=True)
    for digest in blobs_of(manifest):
        if not (kept / digest).exists():
            os.link(home / "blobs" / digest, kept / digest)
    sync_directory(kept)


def _let_go(home: Path, used: set[str]) -> None:
    for path in (home / _KEPT).glob("*"):
        if path.name not in used:
            path.unlink()
