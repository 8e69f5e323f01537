"""What the rest of the server asks of the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_client.messages import ANY_EPISODE, Drive, Evaluate, Heartbeat, Verb
from robot_client.schema import Json
from server.replay.store import ReplayStore
from server.sessions import Order


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
    def epoch(self) -> str:
        """Of its spool, to which its episodes' numbers belong."""
        ...

    @property
    def age(self) -> float:
        """Seconds since its last message."""
        ...

    @property
    def rows(self) -> int:
        """Made durable during this session."""
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

    @property
    def problem(self) -> str:
        """Why rows cannot be stored at the moment; empty when they can."""
        ...

    @property
    def refused(self) -> int:
        """Messages refused so far."""
        ...

    def publish(self, experiment: str, manifest: Json) -> None:
        """Offer this policy to every robot of the experiment, now and when one connects, but to
        those that have one of their own."""
        ...

    def publish_to(self, robot: str, experiment: str, manifest: Json | None) -> None:
        """Offer this robot a policy of its own while it is of the experiment; None: that of all."""
        ...

    def command(self, robot: str, verb: Verb, episode: int = ANY_EPISODE) -> int:
        """Send a command to a connected robot; returns its id. Raises NotFound."""
        ...

    def drive(self, robot: str, message: Drive) -> None:
        """Pass on what a person who drives a robot wants, once. Raises NotFound."""
        ...

    def evaluate(self, robot: str, order: Evaluate) -> None:
        """Give a robot this order, if it is connected."""
        ...

    def order(self, number: int) -> Order:
        """What became of a command. Raises NotFound."""
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

    def store(self, experiment: str) -> ReplayStore:
        """The open replay store of an experiment. Raises ReplayError."""
        ...

    def forget(self, experiment: str) -> None:
        """The experiment is to be removed: close its store and open it never again."""
        ...
