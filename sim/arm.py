"""Arms that pick and place, simulated in PyBullet: the device, and the robot with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_client.errors import RobotError
from robot_client.robot import Action
from robot_client.robots.bins import Layout
from robot_client.robots.pick_place import ArmState, PickPlace
from sim.arm_model import ArmModel, rotation_vector
from sim.arm_world import ArmWorld, Things
from sim.engine import Engine
from sim.variation import Variation, World


class SimArm:
    """An `ArmDevice` in a physics engine of its own.

    Args:
        model, layout, things, string: as for `ArmWorld`.
        variation: how much the world differs from episode to episode.
    """

    def __init__(
        self,
        model: ArmModel,
        layout: Layout,
        things: Things,
        *,
        string: float = 0.0,
        variation: Variation | None = None,
    ) -> None:
        self._model, self._layout, self._things, self._string = model, layout, things, string
        self._variation = variation or Variation()
        self._drawn = World()  # of this episode
        self._earlier = 0.0  # s simulated in worlds before this one
        self._rng = np.random.default_rng()
        self._engine: Engine | None = None  # while connected
        self._world: ArmWorld | None = None  # since the first episode

    def connect(self) -> None:
        """Start a physics engine of its own."""
        if self._engine is None:
            self._engine = Engine()

    def begin(self, seed: int | None) -> None:
        """Build the world, with a seed or when there is none yet; else things lie as they lay."""
        if self._engine is None:
            raise RobotError("simulated arm: not connected")
        if seed is not None:
            self._rng = np.random.default_rng([seed, 1])  # not the numbers that the robot draws
        if seed is not None or self._world is None:
            self._earlier = self.seconds
            self._world = ArmWorld(
                self._engine, self._model, self._layout, self._things, self._string, self._rng
            )
        self._drawn = self._variation.draw(self._rng)
        self._world.vary(self._drawn)
        at, _ = self._world.tool()
        self._world.put_back(self._layout.side(float(at[0]), float(at[1])) or "left", self._rng)

    @property
    def seconds(self) -> float:
        """Simulated seconds since connect, whichever worlds they were spent in."""
        return self._earlier + (0.0 if self._world is None else self._world.seconds)

    @property
    def world(self) -> ArmWorld:
        """What no real arm knows. Raises RobotError before the first episode."""
        if self._world is None:
            raise RobotError("simulated arm: reset it first")
        return self._world

    def state(self) -> ArmState:
        """Measure, without noise."""
        position, orientation = self.world.tool()
        pose = np.concatenate([position, rotation_vector(orientation)])
        angles = self.world.angles()
        return ArmState(pose.astype(np.float32), angles.astype(np.float32), self.world.opening())

    def move(self, x: float, y: float, z: float) -> None:
        """Move the tool straight to a point, or as near as what is in the way allows."""
        self.world.move((x, y, z))

    def grip(self, opening: float) -> None:
        """Open (1) or close (0) the gripper."""
        self.world.grip(opening)

    def picture(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """What the robot's camera sees, (64, 64, 3), and distances (64, 64) in m."""
        return self._see(self._model.camera.pixels)

    def large_picture(self, pixels: int) -> NDArray[np.uint8]:
        """(H, W, 3), the same with more detail."""
        return self._see(pixels)[0]

    def stop(self) -> None:
        """Nothing moves between two calls."""

    def close(self) -> None:
        """Stop the physics engine."""
        if self._engine is not None:
            self._engine.disconnect()
        self._engine = self._world = None
        self._earlier = 0.0

    def _see(self, pixels: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        camera = replace(self._model.camera, pixels=pixels)
        return camera.picture(self.world.engine, self._drawn.light(self.seconds))


class SimPickPlace(PickPlace):
    """`PickPlace` with a simulated arm, whose world goes on for a whole control period a step.

    A step in which the arm moves for longer than its period takes longer, as on a real one.

    Args:
        arm: the device.
        layout: of the bins.
        name: of the task.
        options: further ones of `PickPlace`.
    """

    blend_steps = 0  # a simulation: a jump can hurt nobody

    def __init__(self, arm: SimArm, layout: Layout, name: str, **options: Any) -> None:
        super().__init__(arm, layout, name, **options)
        self.arm = arm

    def apply(self, action: Action) -> Action:
        """Do the action, then let the rest of the control period pass."""
        begun = self.arm.world.seconds
        sent = super().apply(action)
        self.arm.world.wait_until(begun + 1 / self.control_hz)
        return sent

    def hold(self) -> Action:
        """Stand for a control period."""
        self.arm.world.wait_until(self.arm.world.seconds + 1 / self.control_hz)
        return super().hold()

    def picture(self, pixels: int = 256) -> NDArray[np.uint8]:
        """(H, W, 3) what the camera sees, for people."""
        return self.arm.large_picture(pixels)
