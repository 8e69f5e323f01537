"""The twelve joints of the A1: their order, ranges, and what an action means for them.

Legs come in the order front right, front left, rear right, rear left; of each leg the hip (outwards
and inwards), the upper leg (forwards and backwards) and the knee. Arrays (12,) are in this order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Joints = NDArray[np.float64]

LEGS = ("FR", "FL", "RR", "RL")
NAMES = tuple(f"{leg}_{part}_joint" for leg in LEGS for part in ("hip", "upper", "lower"))

LOW: Joints = np.radians(np.tile([-46.0, -60.0, -154.5], 4))  # rad, of the motors
HIGH: Joints = np.radians(np.tile([46.0, 240.0, -52.5], 4))  # rad

# Shares of the motors' range between which an action of -1 and of 1 lies, as DayDreamer has them.
_FIRST: Joints = np.tile([0.01, 0.01, 0.01], 4)
_LAST: Joints = np.tile([0.99, 0.90, 0.60], 4)
_BOTTOM, _TOP = LOW + _FIRST * (HIGH - LOW), LOW + _LAST * (HIGH - LOW)

STANDING: Joints = np.tile([0.0, -0.2, 1.0], 4)  # as an action


def angles(action: NDArray[np.floating[Any]]) -> Joints:
    """The joint angles (12,) in rad that an action (12,) in [-1, 1] asks for."""
    return _BOTTOM + (np.asarray(action, np.float64) + 1) / 2 * (_TOP - _BOTTOM)


def as_action(joints: Joints) -> Joints:
    """Inverse of `angles`; outside [-1, 1] where no action can ask for the angle."""
    return 2 * (np.asarray(joints, np.float64) - _BOTTOM) / (_TOP - _BOTTOM) - 1
