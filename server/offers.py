"""Which policy each robot is offered, as frames ready to be sent, and the parts of its blobs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robot_client.errors import SchemaError
from robot_client.messages import BlobPart, BlobRequest, PolicyOffer, encode
from robot_client.schema import Json
from robot_client.wire import Frame, Limits

PART_BYTES = 256 * 2**10  # of a blob, so that weights never hold up an emergency stop for long


class Offers:
    """One offer per experiment, and others for single robots of it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._offers: dict[tuple[str, str], list[Frame]] = {}  # experiment, robot or "" for all

    def put(self, experiment: str, robot: str, manifest: Json | None) -> None:
        """Set an offer, or take it back. Raises MessageError when it cannot travel."""
        if manifest is None:
            self._offers.pop((experiment, robot), None)
        else:
            self._offers[experiment, robot] = encode(PolicyOffer(manifest), self._limits)

    def of(self, experiment: str, robot: str) -> Sequence[Frame] | None:
        """What the robot is to be offered."""
        return self._offers.get((experiment, robot)) or self._offers.get((experiment, ""))

    def has_own(self, experiment: str, robot: str) -> bool:
        """Whether the robot is offered something else than the others are."""
        return (experiment, robot) in self._offers

    def forget(self, experiment: str) -> None:
        """Take back all offers of an experiment."""
        self._offers = {k: v for k, v in self._offers.items() if k[0] != experiment}


def digest_of(request: BlobRequest) -> str:
    """The blob that is asked for, which may become a file's name. Raises SchemaError."""
    digest = request.sha256
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise SchemaError("sha256", "64 hexadecimal digits", repr(digest)[:80])
    return digest


def part_of(path: Path, request: BlobRequest) -> BlobPart:
    """The part of a blob that is asked for. Raises SchemaError when there is none."""
    try:
        with path.open("rb") as file:
            total = file.seek(0, 2)
            if not 0 <= request.offset <= total or request.size < 1:
                raise SchemaError("offset", f"0 to {total}", request.offset)
            file.seek(request.offset)
            data = np.frombuffer(file.read(min(request.size, PART_BYTES)), np.uint8)
    except OSError as error:
        raise SchemaError("sha256", "a published blob", request.sha256) from error
    return BlobPart(request.sha256, request.offset, total, {"data": data})
