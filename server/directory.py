"""What the gateway asks about experiments, and tells of robots."""

from __future__ import annotations

from typing import Protocol

from robot_client.messages import Event, Heartbeat, Hello, PolicyReport
from robot_client.schema import Chunk


class Directory(Protocol):
    """Who knows experiments and listens to robots. All calls come from the event loop."""

    def admit(self, robot: str, hello: Hello) -> str:
        """Id of the experiment that the robot joins. Raises DreamfleetError to refuse it."""
        ...

    def joined(self, robot: str, experiment: str) -> None:
        """The robot has been welcomed, and can be given commands."""
        ...

    def stored(self, robot: str, experiment: str, chunk: Chunk) -> None:
        """New rows are durable: the chunk without what was stored before."""
        ...

    def learner_state(self, experiment: str) -> str:
        """None, starting, running, paused or failed; lower case."""
        ...

    def policy_reported(self, robot: str, report: PolicyReport) -> None:
        """A robot has swapped a policy in, or refused it."""
        ...

    def event(self, robot: str, experiment: str, event: Event) -> None:
        """A robot has something to say to an operator."""
        ...

    def heartbeat(self, robot: str, experiment: str, heartbeat: Heartbeat) -> None:
        """A robot's control loop is alive."""
        ...
