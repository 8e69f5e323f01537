"""Which policy each robot is offered, as frames ready to be sent."""

from __future__ import annotations

from collections.abc import Sequence

from robot_client.messages import PolicyOffer, encode
from robot_client.schema import Json
from robot_client.wire import Frame, Limits


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
