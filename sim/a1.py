"""DayDreamer's A1: a quadruped that learns to roll over, stand up and walk without resets.

Wu et al. 2022 (DayDreamer), section 3 and its released code, in PyBullet. `sim.a1_urdf` tells what
of pybullet_data's description of the robot had to be corrected, `sim.a1_reward` gives the reward.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_client.errors import RobotError
from robot_client.robot import Action, Reading
from robot_client.safety import LowPass
from robot_client.schema import Task
from sim.a1_body import PHYSICS_HZ, Body, State
from sim.a1_joints import HIGH, LOW, STANDING, Joints, angles, as_action
from sim.a1_reward import forward_speed, stages
from sim.engine import Camera, Engine, empty
from sim.pushes import Pusher
from sim.terrain import Ground
from sim.variation import Variation, World

Start = Literal["stand", "back", "random"]

CONTROL_HZ = 20.0
TICKS = round(PHYSICS_HZ / CONTROL_HZ)
CUTOFF_HZ = 1.5
SEGMENT = 250  # steps

AREA = 4.0  # m from the middle: farther away it is carried back
SIZE = 0.5  # m: no part of it is farther from its base
CLEARANCE = {"stand": 0.28, "back": 0.12, "random": 0.45}  # m of the base above the ground
SETTLING = 500  # ticks after a start in which it holds its pose
STOOD, FALLEN = 0.8, 0.0  # cosines of its tilt: upright; on a side or beyond
SPREAD = 0.05  # rad, standard deviation of the joints of a start

MARGIN = 0.1  # rad by which a joint may be pressed over its limit
GYRO = 35.0  # rad/s: faster turns are measured as this
_OBSERVED = np.array([np.pi, np.pi / 2, GYRO, GYRO])
_LOWEST = np.concatenate([-_OBSERVED, LOW - MARGIN]).astype(np.float32)
_HIGHEST = np.concatenate([_OBSERVED, HIGH + MARGIN]).astype(np.float32)


class A1:
    """The quadruped on its playground. Simulated in this process; several keep out of each other.

    The action (12,) in [-1, 1] is a target for each joint, in the order of `sim.a1_joints`. Targets
    go through a second-order Butterworth low-pass of 1.5 Hz and are approached on straight lines
    within 50 ms. What `apply` returns, and is recorded, is the action asked for, clipped to
    [-1, 1]: that is what a policy chooses, and the filter's memory is a part of the robot's hidden
    state, like its momentum. Of filtered targets most sequences that a policy can ask for would
    be unheard of.

    Observation `vector` (16,) float32: roll, pitch (rad), roll rate, pitch rate (rad/s, about the
    body's own axes as gyroscopes have it), then the joints (rad). Neither heading nor velocity nor
    what the filter remembers.

    The reward, 5 to 14, is that of `sim.a1_reward`; `info` has its parts, besides the speed ahead
    (`speed`, m/s), and whether it was carried in this step (`carried`, 0 or 1). Where it begins
    standing, `fell` is 1 in the step in which it has turned on a side or its back after it stood.
    Where it begins on its back or in any pose it never says so: getting up is what it learns there,
    falls are a part of that, and a version that gets up more often than the one before would be
    rolled back for its falls.

    There is no reset. A segment of 250 steps is never terminal, and `reset()` goes on from wherever
    the robot is. Only `reset(seed)`, and the very first `reset()`, begin afresh. Four metres from
    the middle the robot is carried back there in its pose, without losing its momentum.

    Not like the real robot: the velocity in the reward is exact, where that one filters a noisy
    one; no motor warms up; the gain is that of the authors' simulation, 100 and not 80.

    Args:
        start: how it begins afresh: standing, on its back, or dropped in any pose.
        terrain: height of the highest hill (m); 0 is a plane.
        push_n: strength (N) of pushes, of 0.2 s every five seconds or so; 0: none.
        vary: arguments of `sim.variation.Variation`, drawn for every segment.

    Raises:
        ValueError: an option makes no sense.
    """

    control_hz = CONTROL_HZ
    blend_steps = 0  # a simulation: a jump can hurt nobody
    task = Task("walk", episode_steps=SEGMENT)

    def __init__(
        self,
        start: Start = "back",
        terrain: float = 0.0,
        push_n: float = 0.0,
        vary: Mapping[str, float] | None = None,
    ) -> None:
        if start not in get_args(Start):
            raise ValueError(f"start: expected one of {get_args(Start)}, got {start!r}")
        for name, value in (("terrain", terrain), ("push_n", push_n)):
            if not 0 <= value < np.inf:
                raise ValueError(f"{name}: expected a number, 0 or more, got {value!r}")
        self.observation_space = spaces.Dict({"vector": spaces.Box(_LOWEST, _HIGHEST)})
        self.action_space = spaces.Box(-1.0, 1.0, (12,), np.float32)
        self._start: Start = start
        self._hills, self._variation = terrain, Variation(**(vary or {}))
        self._pusher = Pusher(push_n, CONTROL_HZ)
        self._lowpass = LowPass(CUTOFF_HZ, CONTROL_HZ)
        self._rng = np.random.default_rng()
        self._world: Engine | None = None  # while connected
        self._body: Body | None = None  # once there has been a reset
        self._reading: Reading | None = None  # of the present state
        self._drawn, self._seconds, self._stood = World(), 0.0, False
        self._asked: Action = np.zeros(12, np.float32)
        self._target: Joints = np.zeros(12)

    def connect(self) -> None:
        """Start a physics engine of its own."""
        if self._world is None:
            self._world, self._seconds = Engine(), 0.0

    def reset(self, seed: int | None = None) -> None:
        """Begin a segment where the robot is; with a seed, or the first time, a fresh world.

        With a seed the segment, and those after it, depend on nothing that went before.
        """
        world = self._connected()
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._drawn = self._variation.draw(self._rng)
        if seed is not None or self._body is None:
            self._begin(world)
        else:
            self._body.vary(self._drawn)
        self._reading = self._read(self._started().state(), reward=False)

    def apply(self, action: Action) -> Action:
        """Go for these targets for one control period; the action, clipped to [-1, 1].

        Raises RobotError when the action is not twelve finite numbers.
        """
        body = self._started()
        if np.shape(action) != (12,) or not np.isfinite(action).all():
            raise RobotError(f"a1: expected twelve finite numbers as action, got {action!r}")
        self._asked = np.clip(action, -1, 1).astype(np.float32)
        target = self._lowpass(angles(self._asked))
        body.drive(self._target, target, TICKS, self._pusher.force(self._rng))
        self._target = target
        self._seconds += 1 / CONTROL_HZ
        state = body.state()
        carried = self._keep_in_area(state)
        self._reading = self._read(state, reward=True, carried=carried)
        return self._asked

    def hold(self) -> Action:
        """Ask for the last action once more, as motors keep their target; returns it."""
        self._started()
        return self.apply(self._asked)

    def observe(self) -> Reading:
        """The present state, with the reward for having arrived in it."""
        self._started()
        assert self._reading is not None
        return self._reading

    def picture(self, pixels: int = 256) -> NDArray[np.uint8]:
        """(pixels, pixels, 3) view of the robot by a camera that follows it."""
        x, y, z = (float(part) for part in self._started().state().position)
        camera = Camera((x + 0.75, y - 0.75, z + 0.4), (x, y, z - 0.05), pixels=pixels)
        light = self._drawn.light(self._seconds, shadow=True)
        return camera.picture(self._connected(), light)[0]

    def stop(self) -> None:
        """Nothing to do: its world stands still between steps."""

    def close(self) -> None:
        """Stop the physics engine."""
        if self._world is not None:
            self._world.disconnect()
        self._world = self._body = self._reading = None

    def _connected(self) -> Engine:
        if self._world is None:
            raise RobotError("a1: not connected")
        return self._world

    def _started(self) -> Body:
        if self._body is None:
            raise RobotError("a1: reset it first")
        return self._body

    def _begin(self, world: Engine) -> None:
        """A fresh world, with the robot at rest in it and its filter at the joints' angles."""
        empty(world, PHYSICS_HZ)
        self._ground = Ground(world, self._hills, self._rng)
        self._body = Body(world)
        self._body.vary(self._drawn)
        turned, joints = _pose(self._start, self._rng)
        height = self._ground.highest(0, 0, SIZE) + CLEARANCE[self._start]
        self._body.place((0.0, 0.0, height), turned, joints)
        self._body.drive(joints, joints, SETTLING)
        self._target = self._body.joints()
        self._lowpass.reset(self._target)
        self._stood = False
        self._asked = np.clip(as_action(self._target), -1, 1).astype(np.float32)
        self._pusher.reset()

    def _keep_in_area(self, state: State) -> bool:
        """Carry it to the middle, lifted so far that no hill is in its way."""
        x, y, _ = (float(part) for part in state.position)
        if np.hypot(x, y) <= AREA:
            return False
        lift = self._ground.highest(0, 0, SIZE) - self._ground.lowest(x, y, SIZE)
        self._started().carry((-x, -y, lift))
        return True

    def _read(self, state: State, reward: bool, carried: bool = False) -> Reading:
        found = stages(state.rotation, state.joints, state.velocity)
        vector = np.array([*state.tilt, *state.spin[:2], *state.joints], np.float32)
        speed = forward_speed(state.rotation, state.velocity)
        return Reading(
            {"vector": np.clip(vector, _LOWEST, _HIGHEST)},
            found.total if reward else 0.0,
            info={**vars(found), "speed": speed, "carried": float(carried), **self._fall(state)},
        )

    def _fall(self, state: State) -> dict[str, float]:
        """Whether it has just turned over, where it is expected to stand."""
        if self._start != "stand":
            return {}
        fell = self._stood and state.rotation[2, 2] < FALLEN
        self._stood = not fell and (self._stood or state.rotation[2, 2] > STOOD)
        return {"fell": float(fell)}


def _pose(start: Start, rng: np.random.Generator) -> tuple[tuple[float, ...], Joints]:
    """How it begins: orientation as a quaternion x, y, z, w, and joint angles (12,)."""
    if start == "random":
        turned = rng.normal(size=4)
        turned /= np.linalg.norm(turned)
        return tuple(turned.tolist()), angles(rng.uniform(-1, 1, 12))
    half = rng.uniform(-np.pi, np.pi) / 2  # any heading
    upright = (0.0, 0.0, float(np.sin(half)), float(np.cos(half)))
    on_back = (float(np.cos(half)), float(np.sin(half)), 0.0, 0.0)
    joints = np.clip(angles(STANDING) + rng.normal(0, SPREAD, 12), LOW, HIGH)
    return upright if start == "stand" else on_back, joints
