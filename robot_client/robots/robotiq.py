"""A Robotiq two-finger gripper through its URCap on a Universal Robots controller.

The URCap listens on port 63352 for lines of text: `SET VAR VALUE ...`, answered by `ack`, and
`GET VAR`, answered by `VAR VALUE`. Variables of the gripper's own registers: ACT activate, GTO go,
POS position (0 open, 255 closed), SPE speed, FOR force; read only STA status (3 when active), OBJ
object (0 moving, 1 and 2 stopped by something, 3 there), PRE the position asked for, FLT fault.
Robotiq, 2F-85 instruction manual, chapter on control.

Tested against a socket server that speaks like it; not with a gripper.
"""

from __future__ import annotations

import re
import socket
import threading

from robot_client.clock import Clock
from robot_client.errors import RobotError, SchemaError
from robot_client.robots.hardware import wait_until

PORT = 63352
TIMEOUT_S = 2.0
ACTIVATION_S = 15.0
SPEED, FORCE = 128, 30  # of 255
ACTIVE, MOVING = 3, 0
ANSWER = re.compile(rb"ack|[A-Z]{3} \d+|\?")
# A fault below this is a hint that passes by itself (manual, gFLT); others need somebody.
FAULT = 8


class Robotiq:
    """The gripper.

    Args:
        host: the arm's controller. port: of the URCap.
        clock: paces the waiting.
        opened, closed: what POS reads with nothing between the fingers, fully open and closed. The
            task tells by them whether something is held, so they should be measured.

    Raises:
        SchemaError: these are not two positions, the open one less.
    """

    def __init__(
        self, host: str, clock: Clock, *, port: int = PORT, opened: int = 3, closed: int = 228
    ) -> None:
        if not 0 <= opened < closed <= 255:
            raise SchemaError("gripper", "0 <= opened < closed <= 255", (opened, closed))
        self._address, self._clock = (host, port), clock
        self._opened, self._closed = opened, closed
        self._socket: socket.socket | None = None
        self._line = threading.Lock()  # one question at a time
        self._asked = 0  # position

    def connect(self) -> None:
        """Open the connection, and activate the gripper if it is not: it then opens and closes."""
        try:
            self._socket = socket.create_connection(self._address, TIMEOUT_S)
        except OSError as error:
            raise RobotError(f"gripper: {self._address[0]}:{self._address[1]}: {error}") from error
        if self._get("STA") != ACTIVE:
            self._set(ACT=0)
            wait_until(lambda: self._get("STA") == 0, self._clock, TIMEOUT_S, "gripper: reset")
            self._set(ACT=1)
            active = "gripper: activation"
            wait_until(lambda: self._get("STA") == ACTIVE, self._clock, ACTIVATION_S, active)
        self.check()

    def check(self) -> None:
        """Raise RobotError when the gripper has a fault that somebody must see to."""
        fault = self._get("FLT")
        if fault >= FAULT:
            raise RobotError(f"gripper: fault {fault}: see its manual, gFLT")

    def squeeze(self, opening: float) -> None:
        """Begin to open (1) or close (0)."""
        share = min(max(opening, 0.0), 1.0)
        position = round(self._closed + share * (self._opened - self._closed))
        if share in (0.0, 1.0):
            position = 255 if share == 0 else 0  # as far as it goes
        self._set(POS=position, SPE=SPEED, FOR=FORCE, GTO=1)
        self._asked = position

    def still(self) -> bool:
        """Whether it has arrived, or something stopped it."""
        return self._get("PRE") == self._asked and self._get("OBJ") != MOVING

    def opening(self) -> float:
        """From 0, closed, to 1, open."""
        share = (self._closed - self._get("POS")) / (self._closed - self._opened)
        return min(max(share, 0.0), 1.0)

    def close(self) -> None:
        """Close the connection. The gripper keeps its force."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _set(self, **values: int) -> None:
        words = " ".join(f"{name} {value}" for name, value in values.items())
        answer = self._ask(f"SET {words}")
        if answer != "ack":
            raise RobotError(f"gripper: SET {words}: expected ack, got {answer!r}")

    def _get(self, name: str) -> int:
        answer = self._ask(f"GET {name}")
        found, _, value = answer.partition(" ")
        if found != name or not value.isdigit():
            raise RobotError(f"gripper: GET {name}: expected {name} and a number, got {answer!r}")
        return int(value)

    def _ask(self, question: str) -> str:
        if self._socket is None:
            raise RobotError("gripper: not connected")
        try:
            with self._line:
                self._socket.sendall(question.encode() + b"\n")
                return _answer(self._socket)
        except OSError as error:  # a late answer would be taken for that of the next question
            self.close()
            raise RobotError(f"gripper: {question}: {error}") from error


def _answer(connection: socket.socket) -> str:
    """One answer. Some versions end it with a new line, some do not."""
    received = b""
    while not ANSWER.fullmatch(received.strip()):
        more = connection.recv(1024)
        if not more or len(received) > 1024:
            raise ConnectionError(f"no answer but {received!r}")
        received += more
    return received.decode("ascii").strip()
