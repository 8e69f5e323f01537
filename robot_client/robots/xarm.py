"""A UFACTORY xArm with its gripper and a RealSense camera, picking and placing.

The hardware of which `sim.xarm` is the twin: the same `PickPlace`, rate and spaces.

Written against xarm-python-sdk 1.18 (`xarm.wrapper.XArmAPI`), whose calls return a code that is 0
when all is well; here anything else is a RobotError. Tested with a stand-in for it. Nothing here
has moved a real arm: begin with a hand on the emergency stop, slowly, and with the bins empty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_client.clock import Clock
from robot_client.errors import RobotError
from robot_client.robots.bins import Bin, Layout
from robot_client.robots.driven_arm import ACCELERATION, SPEED, DrivenArm, DrivenPickPlace, Eye
from robot_client.robots.hardware import load_sdk
from robot_client.robots.pick_place import PIXELS, DepthBand
from robot_client.robots.realsense import RealSense

CONTROL_HZ = 0.5
JOINTS = 6
TASK = "xarm-pick-place"
PACKAGE = "xarm-python-sdk"
DEPTH = (0.5, 1.2)  # m, band of the depth image

# Of the twin, whose spaces are declared with it. Real bins must be measured.
LAYOUT = Layout(
    left=Bin(x=0.34, y=0.11, columns=5, rows=5),
    right=Bin(x=0.34, y=-0.27, columns=5, rows=5),
    low=0.028,
    hover=0.16,
)

MM = 1000.0  # in a metre
POSITION_MODE = 0
READY, HALT = 0, 4  # what set_state asks for
MOVING, PAUSED = 1, 3  # what get_state answers; above: stopped
OPENED = 850  # pulses of the gripper; closed is 0
GRIPPER_SPEED = 2000  # r/min of at most 5000
GRIPPER_THERE = 8  # pulses from where it was sent
GRIPPER_STILL_S = 0.5  # without motion: it holds something


class XArm(DrivenPickPlace):
    """An xArm with two bins. Spaces, actions and rewards: `PickPlace`, with depth image.

    The tool frame (TCP) set on the controller must lie between the finger tips. An error of the
    controller is a RobotError, and stays one until somebody has cleared it in UFACTORY Studio.

    Args:
        host: address of the controller.
        layout: where the bins are in the arm's base frame, measured: fields of `Layout`, and of
            `Bin` in it. Without it nothing is connected.
        joints: of the arm: 6, as its twin has, or 5 or 7.
        camera: serial number of the RealSense; None takes the first one.
        depth: distances (m) from the camera that are 0 and 255 in the depth image.
        speed, acceleration: of the tool (m/s, m/s^2).
        start: the bin with the objects at first.
        clock: paces the waiting.

    Raises:
        SchemaError: an option makes no sense.
    """

    def __init__(
        self,
        host: str = "",
        layout: Mapping[str, Any] | None = None,
        *,
        joints: int = JOINTS,
        camera: str | None = None,
        depth: tuple[float, float] = DEPTH,
        speed: float = SPEED,
        acceleration: float = ACCELERATION,
        start: str = "left",
        clock: Clock | None = None,
    ) -> None:
        arm = XArmDevice(
            host,
            joints,
            RealSense(PIXELS, camera),
            speed=speed,
            acceleration=acceleration,
            clock=clock,
        )
        forms = {"control_hz": CONTROL_HZ, "joints": joints, "depth": DepthBand(*depth)}
        super().__init__(arm, layout, LAYOUT, TASK, start=start, **forms)


class XArmDevice(DrivenArm):
    """The arm and its gripper, by UFACTORY's SDK.

    Args:
        host: address of the controller.
        joints: that the arm must have.
        eye, options: as for `DrivenArm`.
    """

    def __init__(self, host: str, joints: int, eye: Eye, **options: Any) -> None:
        super().__init__("xArm", host, eye, **options)
        self._axes = joints
        self._arm: Any = None
        self._asked, self._seen, self._since = 0, 0.0, 0.0  # of the gripper: pulses, pulses, s

    def _open(self) -> None:
        """An arm in error is told of before anything is enabled."""
        sdk = load_sdk("xarm.wrapper", PACKAGE)
        # A paused arm must make no call wait for ever.
        self._arm = sdk.XArmAPI(self._host, is_radian=True, check_is_pause=False)
        self._check()
        if self._arm.axis != self._axes:
            raise RobotError(f"xArm: joints: expected {self._arm.axis}, got {self._axes}")
        self._refuse_paused()
        self._do("motion_enable", True)
        self._do("set_mode", POSITION_MODE)
        self._do("set_state", READY)
        self._do("set_gripper_mode", POSITION_MODE)
        self._do("set_gripper_enable", True)
        self._do("set_gripper_speed", GRIPPER_SPEED)

    def _shut(self) -> None:
        arm, self._arm = self._arm, None
        if arm is not None:
            arm.disconnect()

    def _check(self) -> None:
        if self._arm is None or not self._arm.connected:
            raise RobotError("xArm: no connection to the controller")
        error, _ = self._get("get_err_warn_code")
        if error:
            raise RobotError(f"xArm: error {error}: see why, and clear it in UFACTORY Studio")

    def _ready(self) -> None:
        self._refuse_paused()
        self._do("set_state", READY)

    def _refuse_paused(self) -> None:
        """It would go on along the way on which somebody paused it."""
        if self._get("get_state") == PAUSED:
            raise RobotError("xArm: paused: see why, and end that in UFACTORY Studio")

    def _pose(self) -> NDArray[np.float64]:
        pose = np.array(self._get("get_position_aa", is_radian=True), np.float64)
        pose[:3] /= MM
        return pose

    def _joints(self) -> NDArray[np.float64]:
        angles = self._get("get_servo_angle", is_radian=True)
        return np.array(angles[: self._axes], np.float64)

    def _opening(self) -> float:
        return float(np.clip(self._get("get_gripper_position") / OPENED, 0, 1))

    def _go(self, pose: NDArray[np.float64]) -> None:
        target = [*(pose[:3] * MM).tolist(), *pose[3:].tolist()]
        speed, acceleration = self._speed * MM, self._acceleration * MM
        self._do("set_position_aa", target, speed=speed, mvacc=acceleration, is_radian=True)

    def _moving(self) -> bool:
        state = self._get("get_state")
        if state >= PAUSED:
            raise self._meddling(f"it was halted by somebody else: state {state}")
        return bool(state == MOVING)

    def _squeeze(self, opening: float) -> None:
        self._asked = round(min(max(opening, 0.0), 1.0) * OPENED)
        self._seen, self._since = math.inf, self._clock.monotonic()
        self._do("set_gripper_position", self._asked)

    def _gripped(self) -> bool:
        """Where it was sent, or at rest for a while: not all of them tell that they hold."""
        position, now = float(self._get("get_gripper_position")), self._clock.monotonic()
        if position != self._seen:
            self._seen, self._since = position, now
        there = abs(position - self._asked) <= GRIPPER_THERE
        return there or now - self._since >= GRIPPER_STILL_S

    def _halt(self) -> None:
        if self._arm is not None:
            self._do("set_state", HALT)

    def _do(self, call: str, *values: Any, **options: Any) -> None:
        """A call that returns a code."""
        code = getattr(self._arm, call)(*values, **options)
        if code != 0:
            raise RobotError(f"xArm: {call}: code {code} (xarm_api_code.md of the SDK)")

    def _get(self, call: str, **options: Any) -> Any:
        """A call that returns a code and what was asked for."""
        code, value = getattr(self._arm, call)(**options)
        if code != 0:
            raise RobotError(f"xArm: {call}: code {code} (xarm_api_code.md of the SDK)")
        return value
