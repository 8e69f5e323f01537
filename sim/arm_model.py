"""Models of arms: a URDF, bones for one that has only meshes, and the gripper that all share."""

from __future__ import annotations

import math
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.engine import Camera, Engine, Vector, load_primitives

GRIPPER = Path(__file__).with_name("gripper.urdf")
FINGERS = ("left_finger_joint", "right_finger_joint")
STROKE = 0.0425  # m that one finger moves
CLOSING_FORCE = 15.0  # N of a finger
OPENING_FORCE = 40.0  # N
TOOL = "tool_joint"

PAINTS = ((0.75, 0.78, 0.82, 1.0), (0.45, 0.5, 0.58, 1.0))  # of the links, in turn
HAND_PAINT = (0.12, 0.12, 0.14, 1.0)
FINGER_PAINT = (0.92, 0.92, 0.92, 1.0)


@dataclass(frozen=True)
class ArmModel:
    """One arm.

    Args:
        urdf: of the arm without gripper.
        flange: the link that carries the gripper.
        rest: a posture (rad) with the gripper over the left bin, from which all others are found.
        camera: what the robot sees with.
        bones: radius (m) of the bones to draw in place of meshes; 0 where the URDF has primitives.
        speed: of the tool (m/s).
    """

    urdf: Path
    flange: str
    rest: tuple[float, ...]
    camera: Camera
    bones: float = 0.0
    speed: float = 0.5


def load_arm(world: Engine, model: ArmModel) -> int:
    """Load the arm and its gripper at the origin. Returns its body."""
    tree = ElementTree.parse(model.urdf)
    if model.bones:
        _use_bones(tree.getroot(), model.bones)
    tree.getroot().extend(ElementTree.parse(GRIPPER).getroot())
    mount = ElementTree.SubElement(tree.getroot(), "joint", name="mount", type="fixed")
    ElementTree.SubElement(mount, "parent", link=model.flange)
    ElementTree.SubElement(mount, "child", link="palm")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, model.urdf.name)
        tree.write(path)
        body = load_primitives(world, path, (0.0, 0.0, 0.0), useFixedBase=True)
    _paint(world, body)
    return body


def joints(world: Engine, body: int) -> dict[str, int]:
    """Index of each joint, which is that of the link it moves, by its name."""
    infos = (world.getJointInfo(body, index) for index in range(world.getNumJoints(body)))
    return {info[1].decode(): info[0] for info in infos}


def _use_bones(root: ElementTree.Element, radius: float) -> None:
    """Replace meshes by cylinders from each joint to the next."""
    links = {link.get("name"): link for link in root.findall("link")}
    for link in links.values():
        for name in ("visual", "collision"):
            for mesh in link.findall(name):
                link.remove(mesh)
    for parent, end in _bones(root):
        _add_bone(links[parent], end, radius)


def _bones(root: ElementTree.Element) -> Iterator[tuple[str, Vector]]:
    """For each joint that lies away from the one before: its parent link, and where in it."""
    for joint in root.findall("joint"):
        parent, origin = joint.find("parent"), joint.find("origin")
        if parent is None or origin is None:
            continue
        x, y, z = (float(part) for part in origin.get("xyz", "0 0 0").split())
        if math.hypot(x, y, z) > 0.01:
            yield parent.get("link", ""), (x, y, z)


def _add_bone(link: ElementTree.Element, end: Vector, radius: float) -> None:
    x, y, z = end
    length, tilt, heading = math.hypot(*end), math.atan2(math.hypot(x, y), z), math.atan2(y, x)
    middle = " ".join(str(part / 2) for part in end)
    collision = ElementTree.SubElement(link, "collision")
    ElementTree.SubElement(collision, "origin", xyz=middle, rpy=f"0 {tilt} {heading}")
    geometry = ElementTree.SubElement(collision, "geometry")
    ElementTree.SubElement(geometry, "cylinder", radius=str(radius), length=str(length + radius))


def _paint(world: Engine, body: int) -> None:
    names = joints(world, body)
    for name, link in names.items():
        paint = PAINTS[link % 2] if link < names["mount"] else HAND_PAINT
        world.changeVisualShape(body, link, rgbaColor=FINGER_PAINT if name in FINGERS else paint)


def rotation_vector(quaternion: tuple[float, float, float, float]) -> np.ndarray:
    """(3,) rad, at most a half turn long, from x, y, z, w."""
    turn = np.array(quaternion[:3])
    sine, cosine = float(np.linalg.norm(turn)), quaternion[3]
    if sine < 1e-9:
        return np.zeros(3)
    angle = 2 * math.atan2(sine, abs(cosine))
    return turn / sine * math.copysign(angle, cosine)
