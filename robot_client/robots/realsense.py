"""Colour and depth from an Intel RealSense camera, as an arm's `picture`.

Written against pyrealsense2 2.59; tested with a stand-in for it, not with a camera.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_client.errors import RobotError
from robot_client.robots.frames import small_colour, small_depth
from robot_client.robots.hardware import load_sdk

WIDTH, HEIGHT, FPS = 640, 480, 30
TIMEOUT_MS = 1000


class RealSense:
    """The middle of what the camera sees, small; depth is aligned with colour.

    Args:
        pixels: side of the pictures.
        serial: number of the camera; None takes the first one found.
    """

    def __init__(self, pixels: int, serial: str | None = None) -> None:
        self._pixels, self._serial = pixels, serial
        self._pipeline: Any = None
        self._align: Any = None
        self._scale = 0.0  # m per unit of depth

    def connect(self) -> None:
        """Start both streams. Raises RobotError when there is no camera."""
        sdk = load_sdk("pyrealsense2", "pyrealsense2")
        pipeline, config = sdk.pipeline(), sdk.config()
        if self._serial is not None:
            config.enable_device(self._serial)
        config.enable_stream(sdk.stream.color, WIDTH, HEIGHT, sdk.format.rgb8, FPS)
        config.enable_stream(sdk.stream.depth, WIDTH, HEIGHT, sdk.format.z16, FPS)
        try:
            profile = pipeline.start(config)
        except RuntimeError as error:
            raise RobotError(f"RealSense {self._serial or ''}: {error}") from error
        self._pipeline, self._align = pipeline, sdk.align(sdk.stream.color)
        self._scale = profile.get_device().first_depth_sensor().get_depth_scale()

    def picture(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Colours (pixels, pixels, 3) and distances (pixels, pixels) in m, 0 where unknown."""
        if self._pipeline is None:
            raise RobotError("RealSense: not connected")
        try:
            self._pipeline.wait_for_frames(TIMEOUT_MS)  # this one may have waited for us
            frames = self._align.process(self._pipeline.wait_for_frames(TIMEOUT_MS))
        except RuntimeError as error:
            raise RobotError(f"RealSense: no picture: {error}") from error
        colour = np.asanyarray(frames.get_color_frame().get_data())
        depth = np.asanyarray(frames.get_depth_frame().get_data()).astype(np.float32)
        metres = (depth * self._scale).astype(np.float32)
        return small_colour(colour, self._pixels), small_depth(metres, self._pixels)

    def close(self) -> None:
        """Stop the streams."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.stop()
