"""Which version of an experiment's policy its robots are offered.

The newest, as soon as it is there, unless a version is pinned: for all robots, or for one alone (a
canary). What the learner publishes meanwhile is kept and not offered. The files of a pinned version
get a second name under `kept/`, so that the learner, which prunes its own folder, cannot take them
away; pins are in the database, and so outlive the server.

Beside the operator's pins there are the holds of the roll-out's rule, which no robot sees where an
operator has pinned something, and versions that are lent to single robots for an evaluation, which
come before both. The best version is kept too, and offered to nobody for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from robot_client.clock import Clock
from robot_client.schema import Json
from server.errors import Conflict, NotFound
from server.fleet import Fleet
from server.journal import Journal
from server.recovery import newest_manifest
from server.storage import Pin, Policy, Storage, Writer
from server.version_files import blobs_of, is_whole, keep, let_go

EVERYONE = ""  # in place of a robot's name
Versions = dict[str, dict[str, int]]  # experiment -> robot or EVERYONE -> version


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
        self._pins: Versions = {}
        self._holds: Versions = {}
        self._lent: Versions = {}
        self._cherished: dict[str, int] = {}
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read the pins."""
        for pin in await asyncio.to_thread(self._storage.pins):
            if pin.version is not None:
                self._pins.setdefault(pin.experiment, {})[pin.robot] = pin.version

    def recall(
        self,
        experiment: str,
        holds: Mapping[str, int],
        lent: Mapping[str, int],
        cherished: int | None,
    ) -> None:
        """What was held, lent and kept before a restart. Comes before `open`."""
        self._holds[experiment], self._lent[experiment] = dict(holds), dict(lent)
        if cherished is not None:
            self._cherished[experiment] = cherished

    async def open(self, fleet: Fleet, experiment: str) -> None:
        """Offer what is known of the experiment; the files may know of a newer version."""
        self._fleet = fleet
        policy = await asyncio.to_thread(self._storage.latest_policy, experiment)
        manifest = await asyncio.to_thread(newest_manifest, self._home(experiment))
        fixed = self._fixed(experiment)
        if manifest and (policy is None or policy.version < manifest["version"]):
            self.learned(experiment, manifest["version"], manifest)
        elif policy is not None:
            self._newest[experiment] = policy.version
            self._made_at[experiment, policy.version] = policy.created_at
            if EVERYONE not in fixed:
                fleet.publish(experiment, policy.manifest)
        for robot, version in fixed.items():
            self._offer(robot, await self._policy(experiment, version))

    def newest(self, experiment: str) -> int | None:
        """The version that the learner published last."""
        return self._newest.get(experiment)

    def pins(self, experiment: str) -> Mapping[str, int]:
        """The pinned versions, by robot or EVERYONE."""
        return dict(self._pins.get(experiment, {}))

    def offered(self, experiment: str, robot: str = EVERYONE) -> int | None:
        """The version that a robot is offered, or all that have none of their own."""
        fixed = self._fixed(experiment)
        return fixed.get(robot, fixed.get(EVERYONE, self._newest.get(experiment)))

    def _fixed(self, experiment: str) -> dict[str, int]:
        """What robots, or EVERYONE, are offered whatever is newest."""
        pins = self._pins.get(experiment, {})
        holds = {} if EVERYONE in pins else self._holds.get(experiment, {})
        return holds | pins | self._lent.get(experiment, {})

    def age(self, experiment: str, version: int) -> float | None:
        """Seconds since a version was published; None where that is not known."""
        made_at = self._made_at.get((experiment, version))
        return None if made_at is None else max(0.0, self._clock.wall() - made_at)

    def learned(self, experiment: str, version: int, manifest: Json) -> None:
        """Remember a new version, and offer it unless one is pinned.

        Raises MessageError when it cannot travel: it is then not remembered.
        """
        if EVERYONE not in self._fixed(experiment):
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

    async def hold(self, experiment: str, versions: Mapping[str, int]) -> None:
        """Let the rule offer these versions by robot or EVERYONE, in place of what it offered
        before. Raises as `pin` does; nothing has then changed."""
        async with self._changing:
            await self._set(self._holds, experiment, versions)

    async def lend(self, experiment: str, robots: Collection[str], version: int | None) -> None:
        """Offer these robots a version before all others, for an evaluation; None: no longer.
        Raises as `pin` does; nothing has then changed."""
        async with self._changing:
            lent = {k: v for k, v in self._lent.get(experiment, {}).items() if k not in robots}
            if version is not None:
                lent |= dict.fromkeys(robots, version)
            await self._set(self._lent, experiment, lent)

    async def cherish(self, experiment: str, version: int | None) -> None:
        """Keep the files of this version, and no longer those of the one before. Raises as `pin`
        does; nothing has then changed."""
        async with self._changing:
            if version is None:
                self._cherished.pop(experiment, None)
            else:
                await self._keep(experiment, version)
                self._cherished[experiment] = version
            await self._tidy(experiment)

    def forget(self, experiment: str) -> None:
        """The experiment is gone."""
        for versions in (self._pins, self._holds, self._lent):
            versions.pop(experiment, None)
        for version in (self._newest, self._cherished):
            version.pop(experiment, None)

    async def _set(self, kind: Versions, experiment: str, versions: Mapping[str, int]) -> None:
        """Change what one kind of reason offers, and tell the robots that it concerns."""
        for version in sorted({*versions.values()}):
            await self._keep(experiment, version)
        before = self._fixed(experiment)
        kind[experiment] = dict(versions)
        await self._tell(experiment, before)
        await self._tidy(experiment)

    async def _tell(self, experiment: str, before: Mapping[str, int]) -> None:
        """Offer what is offered now to those to whom it was not `before`."""
        now, newest = self._fixed(experiment), self._newest.get(experiment)
        for robot in sorted({*before, *now}):
            otherwise = newest if robot == EVERYONE else None
            version = now.get(robot, otherwise)
            if version == before.get(robot, otherwise):
                continue
            if version is not None:
                self._offer(robot, await self._policy(experiment, version))
            elif robot != EVERYONE:
                self._reach().publish_to(robot, experiment, None)

    async def _keep(self, experiment: str, version: int) -> Policy:
        await self._writer.flush()
        policy = await self._policy(experiment, version)
        try:
            await asyncio.to_thread(keep, self._home(experiment), policy.manifest)
        except FileNotFoundError as error:
            raise Conflict(f"version {version} has lost its files: newer ones took over") from error
        return policy

    async def _pin(self, experiment: str, version: int, robot: str) -> None:
        await self._keep(experiment, version)
        self._writer.put(Pin(experiment=experiment, robot=robot, version=version))
        await self._writer.flush()
        before = self._fixed(experiment)
        self._pins.setdefault(experiment, {})[robot] = version
        await self._tell(experiment, before)
        whom = robot or "all robots"
        self._journal.note("policy_pinned", f"{whom}: version {version}", experiment, robot or None)
        await self._tidy(experiment)

    async def _unpin(self, experiment: str, robot: str) -> None:
        if robot not in self._pins.get(experiment, {}):
            return
        self._writer.put(Pin(experiment=experiment, robot=robot, version=None))
        await self._writer.flush()
        before = self._fixed(experiment)
        del self._pins[experiment][robot]
        await self._tell(experiment, before)
        self._journal.note("policy_unpinned", robot or "all robots", experiment, robot or None)
        await self._tidy(experiment)

    async def _tidy(self, experiment: str) -> None:
        """Let go of the files that nothing needs any more."""
        kinds = (self._pins, self._holds, self._lent)
        versions = {v for kind in kinds for v in kind.get(experiment, {}).values()}
        best = self._cherished.get(experiment)
        used: set[str] = set()
        for version in sorted(versions if best is None else versions | {best}):
            used |= blobs_of((await self._policy(experiment, version)).manifest)
        await asyncio.to_thread(let_go, self._home(experiment), used)

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
