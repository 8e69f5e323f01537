"""PyBullet as this project uses it: an engine per robot, cheap visuals, and pictures."""

from __future__ import annotations

import os
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pybullet
from numpy.typing import NDArray

Vector = tuple[float, float, float]
GRAVITY = 9.81  # m/s^2


class Engine:
    """A physics engine of its own: pybullet's functions and constants, bound to one connection.

    PyBullet's own BulletClient does the same, but writes to standard output when it connects.
    """

    def __init__(self) -> None:
        self._client = pybullet.connect(pybullet.DIRECT)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(pybullet, name)
        if callable(attribute):
            return partial(attribute, physicsClientId=self._client)
        return attribute


def empty(world: Engine, physics_hz: float) -> None:
    """Empty the world and set gravity and time step: nothing of before is left in the solver."""
    world.resetSimulation()
    world.setGravity(0, 0, -GRAVITY)
    world.setTimeStep(1 / physics_hz)
    world.setPhysicsEngineParameter(deterministicOverlappingPairs=1)


def box(
    world: Engine, half: Vector, centre: Vector, colour: tuple[float, ...], mass: float = 0.0
) -> int:
    """A box by its half lengths (m); without mass (kg) it cannot be moved. Returns its body."""
    collision = world.createCollisionShape(world.GEOM_BOX, halfExtents=half)
    visual = world.createVisualShape(world.GEOM_BOX, halfExtents=half, rgbaColor=colour)
    body: int = world.createMultiBody(mass, collision, visual, centre)
    return body


def load_primitives(world: Engine, urdf: Path, position: Vector, **options: Any) -> int:
    """Load a URDF that looks as it collides: primitives are drawn much faster than meshes.

    Args:
        world: the engine.
        urdf: the file; where a link has no `collision` it is invisible.
        position: of the base (m).
        options: further ones of `loadURDF`.
    """
    tree = ElementTree.parse(urdf)
    for link in tree.iter("link"):
        for visual in link.findall("visual"):
            link.remove(visual)
        for collision in link.findall("collision"):
            seen = ElementTree.SubElement(link, "visual")
            seen.extend(collision)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, urdf.name)
        tree.write(path)
        body: int = world.loadURDF(path, position, **options)
    return body


@dataclass(frozen=True)
class Light:
    """What illuminates a picture.

    Args:
        colour: of the light, red, green and blue; 1 is noon, more than 1 glares.
        direction: towards the light; its length does not matter.
        shadow: whether bodies cast one; a picture takes longer then.
    """

    colour: Vector = (1.0, 1.0, 1.0)
    direction: Vector = (0.3, 0.3, 1.0)
    shadow: bool = False


@dataclass(frozen=True)
class Camera:
    """A camera that stands still.

    Args:
        eye, target: where it is and looks (m).
        up: the direction that is up in the picture.
        view_deg: vertical angle of view.
        near, far: nearest and farthest distance that is drawn (m).
        pixels: height and width.
    """

    eye: Vector
    target: Vector
    up: Vector = (0.0, 0.0, 1.0)
    view_deg: float = 60.0
    near: float = 0.05
    far: float = 10.0
    pixels: int = 64

    def picture(
        self, world: Engine, light: Light | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Colours (H, W, 3) uint8 and distances along the axis of view (H, W) float32 in m."""
        light = light or Light()
        view = world.computeViewMatrix(self.eye, self.target, self.up)
        projection = world.computeProjectionMatrixFOV(self.view_deg, 1.0, self.near, self.far)
        _, _, colours, depth, _ = world.getCameraImage(
            self.pixels,
            self.pixels,
            view,
            projection,
            shadow=int(light.shadow),
            lightDirection=light.direction,
            renderer=world.ER_TINY_RENDERER,
        )
        shape = (self.pixels, self.pixels)
        rgb = np.asarray(colours, np.uint8).reshape(*shape, 4)[..., :3]
        return _lit(rgb, light.colour), self._metres(np.asarray(depth, np.float32).reshape(shape))

    def _metres(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """From OpenGL's depth buffer in [0, 1]."""
        metres = self.far * self.near / (self.far - (self.far - self.near) * depth)
        return metres.astype(np.float32)


def _lit(rgb: NDArray[np.uint8], colour: Vector) -> NDArray[np.uint8]:
    """A picture (H, W, 3) taken in white light, in light of that colour.

    The renderer's own lightColor leaves its ambient part, two thirds of all, white and bright.
    """
    if colour == (1.0, 1.0, 1.0):
        return rgb.copy()
    lit = np.round(rgb * np.array(colour, np.float32))
    return np.clip(lit, 0, 255).astype(np.uint8)
