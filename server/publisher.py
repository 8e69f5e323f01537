"""Turns what acts for an agent into policy versions: blobs named by content, and manifests."""

from __future__ import annotations

import json
from pathlib import Path

from gymnasium import spaces

from agents.agent import Acting
from agents.export import ActingExport
from robot_client.bundle import Manifest, sha256
from robot_client.clock import Clock
from robot_client.durable import write_durably
from robot_client.schema import ActionSpace, space_hash
from server.kept_graphs import KeptGraphs


class Publisher:
    """Writes versions of one experiment's policy under its directory.

    The newest `keep` stay, and all younger than `keep_s` seconds: a robot may be fetching one.

    Args:
        directory: the experiment's; manifests go to policies/, blobs to blobs/.
        experiment, agent: ids for the manifests.
        acting: shares the agent's parameters.
        observation_space, action_space: of the robots.
        clock: tells how old a version is.
        recipe: see `KeptGraphs`.
        keep, keep_s: see above.
    """

    def __init__(
        self,
        directory: Path,
        experiment: str,
        agent: str,
        acting: Acting,
        observation_space: spaces.Dict,
        action_space: ActionSpace,
        clock: Clock,
        recipe: str | None = None,
        keep: int = 5,
        keep_s: float = 60.0,
    ) -> None:
        self._policies, self._blobs = directory / "policies", directory / "blobs"
        self._experiment, self._agent, self._acting = experiment, agent, acting
        self._spaces = observation_space, action_space
        self._clock, self._keep, self._keep_s = clock, keep, keep_s
        self._export: ActingExport | None = None
        self._kept = KeptGraphs(directory, recipe)
        self._sizes: dict[str, int] = {}
        for folder in (self._policies, self._blobs):
            folder.mkdir(parents=True, exist_ok=True)
        self.next_version = (
            max((int(p.stem) for p in self._policies.glob("*.json")), default=-1) + 1
        )

    def publish(self, updates: int) -> Manifest:
        """Write what acts as it is now as the next version. The very first takes seconds."""
        first = self._export is None
        if self._export is None:
            self._export = ActingExport(self._acting, *self._spaces, self._kept.find())
        graphs = {name: self._put(graph) for name, graph in self._export.graphs.items()}
        if first:
            self._kept.keep(self._export.exported)
        weights = self._put(self._export.weights())
        manifest = Manifest(
            experiment=self._experiment,
            agent=self._agent,
            version=self.next_version,
            kind=self._acting.kind,
            graphs=graphs,
            weights=weights,
            sizes={digest: self._sizes[digest] for digest in (*graphs.values(), weights)},
            observation_space=space_hash(self._spaces[0]),
            action_space=space_hash(self._spaces[1]),
            signature=self._acting.signature,
            updates=updates,
            planning=self._acting.planning,
        )
        text = json.dumps(manifest.to_json(), indent=1)
        write_durably(self._policies / f"{manifest.version:08d}.json", text.encode())
        self.next_version += 1
        self._prune()
        return manifest

    def _put(self, data: bytes) -> str:
        digest = sha256(data)
        path = self._blobs / digest
        ours = digest in self._sizes  # what an earlier process left may be damaged
        if not path.exists() or not (ours or path.read_bytes() == data):
            write_durably(path, data)
        self._sizes[digest] = len(data)
        return digest

    def _prune(self) -> None:
        """Delete all but the newest versions, and the blobs that no version names."""
        manifests = sorted(self._policies.glob("*.json"))
        oldest = self._clock.wall() - self._keep_s
        outdated = {m for m in manifests[: -self._keep] if m.stat().st_mtime < oldest}
        for path in outdated:
            path.unlink()
        used: set[str] = set()
        for path in manifests:
            if path not in outdated:
                used |= json.loads(path.read_bytes())["sizes"].keys()
        for blob in self._blobs.iterdir():
            if blob.name not in used:
                blob.unlink()
