"""The A1's description from pybullet_data, corrected. What is wrong with the file:

1. Joint angles of 0 lie outside the knees' limits. Whoever loads it must set the joints at once.
2. The knees' and upper legs' limit of effort is 55 N m, the hips' 20; the motors can do 33.5.
   The engine does not enforce a limit of effort on torques anyway: `sim.a1_body` does.
3. The lower legs' inertia, 0.003 kg m^2 about their centre of mass, is more than 0.166 kg within
   0.11 m of it can have (0.002). It fits an axis through the knee, from where it is moved to the
   centre. So do the products of inertia with the other sign; what remains of them is left out.
4. Of 21 joints nine are fixed (of the IMU, shoulders, toes). Their links take half of the engine's
   time, shoulders overlap with upper legs, and the engine's own way to merge them puts the
   parents' masses at the wrong place. Here they are merged by the parallel axis theorem.

Besides, the engine ignores the file's inertias unless told not to, and lets links of one robot pass
through each other: `FLAGS` says otherwise.
"""

from __future__ import annotations

import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pybullet
import pybullet_data
from numpy.typing import NDArray

from sim.a1_joints import NAMES
from sim.engine import Engine, load_primitives

FLAGS = (
    pybullet.URDF_USE_INERTIA_FROM_FILE
    | pybullet.URDF_USE_SELF_COLLISION
    | pybullet.URDF_USE_SELF_COLLISION_EXCLUDE_PARENT
)
EFFORT = 33.5  # N m
_INERTIAS = (
    ("ixx", 0, 0),
    ("iyy", 1, 1),
    ("izz", 2, 2),
    ("ixy", 0, 1),
    ("ixz", 0, 2),
    ("iyz", 1, 2),
)


def load(world: Engine) -> int:
    """Put an A1 into the world, with its joints at 0: set them next. Returns its body."""
    tree = ElementTree.parse(Path(pybullet_data.getDataPath(), "a1", "a1.urdf"))
    correct(tree.getroot())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a1.urdf")
        tree.write(path)
        return load_primitives(world, path, (0.0, 0.0, 1.0), flags=FLAGS)


def correct(robot: ElementTree.Element) -> None:
    """Mend the description in place."""
    links = {link.attrib["name"]: link for link in robot.findall("link")}
    for leg in (name.removesuffix("_joint") for name in NAMES if "lower" in name):
        mass, centre, inertia = _inertial(links[leg])
        about_centre = np.diag(np.diag(inertia - _steiner(mass, centre)))
        _set_inertial(links[leg], mass, centre, about_centre)
    for joint in robot.findall("joint"):
        if joint.attrib["type"] == "fixed":
            _merge(robot, joint, links)
        else:
            _child(joint, "limit").set("effort", str(EFFORT))


def _merge(
    robot: ElementTree.Element, joint: ElementTree.Element, links: dict[str, ElementTree.Element]
) -> None:
    """Make the child of a fixed joint, which turns nothing, a part of its parent."""
    parent, child = (links[_child(joint, end).attrib["link"]] for end in ("parent", "child"))
    offset = _xyz(joint)
    for collision in child.findall("collision"):
        _child(collision, "origin").set("xyz", _written(_xyz(collision) + offset))
        parent.append(collision)
    mass_1, centre_1, inertia_1 = _inertial(parent)
    mass_2, centre_2, inertia_2 = _inertial(child)
    mass, centre_2 = mass_1 + mass_2, centre_2 + offset
    centre = (mass_1 * centre_1 + mass_2 * centre_2) / mass
    inertia = inertia_1 + _steiner(mass_1, centre_1 - centre)
    inertia += inertia_2 + _steiner(mass_2, centre_2 - centre)
    _set_inertial(parent, mass, centre, inertia)
    robot.remove(joint)
    robot.remove(child)


def _inertial(
    link: ElementTree.Element,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Mass (kg), centre of mass (3,) in m, and inertia (3, 3) about it in kg m^2."""
    found = _child(link, "inertial")
    tensor, inertia = _child(found, "inertia"), np.zeros((3, 3))
    for name, i, j in _INERTIAS:
        inertia[i, j] = inertia[j, i] = float(tensor.attrib[name])
    return float(_child(found, "mass").attrib["value"]), _xyz(found), inertia


def _set_inertial(
    link: ElementTree.Element,
    mass: float,
    centre: NDArray[np.float64],
    inertia: NDArray[np.float64],
) -> None:
    found = _child(link, "inertial")
    _child(found, "mass").set("value", str(mass))
    _child(found, "origin").set("xyz", _written(centre))
    for name, i, j in _INERTIAS:
        _child(found, "inertia").set(name, str(inertia[i, j]))


def _steiner(mass: float, offset: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) inertia of a point so far away, in kg m^2."""
    tensor: NDArray[np.float64] = mass * (offset @ offset * np.eye(3) - np.outer(offset, offset))
    return tensor


def _child(element: ElementTree.Element, name: str) -> ElementTree.Element:
    found = element.find(name)
    assert found is not None, f"a1.urdf: no {name} in {element.attrib}"
    return found


def _xyz(element: ElementTree.Element) -> NDArray[np.float64]:
    """(3,) where it is in its link or parent, in m; nothing is turned where this is used."""
    origin = element.find("origin")
    written = "0 0 0" if origin is None else origin.attrib["xyz"]
    return np.array([float(part) for part in written.split()])


def _written(vector: NDArray[np.float64]) -> str:
    return " ".join(str(float(part)) for part in vector)
