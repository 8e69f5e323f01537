"""`dreamfleet-robot doctor`: whether this machine can run a robot. The robot does not move.

Each check yields what it finds; none starts a session, connects the robot or leaves a file behind.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from robot_client import keys
from robot_client.clock import Clock
from robot_client.enrol import ROBOT_KEY, SERVER_KEY, trusted_keys
from robot_client.errors import DreamfleetError
from robot_client.findings import Finding, Level, folder, secret
from robot_client.link import CurveKeys
from robot_client.messages import PROTOCOL
from robot_client.pacing import Pacer
from robot_client.probe import round_trip, server_clock
from robot_client.robot import Robot
from robot_client.testing import check_declaration

PACKAGES = ("dreamfleet", "numpy", "pyzmq", "msgpack", "gymnasium", "onnxruntime")
_LEAST_GIB = 0.2
_SLOW_SYNC_S = 0.1
_APART_S = 2.0
_PACE_S = 1.0
# An ONNX model (IR 8, opset 13) whose output y is its input x, one float32: written out, because
# the library that makes such files is not installed on robots.
_IDENTITY = bytes.fromhex(
    "08083a370a100a017812017922084964656e746974791201745a0f0a0178120a0a08080112040a020801620f0a"
    "0179120a0a08080112040a02080142040a00100d"
)


@dataclass(frozen=True)
class Place:
    """What is to be looked at.

    Args:
        home: the robot's folder, for its keys.
        spool, cache: its folders.
        server: address of the gateway; `api` that of REST, for the server's clock.
        link_keys: the robot's keys, or what raises DreamfleetError for it has wrong ones.
        robot: makes the robot, or None: only the machine is looked at.
        clock: tells the time and waits.
    """

    home: Path
    spool: Path
    cache: Path
    server: str
    api: str
    link_keys: Callable[[], CurveKeys | None]
    robot: Callable[[], Robot] | None
    clock: Clock


def examine(place: Place) -> Iterator[Finding]:
    """What each check finds, as it is found. What a check itself runs into is a finding too."""
    for name, check in CHECKS.items():
        try:
            yield from check(place)
        except (DreamfleetError, OSError) as error:
            yield Finding(name, "FAIL", str(error), f"mend the {name}, and ask again")


def check_versions(_place: Place) -> Iterator[Finding]:
    """Python and the packages that a robot needs."""
    yield Finding("python", "OK", f"{platform.python_version()} on {platform.machine()}")
    for name in PACKAGES:
        try:
            yield Finding("package", "OK", f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Finding("package", "FAIL", f"{name} is not installed", "pip install dreamfleet")
    yield Finding("protocol", "OK", str(PROTOCOL))


def check_session(_place: Place) -> Iterator[Finding]:
    """Whether ONNX Runtime can run a graph."""
    try:
        import onnxruntime as ort

        session = ort.InferenceSession(_IDENTITY, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"x": np.array([0.5], np.float32)})
    except Exception as error:  # noqa: BLE001 - whatever a foreign library raises is the finding
        advice = "pip install --force-reinstall onnxruntime"
        yield Finding("onnxruntime", "FAIL", f"cannot run a graph: {error}", advice)
        return
    level: Level = "OK" if found.tolist() == [0.5] else "FAIL"
    yield Finding("onnxruntime", level, "runs a graph")


def check_keys(place: Place) -> Iterator[Finding]:
    """The robot's key pair and whom it trusts; a server on this machine needs none."""
    path = place.home / ROBOT_KEY
    if not path.exists():
        yield Finding("keys", "OK", "none; enough for a server on this machine")
        return
    mode = secret("keys", path)
    yield mode
    if mode.level != "OK":
        return
    yield Finding("keys", "OK", f"public key {keys.read(path).public}")
    if not trusted_keys(place.home / SERVER_KEY):
        advice = "dreamfleet-robot enrol --server-key KEY, as `dreamfleet keys show` prints it"
        yield Finding("keys", "WARN", "no server's key is known", advice)


