"""A Universal Robots UR5 over RTDE, with a Robotiq 2F-85 and a RealSense, that picks and places.

The hardware of which `sim.ur5` is the twin: the same `PickPlace`, rate and spaces.

Written against ur_rtde 1.6 (`rtde_control`, `rtde_receive`). Tested with stand-ins for both, and
for the gripper with a socket server that speaks its protocol. Nothing here has moved a real arm:
begin with a hand on the emergency stop, the speed slider low and the bins empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_client.clock import Clock, SystemClock
from robot_client.errors import RobotError
from robot_client.robots.bins import Bin, Layout
from robot_client.robots.driven_arm import ACCELERATION, SPEED, DrivenArm, DrivenPickPlace, Eye
from robot_client.robots.hardware import load_sdk, release
from robot_client.robots.pick_place import PIXELS
from robot_client.robots.realsense import RealSense
from robot_client.robots.robotiq import Robotiq

CONTROL_HZ = 2.0
JOINTS = 6
TASK = "ur5-pick-place"
PACKAGE = "ur_rtde"

# Of the twin, whose spaces are declared with it. Real bins must be measured.
LAYOUT = Layout(
    left=Bin(x=0.36, y=0.11, columns=6, rows=5),
    right=Bin(x=0.36, y=-0.27, columns=6, rows=5),
    low=0.028,
    hover=0.16,
)

STOPPING = 2.0  # m/s^2 of the tool
MOVING = 0.005  # m/s: faster than this the tool moves
RUNNING = 7  # robot mode (RTDE guide)
SAFE = (1, 2)  # safety modes: normal, reduced
SAFETY = {
    3: "protective stop",
    4: "recovery mode",
    5: "safeguard stop",
    6: "emergency stop of the system",
    7: "emergency stop of the robot",
    8: "violation of a safety limit",
    9: "fault of the safety system",
}


class Ur5(DrivenPickPlace):
    """A UR5 with two bins. Spaces, actions and rewards: `PickPlace`, without depth image.

    The tool frame (TCP) set on the controller must lie between the finger tips. A protective stop
    is a RobotError, and stays one until somebody has unlocked it on the pendant.

    Args:
        host: address of the controller, which must be in remote control.
        layout: where the bins are in the arm's base frame, measured: fields of `Layout`, and of
            `Bin` in it. Without it nothing is connected.
        camera: serial number of the RealSense; None takes the first one.
        speed, acceleration: of the tool (m/s, m/s^2).
        gripper: what the 2F-85 reads fully open and fully closed, with nothing between its fingers.
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
        camera: str | None = None,
        speed: float = SPEED,
        acceleration: float = ACCELERATION,
        gripper: Sequence[int] = (3, 228),
        start: str = "left",
        clock: Clock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        opened, closed = gripper
        fingers = Robotiq(host, clock, opened=opened, closed=closed)
        arm = Ur5Arm(
            host,
            fingers,
            RealSense(PIXELS, camera),
            speed=speed,
            acceleration=acceleration,
            clock=clock,
        )
        forms = {"control_hz": CONTROL_HZ, "joints": JOINTS, "sweep": True}
        super().__init__(arm, layout, LAYOUT, TASK, start=start, **forms)


class Ur5Arm(DrivenArm):
    """The arm, by RTDE.

    Args:
        host: address of the controller.
        gripper: on its tool.
        eye, options: as for `DrivenArm`.
    """

    def __init__(self, host: str, gripper: Robotiq, eye: Eye, **options: Any) -> None:
        super().__init__("UR5", host, eye, **options)
        self._gripper = gripper
        self._control: Any = None
        self._receive: Any = None

    def _open(self) -> None:
        """What is wrong with the arm is told before a script is sent to it."""
        receive = load_sdk("rtde_receive", PACKAGE)
        control = load_sdk("rtde_control", PACKAGE)
        self._receive = receive.RTDEReceiveInterface(self._host)
        self._check_arm()
        self._control = control.RTDEControlInterface(self._host)
        self._gripper.connect()

    def _shut(self) -> None:
        control, self._control = self._control, None
        receive, self._receive = self._receive, None
        parts = [self._gripper.close]
        if control is not None:
            parts += [control.stopScript, control.disconnect]
        if receive is not None:
            parts += [receive.disconnect]
        release("UR5", parts)

    def _check(self) -> None:
        self._check_arm()
        if not self._control.isProgramRunning():
            raise self._meddling("its script was ended or paused, as on the pendant")
        self._gripper.check()

    def _check_arm(self) -> None:
        if self._receive is None or not self._receive.isConnected():
            raise RobotError("UR5: no connection to the controller")
        safety = self._receive.getSafetyMode()
        if safety not in SAFE:
            why = SAFETY.get(safety, f"safety mode {safety}")
            raise RobotError(f"UR5: {why}: see why, and clear it on the pendant")
        mode = self._receive.getRobotMode()
        if mode != RUNNING:
            raise RobotError(f"UR5: robot mode {mode}, expected {RUNNING}: switch it on")

    def _ready(self) -> None:
        """A stop of ours leaves the script running."""

    def _pose(self) -> NDArray[np.float64]:
        return np.array(self._receive.getActualTCPPose(), np.float64)

    def _joints(self) -> NDArray[np.float64]:
        return np.array(self._receive.getActualQ(), np.float64)

    def _opening(self) -> float:
        return self._gripper.opening()

    def _go(self, pose: NDArray[np.float64]) -> None:
        target = pose.tolist()
        if not self._control.isPoseWithinSafetyLimits(target):
            raise RobotError(f"UR5: {target} is out of its reach or its safety limits")
        if not self._control.moveL(target, self._speed, self._acceleration, True):
            raise RobotError(f"UR5: the controller refused to move to {target}")

    def _moving(self) -> bool:
        speed = np.linalg.norm(np.array(self._receive.getActualTCPSpeed())[:3])
        return bool(speed > MOVING)

    def _squeeze(self, opening: float) -> None:
        self._gripper.squeeze(opening)

    def _gripped(self) -> bool:
        return self._gripper.still()

    def _halt(self) -> None:
        if self._control is not None:
            self._control.stopL(STOPPING)
