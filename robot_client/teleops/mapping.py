"""From what hands do, on sticks and keys, to an action of a given space. Pure functions.

Axis i of a stick moves number i of a Box from rest, at 0, to its bounds, at -1 and 1; each number
has a pair of keys besides. In a Discrete space each choice has a key and a button.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.robot import Action, as_action
from robot_client.schema import ActionSpace

DEADBAND = 0.15  # of a stick's way, in which it counts as let go
_PAIRS = tuple(zip("warqtyuiozcb", "sdfeghjklxvn", strict=True))  # up, down
_CHOICES = "0123456789abcdefghijklmnopqrstuvwxyz"
_SAME = {"up": "w", "down": "s", "left": "a", "right": "d"}  # arrows, where they have no own use


@dataclass(frozen=True)
class Hands:
    """What hands do at one moment.

    Args:
        axes: of sticks, -1 to 1; more than there are numbers are ignored.
        keys: held, in lower case: letters, digits, up, down, left, right, button0, button1...
    """

    axes: tuple[float, ...] = ()
    keys: frozenset[str] = frozenset()

    @staticmethod
    def of(axes: tuple[float, ...], keys: frozenset[str]) -> Hands:
        """With the names that browsers give to keys."""
        names = {key.lower().removeprefix("arrow") for key in keys}
        return Hands(axes, frozenset(names))


def key_table(space: ActionSpace) -> dict[str, str]:
    """What each key does, in words, in the order of the action."""
    if isinstance(space, spaces.Discrete):
        return {key: f"choice {number}" for key, number in _choices(int(space.n)).items()}
    found: dict[str, str] = {}
    for number, (up, down) in zip(range(_size(space)), _PAIRS, strict=False):
        found |= {up: f"+ action {number}", down: f"- action {number}"}
    return found


def touched(hands: Hands, deadband: float = DEADBAND) -> bool:
    """Whether anybody has a hand on anything."""
    return bool(hands.keys) or any(abs(axis) > deadband for axis in hands.axes)


def to_action(
    space: ActionSpace, hands: Hands, deadband: float = DEADBAND, speed: float = 1.0
) -> Action | None:
    """The action that the hands mean; None where they mean to hold.

    Args:
        space: the robot's.
        hands: what is held.
        deadband: of an axis, within which it is 0; beyond it begins there at 0.
        speed: share of the way to the bounds that keys and full sticks go, in (0, 1].

    For Discrete, the choice of the first held key that has one; None where no key has. For Box,
    always an action: where nothing is held that of rest, which is the one nearest to zero.
    """
    if isinstance(space, spaces.Discrete):
        choices = _choices(int(space.n))
        held = sorted(choices[key] for key in hands.keys if key in choices)
        return as_action(space, held[0]) if held else None
    way = np.zeros(_size(space))
    for number, axis in zip(range(len(way)), hands.axes, strict=False):
        way[number] = _beyond(axis, deadband)
    keys = {_SAME.get(key, key) for key in hands.keys}
    for number, (up, down) in zip(range(len(way)), _PAIRS, strict=False):
        way[number] += (up in keys) - (down in keys)
    return as_action(space, _scaled(space, speed * np.clip(way, -1, 1)))


def _choices(n: int) -> Mapping[str, int]:
    """Key -> choice. A choice beyond the letters has a button only."""
    keys = {key: number for number, key in enumerate(_CHOICES[:n])}
    return keys | {f"button{number}": number for number in range(n)}


def _size(space: spaces.Box) -> int:
    return int(np.prod(space.shape))


def _beyond(axis: float, deadband: float) -> float:
    if not abs(axis) > deadband:  # a NaN is let go
        return 0.0
    return float(np.sign(axis)) * min(1.0, (abs(axis) - deadband) / (1 - deadband))


def _scaled(space: spaces.Box, way: NDArray[np.float64]) -> NDArray[np.float64]:
    """From -1..1 to the space, 0 at rest; a bound that is infinite is one away from rest."""
    low, high = (bound.astype(float).reshape(-1) for bound in (space.low, space.high))
    rest = np.clip(0.0, low, high)
    up = np.where(np.isfinite(high), high - rest, 1.0)
    down = np.where(np.isfinite(low), rest - low, 1.0)
    scaled: NDArray[np.float64] = rest + np.where(way > 0, way * up, way * down)
    return scaled
