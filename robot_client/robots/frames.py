"""Pictures from real cameras: the newest one, cropped to a square and made small."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_client.clock import Clock
from robot_client.errors import RobotError
from robot_client.robots.hardware import load_function, load_sdk

OLDEST_S = 1.0  # an older picture is no observation: the camera hangs
FIRST_S = 5.0  # until the first picture
JOIN_S = 2.0


class FrameSource(Protocol):
    """A camera in colour."""

    def connect(self) -> None:
        """Open it. Raises RobotError when it is not there."""
        ...

    def picture(self) -> tuple[NDArray[np.uint8], float]:
        """(H, W, 3) RGB, and its age in seconds. Raises RobotError when there is no new one."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


def frame_source(camera: int | str, clock: Clock) -> FrameSource:
    """A camera by OpenCV's number or path, or `module:function` that returns (H, W, 3) uint8 RGB.

    A path of OpenCV's that has a colon is a URL: `rtsp://`. Raises RobotError if there is no such
    function.
    """
    if isinstance(camera, str) and ":" in camera and "//" not in camera:
        return FunctionFrames(load_function(camera))
    return VideoFrames(camera, clock)


class FunctionFrames:
    """Pictures that a user's function takes when it is asked.

    Args:
        take: returns (H, W, 3) uint8 RGB.
    """

    def __init__(self, take: Callable[[], Any]) -> None:
        self._take = take

    def connect(self) -> None:
        """Nothing to open."""

    def picture(self) -> tuple[NDArray[np.uint8], float]:
        """A new one."""
        return np.asarray(self._take()), 0.0

    def close(self) -> None:
        """Nothing to release."""


class VideoFrames:
    """The newest picture of a camera that OpenCV can read.

    A thread reads all the time: OpenCV hands out pictures in the order that they came, and a robot
    that asks twice a second would see the past.

    Args:
        camera: number or path, as for `cv2.VideoCapture`.
        clock: tells a picture's age.
    """

    def __init__(self, camera: int | str, clock: Clock) -> None:
        self._camera, self._clock = camera, clock
        self._closing, self._fresh = threading.Event(), threading.Event()
        self._latest: tuple[NDArray[np.uint8], float] | None = None  # BGR, and when it came
        self._thread: threading.Thread | None = None

    def connect(self) -> None:
        """Open the camera and wait for its first picture."""
        cv2 = load_sdk("cv2", "opencv-python-headless")
        capture = cv2.VideoCapture(self._camera)
        if not capture.isOpened():
            capture.release()
            raise RobotError(f"camera {self._camera}: cannot be opened")
        self._closing, self._fresh = threading.Event(), threading.Event()
        self._thread = threading.Thread(
            target=self._read, args=(capture, self._closing, self._fresh), daemon=True
        )
        self._thread.start()
        if not self._fresh.wait(FIRST_S):
            self.close()
            raise RobotError(f"camera {self._camera}: no picture within {FIRST_S} s")

    def picture(self) -> tuple[NDArray[np.uint8], float]:
        """The newest one in RGB."""
        if self._latest is None:
            raise RobotError(f"camera {self._camera}: not connected")
        picture, taken = self._latest
        age = self._clock.monotonic() - taken
        if age > OLDEST_S:
            raise RobotError(f"camera {self._camera}: no new picture for {age:.1f} s")
        return picture[..., ::-1], age

    def close(self) -> None:
        """Stop reading. The thread releases the camera, even if it hangs in it now."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(JOIN_S)
        self._thread = self._latest = None

    def _read(self, capture: Any, closing: threading.Event, fresh: threading.Event) -> None:
        """In a thread. One that reads nothing any more shows by the age of the last picture."""
        while True:
            read, picture = capture.read()
            if closing.is_set() or not read:
                break
            self._latest = picture, self._clock.monotonic()
            fresh.set()
        capture.release()


def small_colour(picture: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    """(H, W, 3) -> (pixels, pixels, 3): the means of square blocks around the middle.

    Raises:
        RobotError: it is no picture in colour, or smaller than that.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise RobotError(f"camera: expected uint8 (H, W, 3), got {picture.dtype} {picture.shape}")
    means: NDArray[np.float64] = _blocks(picture, pixels).mean((1, 3))
    return np.round(means).astype(np.uint8)


def small_depth(metres: NDArray[np.float32], pixels: int) -> NDArray[np.float32]:
    """(H, W) -> (pixels, pixels) m: the median of what each block measured, 0 where nothing was.

    Of an even number the greater middle one: a mean of two would lie where nothing is.

    Raises:
        RobotError: it is smaller than that.
    """
    blocks = _blocks(metres, pixels).swapaxes(1, 2).reshape(pixels, pixels, -1)
    measured = np.isfinite(blocks) & (blocks > 0)
    count = measured.sum(-1)
    ordered = np.sort(np.where(measured, blocks, np.inf), -1)  # what was not measured comes last
    middle = np.take_along_axis(ordered, (count // 2)[..., None], -1)
    return np.where(count > 0, middle[..., 0], 0).astype(np.float32)


def _blocks(picture: NDArray[Any], pixels: int) -> NDArray[Any]:
    """(H, W, ...) -> (pixels, size, pixels, size, ...): blocks of the greatest square that fits."""
    height, width = picture.shape[:2]
    size = min(height, width) // pixels
    if size == 0:
        raise RobotError(f"camera: expected {pixels} pixels or more, got {height} x {width}")
    side = size * pixels
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    return square.reshape(pixels, size, pixels, size, *picture.shape[2:])
