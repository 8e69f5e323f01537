"""Pictures as H.264 video, several episodes in one file, as LeRobot keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_client.schema import Json
from server.datasets.extra import need
from server.errors import Invalid

CODEC, PIXELS = "libx264", "yuv420p"
_KEYFRAME_EVERY = 2  # frames: a reader that wants one frame decodes two at most
_QUALITY = 18  # constant rate factor: hard to tell from the original by eye


class VideoFile:
    """A video that is written episode by episode.

    Args:
        path: of the file; its folders are made.
        fps: frames per second.
        shape: (H, W, 1 or 3) of a picture; H and W are even, or it raises Invalid.
    """

    def __init__(self, path: Path, fps: int, shape: tuple[int, ...]) -> None:
        if shape[0] % 2 or shape[1] % 2:
            raise Invalid("images", "png, for pictures of odd height or width", "video")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.frames = path, 0
        self._container = need("av").open(str(path), "w")
        self._stream = self._container.add_stream(CODEC, rate=fps)
        self._stream.width, self._stream.height = shape[1], shape[0]
        self._stream.pix_fmt = PIXELS
        self._stream.options = {"crf": str(_QUALITY), "g": str(_KEYFRAME_EVERY), "threads": "1"}
        self._stream.codec_context.time_base = Fraction(1, fps)

    def add(self, pictures: NDArray[np.uint8]) -> None:
        """Append (T, H, W, 1 or 3) frames."""
        frame_type = need("av").VideoFrame
        colour = "gray" if pictures.shape[-1] == 1 else "rgb24"
        for picture in pictures[..., 0] if colour == "gray" else pictures:
            frame = frame_type.from_ndarray(np.ascontiguousarray(picture), format=colour)
            frame.pts = self.frames
            self._container.mux(self._stream.encode(frame))
            self.frames += 1

    @property
    def nbytes(self) -> int:
        """Bytes on the disk so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def close(self) -> None:
        """Write the frames that the encoder holds, and the end of the file."""
        self._container.mux(self._stream.encode())
        self._container.close()


class VideoReader:
    """Reads runs of frames, best in the order in which they lie in the files."""

    def __init__(self) -> None:
        self._path = Path()
        self._next = 0
        self._frames: Iterator[Any] = iter(())

    def read(self, path: Path, start: int, count: int) -> NDArray[np.uint8]:
        """(count, H, W, 3) frames from number `start` on. Raises Invalid when there are fewer."""
        if path != self._path or start < self._next:
            self._path, self._next, self._frames = path, 0, _frames(path)
        wanted = islice(self._frames, start - self._next, start - self._next + count)
        found = [frame.to_ndarray(format="rgb24") for frame in wanted]
        self._next = start + len(found)
        if len(found) != count:
            raise Invalid(path.name, f"{count} frames from {start} on", len(found))
        return np.stack(found)


def video_info(fps: int, shape: tuple[int, ...]) -> Json:
    """What LeRobot says of a video."""
    return {
        "video.height": shape[0],
        "video.width": shape[1],
        "video.channels": 3,
        "video.codec": "h264",
        "video.pix_fmt": PIXELS,
        "video.is_depth_map": False,
        "video.fps": fps,
        "has_audio": False,
    }


def _frames(path: Path) -> Iterator[Any]:
    with need("av").open(str(path)) as container:
        yield from container.decode(video=0)
