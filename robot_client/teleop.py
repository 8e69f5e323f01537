"""How a person drives a robot: the interface of a device, and what becomes of the robot when the
person falls silent, on one page.

Devices are in `robot_client.teleops`, one file each; `robot_client.takeover` decides who drives.
Whatever a person asks for goes through the same filter and limits as a policy's action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from numpy.typing import NDArray

from robot_client.errors import SchemaError
from robot_client.messages import Verb
from robot_client.robot import Action
from robot_client.schema import ActionSpace

Obs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Input:
    """What a person's hands say at one moment.

    Args:
        engaged: they drive; where it is False, the policy does.
        action: what they want, in the robot's action space; None wants the robot to hold.
        verbs: what they tell the robot besides, such as `stop`, each time once.
    """

    engaged: bool
    action: Action | None = None
    verbs: tuple[Verb, ...] = ()


@runtime_checkable
class Teleop(Protocol):
    """A device at the robot by which a person drives it. `name` is shown as who drives."""

    name: str

    def connect(self, space: ActionSpace) -> None:
        """Open the device for actions of `space`. Raises RobotError when it cannot be used."""
        ...

    def poll(self, obs: Obs | None) -> Input | None:
        """What the hands say now; None when the device says nothing, which counts as silence.

        Called at every step and never waits. `obs` is what the robot sees, None between episodes;
        people have eyes of their own, scripts do not. Raises RobotError when the device is lost.
        """
        ...

    def close(self) -> None:
        """Let go of the device. Idempotent."""
        ...


@dataclass(frozen=True)
class DeadMan:
    """What a robot does when the person who drives it falls silent. Its own clock counts.

    Args:
        hold_s: after so many seconds without fresh input it holds.
        yield_s: after so many the take-over is over. Later input does not revive it.
        then: `policy` goes on with the policy, `stop` ends the episode and stands still until an
            operator resumes.

    Raises:
        SchemaError: the times are not positive, or not in this order.
    """

    hold_s: float = 0.4
    yield_s: float = 5.0
    then: Literal["policy", "stop"] = "stop"

    def __post_init__(self) -> None:
        if not 0 < self.hold_s <= self.yield_s:
            got = f"{self.hold_s} and {self.yield_s}"
            raise SchemaError("dead_man", "0 < hold_s <= yield_s", got)
