"""A world with an arm, two bins and things to grasp, in PyBullet: how it is built and moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from robot_client.robots.bins import Layout, Point, Side
from sim.arm_model import (
    CLOSING_FORCE,
    FINGERS,
    OPENING_FORCE,
    STROKE,
    TOOL,
    ArmModel,
    joints,
    load_arm,
)
from sim.bins import build_bins, inside
from sim.engine import Engine, empty
from sim.variation import World

PHYSICS_HZ = 240
AIM_EVERY = 4  # physics steps between two points of a way
SETTLE_STEPS = 12  # after the last of them
LEAST_STEPS = 24  # of a move, however short
GRIP_STEPS = 90  # a whole stroke takes about 70
FINGER_SPEED = 0.15  # m/s
GAIN = 0.4  # share of a joint's error that its motor corrects in a physics step
GRIP_FRICTION = 1.5  # of the fingers; with a thing's own it is multiplied
DOWN = (1.0, 0.0, 0.0, 0.0)  # orientation of the tool: half a turn about x
DROP_HEIGHT = 0.05  # m above the floor, from where things are put into a bin
SETTLING_S = 0.5  # that they get to come to rest
STRING_STIFFNESS = 40.0  # N/m
STRING_DAMPING = 0.5  # N s/m

AddThing = Callable[[Engine, Point], int]  # makes a thing at a point; returns its body
Things = Mapping[Side, Sequence[AddThing]]  # what lies in each bin at first


class ArmWorld:
    """The world of one episode and those that follow it without being built anew.

    The joints have position motors with the efforts of the model. Fingers hold by friction alone.

    Args:
        engine: is emptied.
        model, layout, things: of what it consists.
        string: m of string between the gripper and each thing; 0: none.
        rng: places the things.
    """

    def __init__(
        self,
        engine: Engine,
        model: ArmModel,
        layout: Layout,
        things: Things,
        string: float,
        rng: np.random.Generator,
    ) -> None:
        self.engine, self.seconds = engine, 0.0
        self._layout, self._string, self._speed = layout, string, model.speed
        self.things: list[int] = []  # their bodies
        empty(engine, PHYSICS_HZ)
        build_bins(engine, layout)
        self._arm = load_arm(engine, model)
        names = joints(engine, self._arm)
        self._tool, self._fingers = names[TOOL], [names[name] for name in FINGERS]
        self._joints = _revolute(engine, self._arm)
        self._forces = [engine.getJointInfo(self._arm, joint)[10] for joint in self._joints]
        over = layout.point("left", layout.cells("left", inner=True)[0], layout.hover)
        self._target = np.asarray(over)  # where the tool was sent last
        self._begin(model.rest)
        self.things = [
            make(engine, self._spot(side, rng))
            for side, makers in things.items()
            for make in makers
        ]
        self._factory = [engine.getDynamicsInfo(thing, -1)[:2] for thing in self.things]
        self.advance(round(SETTLING_S * PHYSICS_HZ))

    def vary(self, world: World) -> None:
        """Give the things another mass and friction."""
        for thing, (mass, friction) in zip(self.things, self._factory, strict=True):
            self.engine.changeDynamics(
                thing, -1, mass=mass * world.mass, lateralFriction=friction * world.friction
            )

    def put_back(self, side: Side, rng: np.random.Generator) -> None:
        """Put what fell beside the bins into one of them, as a person would."""
        lost = [t for t, at in zip(self.things, self.positions(), strict=True) if not self._in(at)]
        for thing in lost:
            self.engine.resetBasePositionAndOrientation(thing, self._spot(side, rng), [0, 0, 0, 1])
            self.engine.resetBaseVelocity(thing, [0, 0, 0], [0, 0, 0])
        if lost:
            self.advance(round(SETTLING_S * PHYSICS_HZ))

    def positions(self) -> NDArray[np.float64]:
        """(things, 3) m, where each thing is."""
        return np.array([self.engine.getBasePositionAndOrientation(t)[0] for t in self.things])

    def tool(self) -> tuple[NDArray[np.float64], tuple[float, float, float, float]]:
        """Position (3,) m of the tool and its orientation x, y, z, w."""
        state = self.engine.getLinkState(self._arm, self._tool, computeForwardKinematics=1)
        return np.array(state[4]), state[5]

    def angles(self) -> NDArray[np.float64]:
        """(N,) rad of the arm's joints."""
        return np.array([s[0] for s in self.engine.getJointStates(self._arm, self._joints)])

    def opening(self) -> float:
        """Of the gripper, 0 to 1."""
        states = self.engine.getJointStates(self._arm, self._fingers)
        return float(np.clip(sum(state[0] for state in states) / (2 * STROKE), 0, 1))

    def move(self, goal: Point) -> None:
        """Move the tool on a straight line, slowly at both ends; a bounded number of steps."""
        start, end = self._target, np.asarray(goal)
        duration = np.linalg.norm(end - start) / self._speed
        aims = max(LEAST_STEPS, math.ceil(duration * PHYSICS_HZ)) // AIM_EVERY
        for share in np.arange(1, aims + 1) / aims:
            smooth = share * share * (3 - 2 * share)
            self._aim(self._solve(start + (end - start) * smooth))
            self.advance(AIM_EVERY)
        self._target = end
        self.advance(SETTLE_STEPS)

    def grip(self, opening: float) -> None:
        """Drive both fingers to an opening with limited force; they go on pressing afterwards."""
        for finger in self._fingers:
            self.engine.setJointMotorControl2(
                self._arm,
                finger,
                self.engine.POSITION_CONTROL,
                targetPosition=opening * STROKE,
                force=OPENING_FORCE if opening > self.opening() else CLOSING_FORCE,
                maxVelocity=FINGER_SPEED,
            )
        self.advance(GRIP_STEPS)

    def advance(self, steps: int) -> None:
        """Let so many physics steps pass."""
        for _ in range(steps):
            if self._string:
                self._pull()
            self.engine.stepSimulation()
        self.seconds += steps / PHYSICS_HZ

    def wait_until(self, seconds: float) -> None:
        """Let time pass until so many simulated seconds since the world was built."""
        self.advance(round((seconds - self.seconds) * PHYSICS_HZ))

    def _begin(self, rest: Sequence[float]) -> None:
        """Put the arm at its target, with open gripper, without moving through the world."""
        self._set([*rest, STROKE, STROKE])
        for _ in range(20):  # the solver starts from the present posture
            self._set([*self._solve(self._target), STROKE, STROKE])
        self._aim(self.angles())
        self._couple()
        self.grip(1.0)

    def _couple(self) -> None:
        """Make the fingers move as one, as a gear does, and rough."""
        one, two = self._fingers
        kind, zero = self.engine.JOINT_GEAR, [0, 0, 0]
        gear = self.engine.createConstraint(
            self._arm, one, self._arm, two, kind, [1, 0, 0], zero, zero
        )
        self.engine.changeConstraint(gear, gearRatio=-1, maxForce=100, erp=0.2)
        for finger in self._fingers:
            self.engine.changeDynamics(self._arm, finger, lateralFriction=GRIP_FRICTION)

    def _set(self, values: Sequence[float]) -> None:
        for joint, value in zip([*self._joints, *self._fingers], values, strict=True):
            self.engine.resetJointState(self._arm, joint, value)

    def _solve(self, point: NDArray[np.float64]) -> Sequence[float]:
        """Angles (rad) that bring the tool to a point, pointing down."""
        found: Sequence[float] = self.engine.calculateInverseKinematics(
            self._arm, self._tool, point, DOWN, maxNumIterations=40, residualThreshold=1e-5
        )
        return found[: len(self._joints)]

    def _aim(self, angles: Sequence[float] | NDArray[np.float64]) -> None:
        self.engine.setJointMotorControlArray(
            self._arm,
            self._joints,
            self.engine.POSITION_CONTROL,
            targetPositions=angles,
            forces=self._forces,
            positionGains=[GAIN] * len(self._joints),
        )

    def _pull(self) -> None:
        """Pull back what has gone farther from the gripper than its string is long."""
        hand = np.array(self.engine.getLinkState(self._arm, self._tool)[0])
        for thing, at in zip(self.things, self.positions(), strict=True):
            away = hand - at
            distance = float(np.linalg.norm(away))
            if distance > self._string:
                along = away / distance
                speed = float(np.dot(self.engine.getBaseVelocity(thing)[0], along))
                force = STRING_STIFFNESS * (distance - self._string) - STRING_DAMPING * speed
                self.engine.applyExternalForce(
                    thing, -1, along * max(force, 0.0), at, self.engine.WORLD_FRAME
                )

    def _in(self, at: NDArray[np.float64]) -> bool:
        return inside(self._layout, float(at[0]), float(at[1]), float(at[2])) is not None

    def _spot(self, side: Side, rng: np.random.Generator) -> Point:
        low, high = self._layout.limits(side, inner=False)
        x, y = (float(part) for part in rng.uniform(low, high))
        return (x, y, DROP_HEIGHT)


def _revolute(engine: Engine, body: int) -> list[int]:
    infos = [engine.getJointInfo(body, index) for index in range(engine.getNumJoints(body))]
    return [info[0] for info in infos if info[2] == engine.JOINT_REVOLUTE]
