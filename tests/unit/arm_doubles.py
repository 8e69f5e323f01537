"""Stand-ins for what drivers of arms talk to: two SDKs, a camera's, and a gripper's server.

They keep time by a manual clock, record every call, and can be put into error.
"""

import contextlib
import socketserver
import sys
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from robot_client.clock import ManualClock

DOWN = (np.pi, 0.0, 0.0)  # rotation vector of a tool that points down
START = (0.44, 0.19, 0.1)
LAYOUT = {
    "left": {"x": 0.36, "y": 0.11, "columns": 5, "rows": 5},
    "right": {"x": 0.36, "y": -0.27, "columns": 5, "rows": 5},
    "low": 0.03,
    "hover": 0.16,
}


class World:
    """An arm that moves in straight lines at the speed that it is told to, and a camera's view."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.calls: list[tuple[Any, ...]] = []
        self.at, self.rotation = np.array(START), np.array(DOWN)
        self.goal, self.speed, self.since = self.at, 0.0, 0.0
        self.blocked = False
        self.fails: set[str] = set()  # calls that fail
        self.during: Any = None  # called on each look at the pose or the motion

    def go(self, goal: Any, speed: float) -> None:
        self.at = self.position()
        self.goal, self.speed, self.since = np.array(goal), speed, self.clock.monotonic()

    def halt(self) -> None:
        self.go(self.position(), 0.0)

    def position(self) -> np.ndarray:
        way = self.goal - self.at
        length = float(np.linalg.norm(way))
        if length == 0 or self.blocked:
            return self.at
        share = min(1.0, (self.clock.monotonic() - self.since) * self.speed / length)
        return self.at + share * way

    def moving(self) -> bool:
        if self.during is not None:
            self.during()
        return bool(np.linalg.norm(self.goal - self.position()) > 1e-9) and not self.blocked

    def look(self) -> np.ndarray:
        if self.during is not None:
            self.during()
        return self.position()

    def named(self, *names: str) -> list[tuple[Any, ...]]:
        return [call for call in self.calls if call[0] in names]


class Receive:
    """RTDEReceiveInterface."""

    world: World

    def __init__(self, host: str) -> None:
        if "connect" in self.world.fails:
            raise RuntimeError("connect: connection refused")
        self.world.calls.append(("receive", host))

    isConnected = lambda self: self.world.connected  # noqa: E731, N815
    getSafetyMode = lambda self: self.world.safety  # noqa: E731, N815
    getRobotMode = lambda self: self.world.mode  # noqa: E731, N815
    getActualTCPPose = lambda self: [*self.world.look(), *self.world.rotation]  # noqa: E731, N815
    getActualQ = lambda self: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]  # noqa: E731, N815

    def getActualTCPSpeed(self) -> list[float]:  # noqa: N802
        return [self.world.speed if self.world.moving() else 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]

    def disconnect(self) -> None:
        self.world.calls.append(("receive.disconnect",))


class Control:
    """RTDEControlInterface."""

    world: World

    def __init__(self, host: str) -> None:
        self.world.calls.append(("control", host))

    isProgramRunning = lambda self: self.world.script  # noqa: E731, N815

    def isPoseWithinSafetyLimits(self, pose: list[float]) -> bool:  # noqa: N802
        return "limits" not in self.world.fails

    def moveL(self, pose: list[float], speed: float, acc: float, wait: bool) -> bool:  # noqa: N802
        assert wait is True, "asynchronous, or nothing could stop it"
        self.world.calls.append(("move", *pose, speed, acc))
        if "move" in self.world.fails:
            return False
        self.world.go(pose[:3], speed)
        return True

    def stopL(self, deceleration: float) -> None:  # noqa: N802
        self.world.calls.append(("halt",))
        if "halt" in self.world.fails:
            raise RuntimeError("lost connection")
        self.world.halt()

    def stopScript(self) -> None:  # noqa: N802
        self.world.calls.append(("stopScript",))

    def disconnect(self) -> None:
        self.world.calls.append(("disconnect",))


def ur_modules(world: World) -> dict[str, ModuleType]:
    """`rtde_receive` and `rtde_control`, of ur_rtde."""
    world.safety, world.mode, world.connected, world.script = 1, 7, True, True
    receive, control = ModuleType("rtde_receive"), ModuleType("rtde_control")
    receive.RTDEReceiveInterface = type("Receive", (Receive,), {"world": world})
    control.RTDEControlInterface = type("Control", (Control,), {"world": world})
    return {"rtde_receive": receive, "rtde_control": control}


class XArmAPI:
    """Lengths in mm, and a code with every answer."""

    world: World

    def __init__(self, host: str, is_radian: bool, check_is_pause: bool) -> None:
        assert is_radian
        assert not check_is_pause
        if "connect" in self.world.fails:
            raise Exception("connect socket failed")
        self.world.calls.append(("connect", host))

    connected = property(lambda self: self.world.connected)
    axis = property(lambda self: self.world.axis)

    def get_err_warn_code(self) -> tuple[int, list[int]]:
        return 0, [self.world.error, 0]

    def get_position_aa(self, is_radian: bool) -> tuple[int, list[float]]:
        assert is_radian
        return self._code("get_position_aa"), [*(self.world.look() * 1000), *self.world.rotation]

    def get_servo_angle(self, is_radian: bool) -> tuple[int, list[float]]:
        assert is_radian
        return 0, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.0]

    def get_state(self) -> tuple[int, int]:
        if self.world.state >= 3:
            return 0, self.world.state
        return 0, 1 if self.world.moving() else 2

    def set_position_aa(self, pose: Any, speed: float, mvacc: float, is_radian: bool) -> int:
        assert is_radian
        self.world.calls.append(
            ("move", *(np.array(pose[:3]) / 1000), *pose[3:], speed / 1000, mvacc / 1000)
        )
        if self.world.state == 4 or not self.world.enabled:
            return 9
        if not self._code("move"):
            self.world.go(np.array(pose[:3]) / 1000, speed / 1000)
        return self._code("move")

    def set_state(self, state: int) -> int:
        self.world.calls.append(("halt",) if state == 4 else ("set_state", state))
        code = self._code("halt" if state == 4 else "set_state")
        if code == 0:
            self.world.state = state
            self.world.halt()
        return code

    def motion_enable(self, enable: bool) -> int:
        self.world.enabled = enable
        return self._called("motion_enable")

    def set_mode(self, mode: int) -> int:
        return self._called("set_mode", mode)

    def set_gripper_mode(self, mode: int) -> int:
        return self._called("set_gripper_mode", mode)

    def set_gripper_enable(self, enable: bool) -> int:
        return self._called("set_gripper_enable", enable)

    def set_gripper_speed(self, speed: int) -> int:
        return self._called("set_gripper_speed", speed)

    def set_gripper_position(self, pulses: int) -> int:
        if self.world.object_at is not None and pulses < self.world.object_at:
            self.world.pulses = self.world.object_at
        else:
            self.world.pulses = float(pulses)
        return self._called("set_gripper_position", pulses)

    def get_gripper_position(self) -> tuple[int, float]:
        return self._code("get_gripper_position"), self.world.pulses

    def disconnect(self) -> None:
        self.world.calls.append(("disconnect",))

    def _called(self, name: str, *values: Any) -> int:
        self.world.calls.append((name, *values))
        return self._code(name)

    def _code(self, name: str) -> int:
        return 3 if name in self.world.fails else 0


def xarm_modules(world: World) -> dict[str, ModuleType]:
    """`xarm.wrapper`, of xarm-python-sdk."""
    world.error, world.connected, world.state, world.axis = 0, True, 0, 6
    world.pulses, world.object_at, world.enabled = 850.0, None, False
    package, wrapper = ModuleType("xarm"), ModuleType("xarm.wrapper")
    package.wrapper = wrapper
    wrapper.XArmAPI = type("XArmAPI", (XArmAPI,), {"world": world})
    return {"xarm": package, "xarm.wrapper": wrapper}


def realsense_modules(world: World) -> dict[str, ModuleType]:
    """`pyrealsense2`: 640 x 480, red left and green right of the middle; 700 mm far."""
    colour = np.zeros((480, 640, 3), np.uint8)
    colour[:, :320, 0], colour[:, 320:, 1] = 200, 100
    depth = np.full((480, 640), 700, np.uint16)

    class Pipeline:
        def start(self, config: Any) -> Any:
            if "camera" in world.fails:
                raise RuntimeError("No device connected")
            sensor = SimpleNamespace(get_depth_scale=lambda: 0.001)
            device = SimpleNamespace(first_depth_sensor=lambda: sensor)
            return SimpleNamespace(get_device=lambda: device)

        def wait_for_frames(self, timeout_ms: int) -> Any:
            if "frames" in world.fails:
                raise RuntimeError(f"Frame didn't arrive within {timeout_ms}")
            frames = {"colour": colour, "depth": depth}
            picture = SimpleNamespace(get_data=lambda: frames["colour"])
            distances = SimpleNamespace(get_data=lambda: frames["depth"])
            return SimpleNamespace(
                get_color_frame=lambda: picture, get_depth_frame=lambda: distances
            )

        def stop(self) -> None:
            world.calls.append(("camera.stop",))

    class Config:
        def enable_stream(self, *values: Any) -> None: ...

        def enable_device(self, serial: str) -> None:
            world.calls.append(("serial", serial))

    sdk = ModuleType("pyrealsense2")
    sdk.pipeline, sdk.config = Pipeline, Config
    sdk.stream = SimpleNamespace(color=1, depth=2)
    sdk.format = SimpleNamespace(rgb8=1, z16=2)
    sdk.align = lambda stream: SimpleNamespace(process=lambda frames: frames)
    return {"pyrealsense2": sdk}


def beside(world: World) -> np.ndarray:
    """A cell further."""
    return np.add(world.position(), [0.04, 0, 0])


def count_looks(world: World, at: int, call: Callable[[], None]) -> list[int]:
    """Call something when pose or motion are asked for that often; grows with each look."""
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        if len(looks) == at:
            call()

    world.during = look
    return looks


def install(monkeypatch: pytest.MonkeyPatch) -> World:
    """Where all SDKs lead to from now on."""
    world = World()
    modules = {**realsense_modules(world), **ur_modules(world), **xarm_modules(world)}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return world


class GripperServer:
    """A Robotiq URCap on a port of its own. Use as a context.

    Args:
        end: what ends an answer; versions differ.
        active: whether the gripper has been activated before.
    """

    def __init__(self, end: bytes = b"", active: bool = True) -> None:
        self.registers = {"ACT": int(active), "STA": 3 if active else 0, "POS": 3, "PRE": 0}
        self.registers |= {"OBJ": 3, "FLT": 0, "GTO": 0, "SPE": 0, "FOR": 0}
        self.ends = (3, 228)  # POS fully open and closed
        self.object_at: int | None = None  # POS at which something is between the fingers
        self.lines: list[str] = []
        self.silent = False
        self._end, self._looks = end, 0
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    def __enter__(self) -> "GripperServer":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):
                    for line in self.rfile:
                        if not outer.silent:
                            self.wfile.write(outer.answer(line.decode().strip()) + outer._end)

        return Handler

    def answer(self, line: str) -> bytes:
        self.lines.append(line)
        verb, *words = line.split()
        if verb == "GET":
            return f"{words[0]} {self._get(words[0])}".encode()
        values = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        self.registers |= values
        if "ACT" in values:
            self.registers["STA"] = 3 if values["ACT"] else 0
        if "POS" in values:
            self._move(values["POS"])
        return b"ack"

    def _move(self, goal: int) -> None:
        self.registers |= {"PRE": goal, "OBJ": 0}
        self._looks = 2
        stop = min(max(goal, self.ends[0]), self.ends[1])
        if self.object_at is not None and stop > self.object_at:
            stop = self.object_at
        self.registers["POS"] = stop

    def _get(self, name: str) -> int:
        if name == "OBJ" and self._looks:
            self._looks -= 1
            return 0
        if name == "OBJ":
            return 2 if self.registers["POS"] == self.object_at else 3
        return self.registers[name]
