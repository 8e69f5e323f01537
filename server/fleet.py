"""What the rest of the server asks of the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_client.messages import Heartbeat, Verb
from robot_client.schema import Json


@dataclass(frozen=True)
class Session:
    """A connected robot: its experiment, its last heartbeat, and whether it sends pictures."""

    robot: str
    experiment: str
    heartbeat: Heartbeat | None
    has_camera: bool


class Fleet(Protocol):
    """Reaches the robots."""

    def publish(self, experiment: str, manifest: Json) -> None:
        """Offer this policy to every robot of the experiment, now and when one connects."""
        ...

    def command(self, robot: str, verb: Verb) -> int:
        """Send a command to a connected robot; returns its id. Raises NotFound."""
        ...

    def sessions(self) -> Sequence[Session]:
        """The connected robots."""
        ...

    def camera(self, robot: str) -> NDArray[np.uint8] | None:
        """The last picture (H, W, C) that the robot sent, if any."""
        ...
