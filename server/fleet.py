"""What the rest of the server asks of the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_client.messages import Heartbeat, Verb
from robot_client.schema import Json


class Session(Protocol):
    """A connected robot."""

    @property
    def robot(self) -> str:
        """Its name."""
        ...

    @property
    def experiment(self) -> str:
        """Where its rows go."""
        ...

    @property
    def heartbeat(self) -> Heartbeat | None:
        """The last one."""
        ...

    @property
    def has_camera(self) -> bool:
        """Whether it sends pictures."""
        ...


class Fleet(Protocol):
    """Reaches the robots."""

    def publish(self, experiment: str, manifest: Json) -> None:
        """Offer this policy to every robot of the experiment, now and when one connects."""
        ...

    def command(self, robot: str, verb: Verb) -> int:
        """Send a command to a connected robot; returns its id. Raises NotFound."""
        ...

    def let_go(self, robot: str) -> None:
        """End the robot's session, if it has one: it says hello again, and may join elsewhere."""
        ...

    def sessions(self) -> Sequence[Session]:
        """The connected robots."""
        ...

    def camera(self, robot: str) -> NDArray[np.uint8] | None:
        """The last picture (H, W, C) that the robot sent, if any."""
        ...
