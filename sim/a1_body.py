"""The A1's body in the engine: loading, low-level control of the joints at 1 kHz, and its state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.a1_joints import HIGH, LOW, NAMES, Joints
from sim.a1_urdf import EFFORT, load
from sim.engine import Engine, Vector
from sim.variation import World

PHYSICS_HZ = 1000
KP = 100.0  # N m / rad
KD: Joints = np.tile([1.0, 2.0, 2.0], 4)  # N m s / rad
REACH = 0.2  # rad: no command is farther from the measured angle
FRICTION = 0.8  # of rubber on the ground; the body's shells slide as little

TRUNK_COLOUR = (1.0, 0.45, 0.1, 1.0)
FRONT_COLOUR = (0.25, 0.45, 0.9, 1.0)
REAR_COLOUR = (0.3, 0.3, 0.35, 1.0)

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """Where the body is and how it moves.

    Args:
        position: (3,) of the base in m.
        rotation: (3, 3), its columns are the base's axes in the world.
        velocity: (3,) of the base in the world, m/s.
        spin: (3,) of the base about its own axes, rad/s.
        joints: (12,) rad.
    """

    position: Numbers
    rotation: Numbers
    velocity: Numbers
    spin: Numbers
    joints: Joints

    @property
    def tilt(self) -> tuple[float, float]:
        """Roll in [-pi, pi] and pitch in [-pi/2, pi/2], rad."""
        right, ahead = self.rotation[2, 1], self.rotation[2, 0]
        roll = np.arctan2(right, self.rotation[2, 2])
        return float(roll), float(np.arcsin(np.clip(-ahead, -1, 1)))


class Body:
    """One A1, newly put into a world whose time step is 1 / PHYSICS_HZ."""

    def __init__(self, world: Engine) -> None:
        self._world, self._body = world, load(world)
        names = {
            world.getJointInfo(self._body, j)[1].decode(): j
            for j in range(world.getNumJoints(self._body))
        }
        self._joints = [names[name] for name in NAMES]
        self._links = [-1, *self._joints]
        self._inertias = [self._inertia(link) for link in self._links]
        # The engine tells the pose of the base's principal axes of inertia, 0.7 degrees askew.
        self._axes = world.getDynamicsInfo(self._body, -1)[3:5]
        self._disable_motors()
        self._paint()

    def vary(self, drawn: World) -> None:
        """Give it the masses and the friction of a world."""
        for link, (mass, inertia) in zip(self._links, self._inertias, strict=True):
            # Given a mass alone, the engine would guess the inertia from the link's shape.
            self._world.changeDynamics(
                self._body,
                link,
                mass=mass * drawn.mass,
                localInertiaDiagonal=[part * drawn.mass for part in inertia],
                lateralFriction=FRICTION * drawn.friction,
            )

    def place(self, position: Vector, orientation: tuple[float, ...], joints: Joints) -> None:
        """Put it somewhere at rest; orientation as a quaternion x, y, z, w."""
        world, body = self._world, self._body
        axes = world.multiplyTransforms(position, orientation, *self._axes)
        world.resetBasePositionAndOrientation(body, *axes)
        world.resetBaseVelocity(body, [0, 0, 0], [0, 0, 0])
        for joint, angle in zip(self._joints, joints, strict=True):
            world.resetJointState(body, joint, angle)

    def carry(self, by: Vector) -> None:
        """Move it by so much (m) as it is: its pose and all velocities stay."""
        world, body = self._world, self._body
        position, orientation = world.getBasePositionAndOrientation(body)
        velocity, spin = world.getBaseVelocity(body)
        place = [a + b for a, b in zip(position, by, strict=True)]
        world.resetBasePositionAndOrientation(body, place, orientation)
        world.resetBaseVelocity(body, velocity, spin)

    def drive(self, start: Joints, goal: Joints, ticks: int, push: Numbers | None = None) -> None:
        """Lead the joints from one target to another on straight lines, by torques alone.

        Args:
            start, goal: (12,) rad; the first command is one step away from `start`.
            ticks: steps of the engine.
            push: (3,) force in the world on the base meanwhile, N.
        """
        world, body, joints = self._world, self._body, self._joints
        shares = np.arange(1, ticks + 1)[:, None] / ticks
        for target in start + shares * (goal - start):
            found = world.getJointStates(body, joints)
            torque = torques(
                target, np.array([s[0] for s in found]), np.array([s[1] for s in found])
            )
            world.setJointMotorControlArray(
                body, joints, world.TORQUE_CONTROL, forces=torque.tolist()
            )
            if push is not None:  # the engine forgets a force after each step
                place = world.getBasePositionAndOrientation(body)[0]
                world.applyExternalForce(body, -1, push.tolist(), place, world.WORLD_FRAME)
            world.stepSimulation()

    def joints(self) -> Joints:
        """(12,) angles in rad."""
        return np.array([s[0] for s in self._world.getJointStates(self._body, self._joints)])

    def state(self) -> State:
        """Now."""
        world = self._world
        position, orientation = world.multiplyTransforms(
            *world.getBasePositionAndOrientation(self._body), *world.invertTransform(*self._axes)
        )
        velocity, spin = world.getBaseVelocity(self._body)
        rotation = np.array(world.getMatrixFromQuaternion(orientation)).reshape(3, 3)
        own = rotation.T @ np.array(spin)
        return State(np.array(position), rotation, np.array(velocity), own, self.joints())

    def _inertia(self, link: int) -> tuple[float, Vector]:
        """Mass and principal moments of inertia."""
        found = self._world.getDynamicsInfo(self._body, link)
        return found[0], found[2]

    def _disable_motors(self) -> None:
        """The engine's own motors would brake every joint; and there is no air resistance."""
        world = self._world
        none = [0.0] * len(self._joints)
        world.setJointMotorControlArray(
            self._body, self._joints, world.VELOCITY_CONTROL, forces=none
        )
        world.changeDynamics(self._body, -1, linearDamping=0.0, angularDamping=0.0)

    def _paint(self) -> None:
        """The front legs look different from the rear ones: the body itself has no face."""
        self._world.changeVisualShape(self._body, -1, rgbaColor=TRUNK_COLOUR)
        for joint, name in zip(self._joints, NAMES, strict=True):
            colour = FRONT_COLOUR if name.startswith("F") else REAR_COLOUR
            self._world.changeVisualShape(self._body, joint, rgbaColor=colour)


def torques(target: Joints, angle: Joints, rate: Joints) -> Joints:
    """(12,) N m of the motors for a target, by angles in rad and their rates in rad/s.

    The command is the target within `REACH` of the measured angle and within the joint's limits.
    """
    command = np.minimum(np.maximum(target, angle - REACH), angle + REACH)
    command = np.minimum(np.maximum(command, LOW), HIGH)
    wanted: Joints = KP * (command - angle) - KD * rate
    return np.minimum(np.maximum(wanted, -EFFORT), EFFORT)
