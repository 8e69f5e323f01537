"""The policies that a robot has on its disk: it boots and acts from them with no server in sight.

    blobs/<sha256>        graphs and weights, by content
    bundles/<n>.json      manifests in order of arrival; written last, so that its blobs are there
    bundles/<n>.bad       manifests whose bundle was refused, never to be tried again

Every file is written to a temporary name, synced and renamed: a crash leaves it whole or absent.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from robot_client.act import Act, CannotAct
from robot_client.bundle import Manifest, read_safetensors, sha256
from robot_client.durable import write_durably
from robot_client.errors import BundleError
from robot_client.messages import PolicyReport
from robot_client.policy import OnnxGraphs
from robot_client.ports import Policy
from robot_client.robot import as_action
from robot_client.schema import NO_POLICY, ActionSpace, space_hash

_log = logging.getLogger(__name__)
_KEEP = 3


class _Damaged(BundleError):
    """A blob is not on the disk as it was received."""


class PolicyCache:
    """Receives bundles, keeps the last few, and builds the newest one in the background.

    The link calls `offered`, `received` and `complete`; the control loop calls `take` and
    `reports`, neither of which waits for disk or for a build.

    Args:
        directory: made if need be.
        observation_space, action_space: the robot's; bundles for others are refused.
        act: how to act with a bundle.
        keep: how many bundles stay on disk.
    """

    def __init__(
        self,
        directory: Path,
        observation_space: spaces.Dict,
        action_space: ActionSpace,
        act: Act | None = None,
        keep: int = _KEEP,
    ) -> None:
        assert keep >= 1, keep
        self._blobs, self._bundles = directory / "blobs", directory / "bundles"
        self._spaces = observation_space, action_space
        self._act, self._keep = act or Act(), keep
        self._files = threading.Lock()  # guards the folders; never held while building
        self._wanted: frozenset[str] = frozenset()  # blobs of the offer under way: not to be pruned
        self._ready: queue.SimpleQueue[Policy] = queue.SimpleQueue()
        self._reports: queue.SimpleQueue[PolicyReport] = queue.SimpleQueue()
        self._built: int | None = None
        self._acts = False  # whether any bundle has been built
        self._wake, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="policy-cache", daemon=True)
        for folder in (self._blobs, self._bundles):
            folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start building: first what is on disk."""
        self._wake.set()
        self._thread.start()

    def close(self) -> None:
        """End the background thread, once it has finished what it builds."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def offered(self, manifest: Manifest) -> list[tuple[str, int]]:
        """SHA-256 and size of the blobs that are missing here.

        Raises:
            BundleError: the bundle is for other spaces than this robot's.
        """
        for name, space, wanted in zip(
            ("observation", "action"),
            self._spaces,
            (manifest.observation_space, manifest.action_space),
            strict=True,
        ):
            if space_hash(space) != wanted:
                raise BundleError(
                    f"version {manifest.version} of {manifest.experiment} is for another {name}"
                    f" space: expected {space_hash(space)[:12]}, got {wanted[:12]}"
                )
        names = _blob_names(manifest)
        if names - manifest.sizes.keys():
            raise BundleError(f"manifest: no size for {sorted(names - manifest.sizes.keys())}")
        with self._files:
            self._wanted = frozenset(names)
            return [(n, manifest.sizes[n]) for n in sorted(names) if not self._blob(n).exists()]

    def received(self, digest: str, data: bytes) -> None:
        """Store a blob.

        Raises:
            BundleError: its content is not what its name says, or the disk does not take it.
        """
        if sha256(data) != digest:
            raise BundleError(f"blob {digest[:12]}: its content has the hash {sha256(data)[:12]}")
        with self._files:
            _write(self._blob(digest), data)

    def complete(self, manifest: Manifest) -> None:
        """All blobs are here: keep the bundle and build it, unless it is known already.

        Raises:
            BundleError: a blob is missing, or the disk does not take the manifest.
        """
        missing = [n for n in _blob_names(manifest) if not self._blob(n).exists()]
        if missing:
            raise BundleError(f"version {manifest.version}: blob {missing[0][:12]} is missing")
        with self._files:
            if manifest in [m for _, m in self._manifests(".bad")]:
                self._refuse(manifest, "it was refused before")
            elif manifest not in [m for _, m in self._manifests(".json")[-1:]]:
                text = json.dumps(manifest.to_json(), indent=1)
                _write(self._bundles / f"{self._next_number():08d}.json", text.encode())
        self._wake.set()

    def take(self) -> Policy | None:
        """The newest policy built since the last call, if any. Never waits."""
        newest = None
        while True:
            try:
                newest = self._ready.get_nowait()
            except queue.Empty:
                return newest

    def reports(self) -> list[PolicyReport]:
        """The bundles refused since the last call. Never waits."""
        return [self._reports.get_nowait() for _ in range(self._reports.qsize())]

    def build_newest(self) -> None:
        """Build the newest good bundle unless it is built; the background thread does this."""
        while True:
            with self._files:
                known = self._manifests(".json")
            if not known or known[-1][0] == self._built:
                return
            number, manifest = known[-1]
            try:
                policy = self._build(manifest)
                if not self._acts:
                    self._acts = True
                    _log.info("the first policy is here: %s", self._act.told(manifest))
                self._ready.put(policy)
            except CannotAct as error:  # another run may: the bundle stays
                self._refuse(manifest, str(error))
                self._built = number
            except BundleError as error:
                self._put_away(number, manifest, error)
            else:
                self._built = number
                self._prune()

    def _work(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            if not self._closing.is_set():
                try:
                    self.build_newest()
                except OSError as error:  # a full or failing disk: what is built still acts
                    self._reports.put(PolicyReport("", NO_POLICY, f"policy cache: {error}"))

    def _build(self, manifest: Manifest) -> Policy:
        names = self._act.graphs(manifest)  # no others are loaded
        tensors = read_safetensors(self._read(manifest.weights))
        read = {name: self._read(manifest.graphs[name]) for name in names}
        graphs = OnnxGraphs(manifest, read, tensors)
        policy = self._act.policy(manifest, graphs, self._spaces[1])
        _rehearse(policy, *self._spaces)
        return policy

    def _read(self, digest: str) -> bytes:
        try:
            data = self._blob(digest).read_bytes()
        except OSError as error:
            raise _Damaged(f"blob {digest[:12]}: {error}") from error
        if sha256(data) != digest:
            self._blob(digest).unlink(missing_ok=True)
            raise _Damaged(f"blob {digest[:12]} is damaged on disk")
        return data

    def _put_away(self, number: int, manifest: Manifest, error: BundleError) -> None:
        with self._files:
            path = self._bundles / f"{number:08d}.json"
            if isinstance(error, _Damaged):
                path.unlink()  # fetching it again may help
            else:
                path.rename(path.with_suffix(".bad"))
        self._refuse(manifest, str(error))

    def _refuse(self, manifest: Manifest, reason: str) -> None:
        _log.error("policy refused: version %d: %s", manifest.version, reason)
        self._reports.put(PolicyReport(manifest.experiment, manifest.version, reason))

    def _prune(self) -> None:
        """Keep the last bundles, of the newest experiment only, and the blobs that they use."""
        with self._files:
            good = self._manifests(".json")
            kept = [(n, m) for n, m in good if m.experiment == good[-1][1].experiment]
            kept = kept[-self._keep :]
            for number in {n for n, _ in good} - {n for n, _ in kept}:
                (self._bundles / f"{number:08d}.json").unlink()
            for number, _ in self._manifests(".bad")[: -self._keep]:
                (self._bundles / f"{number:08d}.bad").unlink()
            used = self._wanted.union(*(_blob_names(m) for _, m in kept))
            for blob in self._blobs.iterdir():
                if blob.name not in used:
                    blob.unlink()

    def _manifests(self, suffix: str) -> list[tuple[int, Manifest]]:
        """(number, manifest) in order of arrival; files that are no manifest are passed over."""
        found = []
        for path in sorted(self._bundles.glob(f"*{suffix}")):
            try:
                found.append((int(path.stem), Manifest.from_json(json.loads(path.read_bytes()))))
            except (BundleError, ValueError):
                continue
        return found

    def _next_number(self) -> int:
        numbers = [int(p.stem) for p in self._bundles.iterdir() if p.stem.isdigit()]
        return 1 + max(numbers, default=0)

    def _blob(self, digest: str) -> Path:
        return self._blobs / digest


def _rehearse(policy: Policy, observation_space: spaces.Dict, action_space: ActionSpace) -> None:
    """One step on blank observations, so that whatever does not fit shows before the swap."""
    obs: dict[str, Any] = {k: _blank(s) for k, s in observation_space.spaces.items()}
    action, carry, _ = policy.step(policy.init(), obs, True, np.random.default_rng(0), False)
    blank = as_action(action_space, _blank(action_space))
    if (action.dtype, action.shape) != (blank.dtype, blank.shape):
        raise BundleError(
            f"the policy's action is {action.dtype} {action.shape}, the robot's is"
            f" {blank.dtype} {blank.shape}"
        )
    policy.step(carry, obs, False, np.random.default_rng(0), True)


def _blank(space: spaces.Space[Any]) -> Any:
    assert space.shape is not None, space
    return np.zeros(space.shape, space.dtype)


def _blob_names(manifest: Manifest) -> set[str]:
    return {*manifest.graphs.values(), manifest.weights}


def _write(path: Path, data: bytes) -> None:
    """Write durably: the file is there whole, or not at all. Raises BundleError."""
    try:
        write_durably(path, data)
    except OSError as error:
        raise BundleError(f"{path}: {error}") from error