def check_disk(place: Place) -> Iterator[Finding]:
    """Room for the spool and the policies, and how long the disk takes to make rows durable."""
    yield from folder("spool", place.spool, _LEAST_GIB)
    yield from folder("cache", place.cache, _LEAST_GIB)
    home = next(path for path in (place.spool, *place.spool.absolute().parents) if path.is_dir())
    slowest = max(_sync_times(home, place.clock))
    text = f"the disk takes up to {slowest * 1000:.1f} ms to make rows durable"
    if slowest > _SLOW_SYNC_S:
        yield Finding("spool", "WARN", text, "rows wait longer; the control loop does not")
    else:
        yield Finding("spool", "OK", text)


def check_server(place: Place) -> Iterator[Finding]:
    """Whether the gateway answers, how fast, and whether its clock agrees."""
    try:
        found = round_trip(place.server, place.link_keys(), place.clock)
    except DreamfleetError as error:
        advice = "start it, or say where it is: --server; the robot acts from its cache meanwhile"
        yield Finding("server", "WARN", f"{place.server}: {error}", advice)
        return
    text = f"{place.server}: round trip {found.median_s * 1000:.1f} ms"
    yield Finding("server", "OK", f"{text}, at most {found.longest_s * 1000:.1f} ms")
    yield _clocks(place)


def _clocks(place: Place) -> Finding:
    found = server_clock(place.api, place.clock)
    if found is None:
        text = f"{place.api} does not tell the time"
        return Finding("clock", "WARN", text, "say where the server's REST API is: --api")
    text = (
        f"the server's is {found.ahead_s:+.1f} s from this one, give or take {found.within_s:.1f}"
    )
    if abs(found.ahead_s) <= found.within_s:
        apart = abs(found.ahead_s) + found.within_s
        text = f"the server's agrees with this one, as far as HTTP tells: to {apart:.1f} s"
    if abs(found.ahead_s) > _APART_S:
        advice = "let NTP keep both clocks (timedatectl set-ntp true)"
        return Finding("clock", "WARN", text, advice)
    return Finding("clock", "OK", text)


def check_robot(place: Place) -> Iterator[Finding]:
    """Whether the robot can be made, and what it declares is right; and its rate kept."""
    hz = 50.0
    if place.robot is None:
        yield Finding("robot", "OK", f"none named; the rate is that of {hz:g} Hz")
    else:
        robot = place.robot()
        check_declaration(robot)
        hz = robot.control_hz
        text = f"{type(robot).__name__}: task {robot.task.name}, {hz:g} Hz, its spaces are valid"
        yield Finding("robot", "OK", text)
    yield _pace(place.clock, hz)


def _pace(clock: Clock, hz: float) -> Finding:
    """How late ticks are at this rate while nothing else is done."""
    pacer, late = Pacer(clock, hz), []
    origin = clock.monotonic()
    for tick in range(1, max(2, int(_PACE_S * hz)) + 1):
        pacer.wait()
        late.append(clock.monotonic() - origin - tick / hz)
    p99 = float(np.quantile(np.abs(late), 0.99))
    text = f"{hz:g} Hz: 99 of 100 ticks are less than {p99 * 1000:.2f} ms late"
    if pacer.missed:
        advice = "something else keeps this machine busy; give the robot a processor of its own"
        return Finding("rate", "WARN", f"{text}, {pacer.missed} missed", advice)
    return Finding("rate", "OK", text)


def _sync_times(home: Path, clock: Clock, times: int = 5) -> Iterator[float]:
    """Seconds of writing 64 KiB and waiting until the disk has them."""
    data = bytes(2**16)
    with tempfile.TemporaryFile(dir=home) as file:
        for _ in range(times):
            begin = clock.monotonic()
            file.write(data)
            file.flush()
            os.fdatasync(file.fileno())
            yield clock.monotonic() - begin


CHECKS: dict[str, Callable[[Place], Iterator[Finding]]] = {
    "versions": check_versions,
    "onnxruntime": check_session,
    "keys": check_keys,
    "spool": check_disk,
    "server": check_server,
    "robot": check_robot,
}
