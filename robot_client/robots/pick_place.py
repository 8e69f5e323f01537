"""Pick and place between two bins, with any arm: DayDreamer's task for the UR5 and the XArm.

Wu et al. 2022: objects must be moved from one bin to the other, seen by one camera, rewarded for a
grasp and for the other bin only, and nobody tidies up between episodes. The whole task is here, so
that a real arm and its simulated twin are one robot with another `ArmDevice`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.errors import RobotError, SchemaError
from robot_client.robot import Action, Reading, as_action
from robot_client.robots.bins import Cell, Layout, Point, Side, other
from robot_client.schema import Task

PIXELS = 64
REACH = 5.0  # m: no arm for this task has more
TURN = 10.0  # rad: joints turn by up to 2 pi, rotation vectors by 3/2 pi
EPISODE_STEPS = 100
STEPS: tuple[Cell, ...] = ((1, 0), (-1, 0), (0, 1), (0, -1))  # cells, of the actions 0 to 3
GRIP, LIFT = 4, 5  # the other two actions
CLOSED, OPEN = 0.015, 0.985  # a gripper between them holds something
GRASP_REWARD, PLACE_REWARD, DROP_REWARD = 1.0, 10.0, -1.0
SIDES = (None, "left", "right")  # order of the one-hot vectors


@dataclass(frozen=True)
class ArmState:
    """What an arm measures of itself.

    Args:
        pose: (6,) float32: position of the tool in m, rotation vector in rad.
        joints: (N,) float32 rad.
        opening: of the gripper, from 0, closed, to 1, open.
    """

    pose: NDArray[np.float32]
    joints: NDArray[np.float32]
    opening: float


class ArmDevice(Protocol):
    """An arm with a gripper that points down and a camera. All may raise RobotError but `stop`.

    The caller has checked every point against its `Layout`; a device adds its own limits, and
    refuses what passes them before anything moves.
    """

    def connect(self) -> None:
        """Open the device."""
        ...

    def begin(self, seed: int | None) -> None:
        """An episode begins, and motion is allowed again after a `stop`.

        With a seed a simulation builds its world anew; without one, and on hardware, all things
        stay where they are.
        """
        ...

    def state(self) -> ArmState:
        """Measure."""
        ...

    def move(self, x: float, y: float, z: float) -> None:
        """Move the tool (m) straight to a point, and wait until it is there. RobotError if not."""
        ...

    def grip(self, opening: float) -> None:
        """Open (1) or close (0) the gripper, and wait until it has stopped or holds something."""
        ...

    def picture(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Colours (64, 64, 3) and distances (64, 64) in m, 0 where none was measured."""
        ...

    def stop(self) -> None:
        """Halt at once. From any thread, at any time, never raising; a move under way raises."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


@dataclass(frozen=True)
class DepthBand:
    """The distances (m) that become 0 and 255 in the depth image; beyond them it saturates.

    Raises SchemaError unless 0 <= near < far.
    """

    near: float
    far: float

    def __post_init__(self) -> None:
        if not 0 <= self.near < self.far < math.inf:
            raise SchemaError("depth", "0 <= near < far", (self.near, self.far))

    def image(self, metres: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(H, W) m -> (H, W, 1) uint8; where nothing was measured, as far as can be."""
        known = np.where(np.isfinite(metres) & (metres > 0), metres, self.far)
        share = (np.clip(known, self.near, self.far) - self.near) / (self.far - self.near)
        return np.round(share * 255).astype(np.uint8)[..., None]


