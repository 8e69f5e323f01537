"""Fetching the blobs of an offered policy: in parts, a few at a time, resumed after any break."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from robot_client.bundle import Manifest, sha256
from robot_client.errors import BundleError
from robot_client.messages import BlobPart, BlobRequest

PART_BYTES: Final = 256 * 2**10
PARTS_IN_FLIGHT: Final = 4
MAX_BLOB_BYTES: Final = 2**30
_PART_TIMEOUT: Final = 2.0


class PolicyInbox(Protocol):
    """Where policies arrive. Called from the link's thread: return soon."""

    def offered(self, manifest: Manifest) -> Sequence[tuple[str, int]]:
        """The blobs (SHA-256, bytes) that are missing. Raises BundleError to refuse the policy."""
        ...

    def received(self, sha256: str, data: bytes) -> None:
        """Keep a blob whose digest has been checked. Raises BundleError if it cannot be kept."""
        ...

    def complete(self, manifest: Manifest) -> None:
        """All blobs are there; may come again for the same manifest. Raises BundleError."""
        ...


@dataclass
class _Partial:
    """A blob of which some parts have come."""

    data: bytearray
    todo: list[int]  # offsets that have not been asked for, the next one last
    asked: dict[int, float] = field(default_factory=dict)  # offset -> when it was asked for

    @staticmethod
    def of(size: int) -> _Partial:
        return _Partial(bytearray(size), list(range(0, size, PART_BYTES))[::-1])

    def ask_again(self, asked_before: float) -> None:
        for offset in [o for o, when in self.asked.items() if when <= asked_before]:
            del self.asked[offset]
            self.todo.append(offset)


class Fetch:
    """Downloads what is missing of an offered policy, and then of the one offered last meanwhile.

    What has been begun is finished first: on a slow line, where offers come faster than blobs, no
    policy would ever arrive. Parts that have come are kept when the connection breaks, and when
    the next offer needs the same blob.

    Args:
        inbox: takes the blobs and, at the end, the policy.
    """

    def __init__(self, inbox: PolicyInbox) -> None:
        self._inbox = inbox
        self._partial: dict[str, _Partial] = {}
        self.manifest: Manifest | None = None
        self._next: Manifest | None = None  # offered while another was under way

    def offer(self, manifest: Manifest) -> None:
        """Go for this policy, in place of any other that has not been begun.

        Raises:
            BundleError: it is refused, or larger than a blob may be.
        """
        if manifest == self.manifest:
            return
        begun = self.manifest
        if begun is not None and begun.experiment == manifest.experiment and self._begun():
            self._next = manifest
            return
        self.manifest = self._next = None
        missing = dict(self._inbox.offered(manifest))
        for digest, size in missing.items():
            if not 1 <= size <= MAX_BLOB_BYTES:
                raise BundleError(
                    f"blob {digest}: expected 1 to {MAX_BLOB_BYTES} bytes, got {size}"
                )
        self._partial = {
            digest: old
            if (old := self._partial.get(digest)) is not None and len(old.data) == size
            else _Partial.of(size)
            for digest, size in missing.items()
        }
        self.manifest = manifest
        self._finish()

    def _begun(self) -> bool:
        return any(
            len(p.todo) + len(p.asked) < -(-len(p.data) // PART_BYTES)
            for p in self._partial.values()
        )

    def offer_next(self) -> None:
        """Go for what was offered meanwhile, once nothing is under way. Raises BundleError."""
        if self.manifest is None and self._next is not None:
            self.offer(self._next)

    def resume(self) -> None:
        """The connection is new: ask again for what was under way."""
        for partial in self._partial.values():
            partial.ask_again(float("inf"))

    def give_up(self) -> None:
        """Forget the policy; parts stay, for the next offer."""
        self.manifest = None

    def requests(self, now: float) -> Iterator[BlobRequest]:
        """What to ask for now. One that gets no answer is asked for again after a while."""
        if self.manifest is None:
            return
        for partial in self._partial.values():
            partial.ask_again(now - _PART_TIMEOUT)
        free = PARTS_IN_FLIGHT - sum(len(p.asked) for p in self._partial.values())
        for digest, partial in self._partial.items():
            while partial.todo and free > 0:
                offset = partial.todo[-1]
                partial.asked[partial.todo.pop()] = now
                free -= 1
                yield BlobRequest(digest, offset, min(PART_BYTES, len(partial.data) - offset))

    def part(self, part: BlobPart) -> None:
        """Take a part; hand over the blob, and the policy, when they are whole.

        Raises:
            BundleError: the part does not fit, the digest of the blob is wrong, or the inbox
                refuses it. The policy has been given up.
        """
        partial = self._partial.get(part.sha256)
        if self.manifest is None or partial is None or part.offset not in partial.asked:
            return  # of a policy given up, or a second answer
        data = part.columns.get("data")
        size = min(PART_BYTES, len(partial.data) - part.offset)
        if data is None or data.shape != (size,) or data.dtype.name != "uint8":
            self._refuse(part.sha256, f"expected {size} bytes at {part.offset}")
        if part.total != len(partial.data):
            self._refuse(part.sha256, f"expected {len(partial.data)} bytes, got {part.total}")
        del partial.asked[part.offset]
        partial.data[part.offset : part.offset + size] = memoryview(data)  # type: ignore[arg-type]
        if not partial.todo and not partial.asked:
            self._keep(part.sha256, bytes(partial.data))
            self._finish()

    def _keep(self, digest: str, data: bytes) -> None:
        del self._partial[digest]
        if sha256(data) != digest:
            self._refuse(digest, f"the bytes that came have the digest {sha256(data)}")
        try:
            self._inbox.received(digest, data)
        except BundleError:
            self.give_up()
            raise

    def _finish(self) -> None:
        manifest = self.manifest
        if manifest is not None and not self._partial:
            self.manifest = None
            self._inbox.complete(manifest)

    def _refuse(self, digest: str, why: str) -> None:
        self._partial.pop(digest, None)
        self.give_up()
        raise BundleError(f"blob {digest}: {why}")