class PickPlace:
    """Two bins, a gripper, six actions: +x, -x, +y, -y by a cell; toggle gripper; toggle height.

    Height: hovering, the arm goes down; low, it goes up only if it holds something, by way of the
    nearest cell within the inner limits. A step out of the limits does nothing (`info["blocked"]`),
    but towards the other bin an arm that holds something and hovers crosses. There it lets go, goes
    down and to a random cell. Whether it holds something is told by the opening of the gripper
    alone: 0.015 < opening < 0.985.

    Rewards: +1 for a new grasp, +10 for something held that reaches the other bin, -1 for letting
    it go, or losing it, in the bin where it was grasped; else 0. Episodes last 100 steps and never
    end in success or failure. A reset opens the gripper, goes to the bin with the object last held,
    and low to a random cell; things lie where they were left.

    Observations, uint8 for pictures and else float32:
        image         (64, 64, 3): the camera
        depth         (64, 64, 1), with a depth band: near is 0 and far 255
        cartesian     (6,): pose of the tool, m and rad
        joints        (N,): rad
        gripper       (1,): opening, 0 to 1
        gripper_side  (3,): one-hot of between the bins, over the left, over the right one
        grasped_side  (3,): one-hot of nothing held, grasped in the left, in the right one

    Args:
        device: the arm, not connected yet.
        layout: where it may be. Every move is checked against it: nothing is clipped, and a point
            outside raises RobotError before the arm moves.
        name: of the task.
        control_hz: steps per second.
        joints: number of the arm's joints.
        depth: band of the depth image; None: no depth image.
        sweep: whether a reset drives the open gripper through the bin's corners, to free objects.
        start: the bin with the objects when the robot is connected.
    """

    def __init__(
        self,
        device: ArmDevice,
        layout: Layout,
        name: str,
        *,
        control_hz: float,
        joints: int,
        depth: DepthBand | None = None,
        sweep: bool = False,
        start: Side = "left",
    ) -> None:
        self.observation_space = _spaces(joints, depth is not None)
        self.action_space = spaces.Discrete(6)
        self.control_hz = control_hz
        self.task = Task(name, EPISODE_STEPS)
        self.layout = layout
        self._device, self._depth, self._sweep, self._start = device, depth, sweep, start
        self._rng = np.random.default_rng()
        self._objects: Side = start  # the bin to return to
        self._grasped: Side | None = None  # where what is held comes from
        self._at: Point | None = None  # where the tool was sent last; None: reset first
        self._reward, self._blocked = 0.0, False
        self._reading: Reading | None = None

    def connect(self) -> None:
        """Open the device."""
        self._device.connect()

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode. With a seed, and in simulation, it depends on nothing of before.

        Raises RobotError when the tool is not over a bin: bring it there by hand.
        """
        self._at = self._reading = None
        if seed is not None:
            self._rng = np.random.default_rng(seed)
            self._objects = self._start
        self._device.begin(seed)
        pose = self._device.state().pose
        x, y, z = (float(number) for number in pose[:3])
        self.layout.check((x, y, z), (x, y, z))
        self._at = (x, y, z)
        self._grasped, self._reward, self._blocked = None, 0.0, False
        self._device.grip(1.0)
        if self._side() != self._objects:
            self._lift()
            self._cross()
        self._lower()
        if self._sweep:
            self._visit_corners()
        self._wander()

    def apply(self, action: Action) -> Action:
        """Do one of the six actions and wait for it. Raises RobotError for anything else."""
        if self._at is None:
            raise RobotError(f"{self.task.name}: reset it first")
        if np.shape(action) != () or not np.isin(action, range(6)):
            raise RobotError(f"{self.task.name}: expected a whole number of 0 to 5, got {action!r}")
        number = int(action)
        self._reading, self._reward, self._blocked = None, 0.0, False
        if number < len(STEPS):
            self._step(STEPS[number])
        elif number == GRIP:
            self._toggle_gripper()
        else:
            self._toggle_height()
        self._settle()
        return as_action(self.action_space, action)

    def hold(self) -> Action:
        """Stand, as the arm does between actions, and earn nothing.

        No action amounts to that: 0, as without `hold`. But without it a hold would be a `stop`,
        and the next action need a reset.
        """
        self._reading, self._reward, self._blocked = None, 0.0, False
        return as_action(self.action_space, 0)

    def observe(self) -> Reading:
        """The state after the last action or hold, with the reward that it brought."""
        if self._at is None:
            raise RobotError(f"{self.task.name}: reset it first")
        if self._reading is None:
            info = {"blocked": self._blocked, "holding": self._grasped is not None}
            self._reading = Reading(self._obs(), self._reward, info=info)
        return self._reading

    def stop(self) -> None:
        """Halt the arm where it is."""
        self._device.stop()

    def close(self) -> None:
        """Release the device."""
        self._at = self._reading = None
        self._device.close()

    def _step(self, step: Cell) -> None:
        """One cell on, across to the other bin, or nowhere."""
        side, cell = self._side(), self._cell()
        goal = (cell[0] + step[0], cell[1] + step[1])
        towards = (0, -1) if side == "left" else (0, 1)
        if goal in self.layout.cells(side, inner=self._hovers()):
            self._go(self.layout.point(side, goal, self._here()[2]))
        elif step == towards and self._hovers() and self._holds():
            self._deliver()
        else:
            self._blocked = True

    def _deliver(self) -> None:
        """Cross with what is held; if it is still held there, that is success."""
        self._cross()
        if self._holds():
            self._reward += PLACE_REWARD
            self._objects, self._grasped = self._side(), None
        self._device.grip(1.0)
        self._lower()
        self._wander()

    def _toggle_gripper(self) -> None:
        if self._device.state().opening > OPEN:
            self._device.grip(0.0)
            if self._holds():
                self._grasped = self._objects = self._side()
                self._reward += GRASP_REWARD
        else:
            self._device.grip(1.0)

    def _toggle_height(self) -> None:
        if self._hovers():
            self._lower()
        elif self._grasped is not None:
            self._lift()
        else:
            self._blocked = True

    def _settle(self) -> None:
        """Note what was let go or lost in this step."""
        if self._grasped is not None and not self._holds():
            if self._side() == self._grasped:
                self._reward += DROP_REWARD
            self._grasped = None

    def _lift(self) -> None:
        """To the nearest cell within the inner limits, then up."""
        x, y, z = self._here()
        cell = self.layout.nearest(self._side(), x, y, inner=True)
        self._go(self.layout.point(self._side(), cell, z))
        self._go(self.layout.point(self._side(), cell, self.layout.hover))

    def _lower(self) -> None:
        x, y, _ = self._here()
        self._go((x, y, self.layout.low))

    def _cross(self) -> None:
        """Hovering, to the nearest cell within the inner limits of the other bin."""
        x, y, z = self._here()
        side = other(self._side())
        self._go(self.layout.point(side, self.layout.nearest(side, x, y, inner=True), z))

    def _visit_corners(self) -> None:
        side = self._side()
        (left, bottom), (right, top) = self.layout.limits(side, inner=False)
        for x, y in ((left, bottom), (left, top), (right, top), (right, bottom)):
            self._go((float(x), float(y), self.layout.low))

    def _wander(self) -> None:
        """Low, to a cell drawn at random."""
        cells = self.layout.cells(self._side(), inner=False)
        cell = cells[int(self._rng.integers(len(cells)))]
        self._go(self.layout.point(self._side(), cell, self.layout.low))

    def _go(self, goal: Point) -> None:
        """The only place from which the arm is moved; after a failure only a reset may follow."""
        self.layout.check(self._here(), goal)
        self._at = None
        self._device.move(*goal)
        self._at = goal

    def _here(self) -> Point:
        assert self._at is not None
        return self._at

    def _side(self) -> Side:
        side = self.layout.side(*self._here()[:2])
        assert side is not None, self._at
        return side

    def _cell(self) -> Cell:
        x, y, _ = self._here()
        return self.layout.nearest(self._side(), x, y, inner=False)

    def _hovers(self) -> bool:
        return self._here()[2] > (self.layout.low + self.layout.hover) / 2

    def _holds(self) -> bool:
        return CLOSED < self._device.state().opening < OPEN

    def _obs(self) -> dict[str, NDArray[Any]]:
        state = self._device.state()
        image, metres = self._device.picture()
        x, y = (float(number) for number in state.pose[:2])
        obs: dict[str, NDArray[Any]] = {
            "image": image,
            "cartesian": _steady(state.pose),
            "joints": state.joints,
            "gripper": np.clip([state.opening], 0, 1).astype(np.float32),
            "gripper_side": _one_hot(self.layout.side(x, y)),
            "grasped_side": _one_hot(self._grasped),
        }
        if self._depth is not None:
            obs["depth"] = self._depth.image(metres)
        return obs


def _steady(pose: NDArray[np.float32]) -> NDArray[np.float32]:
    """The one of two equal rotation vectors whose greatest part is positive.

    A tool that points down has turned by about half a turn, where measurements jump between them.
    """
    turn = pose[3:].astype(float)
    angle = np.linalg.norm(turn)
    if angle > np.pi / 2 and turn[np.abs(turn).argmax()] < 0:
        turn *= 1 - 2 * np.pi / angle
    return np.concatenate([pose[:3], turn]).astype(np.float32)


def _one_hot(side: Side | None) -> NDArray[np.float32]:
    hot = np.zeros(len(SIDES), np.float32)
    hot[SIDES.index(side)] = 1
    return hot


def _spaces(joints: int, depth: bool) -> spaces.Dict:
    limits = {"cartesian": [REACH] * 3 + [TURN] * 3, "joints": [TURN] * joints}
    shares = {"gripper": 1, "gripper_side": 3, "grasped_side": 3}
    layers = {"image": 3, "depth": 1} if depth else {"image": 3}
    found: dict[str, spaces.Space[Any]] = {}
    for key, n in layers.items():
        found[key] = spaces.Box(0, 255, (PIXELS, PIXELS, n), np.uint8)
    for key, limit in limits.items():
        high = np.array(limit, np.float32)
        found[key] = spaces.Box(-high, high, dtype=np.float32)
    for key, n in shares.items():
        found[key] = spaces.Box(0.0, 1.0, (n,), np.float32)
    return spaces.Dict(found)
