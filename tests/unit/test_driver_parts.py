"""What drivers share: waiting, release, cameras and small pictures."""

import sys
import threading
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from robot_client.clock import ManualClock
from robot_client.errors import RobotError
from robot_client.robots.frames import (
    FunctionFrames,
    VideoFrames,
    frame_source,
    small_colour,
    small_depth,
)
from robot_client.robots.hardware import load_function, load_sdk, release, wait_until


class Capture:
    """OpenCV's: pictures of one shade, each one lighter, when the test lets it."""

    def __init__(self, opens: bool = True) -> None:
        self.may_read = threading.Semaphore(1)
        self.was_read = threading.Semaphore(0)
        self.opens, self.released, self.reads = opens, threading.Event(), 0
        self.ends = False

    def isOpened(self) -> bool:  # noqa: N802
        return self.opens

    def read(self) -> tuple[bool, Any]:
        if self.reads:
            self.was_read.release()
        self.may_read.acquire(timeout=10)
        self.reads += 1
        picture = np.zeros((64, 64, 3), np.uint8)
        picture[..., 0] = self.reads  # blue comes first
        return not self.ends, picture

    def next(self) -> None:
        """Another picture; returns when it is there."""
        self.may_read.release()
        assert self.was_read.acquire(timeout=10)

    def release(self) -> None:
        self.released.set()


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> Capture:
    capture = Capture()
    cv2 = ModuleType("cv2")
    cv2.VideoCapture = lambda camera: capture
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    return capture


def taken() -> np.ndarray:
    return np.full((70, 80, 3), 9, np.uint8)


def test_the_newest_picture_is_seen_in_rgb_with_its_age(capture):
    clock = ManualClock()
    camera = VideoFrames(0, clock)
    camera.connect()
    assert capture.was_read.acquire(timeout=10)
    clock.advance(0.4)
    picture, age = camera.picture()
    assert picture[0, 0].tolist() == [0, 0, 1]
    assert age == pytest.approx(0.4)
    for _ in range(3):
        capture.next()
    picture, age = camera.picture()
    assert (picture[0, 0].tolist(), age) == ([0, 0, 4], 0)
    capture.may_read.release()
    camera.close()
    assert capture.released.wait(5)


def test_a_camera_that_hangs_is_an_error_and_shows_no_old_picture(capture):
    clock = ManualClock()
    camera = VideoFrames(0, clock)
    camera.connect()
    clock.advance(1.1)
    with pytest.raises(RobotError, match=r"no new picture for 1\.1 s"):
        camera.picture()
    capture.may_read.release()
    camera.close()


def test_a_camera_that_cannot_be_opened_is_an_error(capture):
    capture.opens = False
    with pytest.raises(RobotError, match="camera 3: cannot be opened"):
        VideoFrames(3, ManualClock()).connect()
    assert capture.released.is_set()


def test_a_camera_without_a_first_picture_is_an_error(capture, monkeypatch):
    monkeypatch.setattr("robot_client.robots.frames.FIRST_S", 0.05)
    capture.ends = True
    with pytest.raises(RobotError, match="no picture within"):
        VideoFrames(0, ManualClock()).connect()
    assert capture.released.wait(5)


def test_before_connect_there_is_no_picture(capture):
    with pytest.raises(RobotError, match="not connected"):
        VideoFrames(0, ManualClock()).picture()


@pytest.mark.parametrize("camera", [0, "/dev/video0", "rtsp://user@host:554/top"])
def test_numbers_paths_and_addresses_are_opencvs(camera):
    assert isinstance(frame_source(camera, ManualClock()), VideoFrames)


def test_a_function_is_asked_for_each_picture():
    camera = frame_source("tests.unit.test_driver_parts:taken", ManualClock())
    assert isinstance(camera, FunctionFrames)
    camera.connect()
    picture, age = camera.picture()
    assert (picture.shape, age) == ((70, 80, 3), 0)
    camera.close()


def test_a_small_picture_is_the_mean_of_blocks_in_the_middle():
    """5 x 7 to 2 x 2: blocks of 2 x 2 from row 0 and column 1 on."""
    picture = np.zeros((5, 7, 3), np.uint8)
    picture[0:2, 1:3] = [[[10], [20]], [[30], [41]]]
    picture[2:4, 3:5, 1] = 200
    picture[4], picture[:, 0], picture[:, 5:] = 255, 255, 255
    small = small_colour(picture, 2)
    assert small.shape == (2, 2, 3)
    assert small[0, 0].tolist() == [25, 25, 25]
    assert small[1, 1].tolist() == [0, 200, 0]
    assert small[0, 1].tolist() == [0, 0, 0]


def test_a_picture_of_the_right_size_stays_as_it_is():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(small_colour(picture, 64), picture)


def test_small_depth_is_the_median_of_what_was_measured():
    metres = np.array(
        [[0.5, 0.7, 0.0, 0.0], [0.9, 0.0, 0.0, 0.0], [1, 1, np.nan, 2], [1, 9, 0, 3]], np.float32
    )
    expected = [[0.7, 0.0], [1.0, 3.0]]  # of 2 and 3 the greater
    np.testing.assert_allclose(small_depth(metres, 2), expected)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((64, 64, 3), np.float32),
        np.zeros((63, 99, 3), np.uint8),
    ],
)
def test_what_is_no_picture_or_too_small_is_refused(picture):
    with pytest.raises(RobotError, match="camera: expected"):
        small_colour(picture, 64)


def test_waiting_asks_again_until_it_is_done():
    clock = ManualClock()
    wait_until(lambda: clock.monotonic() >= 0.5, clock, 1.0, "a wait")
    assert clock.monotonic() == pytest.approx(0.5, abs=0.021)


def test_waiting_ends_at_its_limit():
    clock = ManualClock()
    with pytest.raises(RobotError, match=r"a wait: not done within 1\.0 s"):
        wait_until(lambda: False, clock, 1.0, "a wait")
    assert clock.monotonic() == pytest.approx(1.0, abs=0.041)


def test_release_goes_on_after_a_failure_and_tells_of_all():
    done = []

    def fail() -> None:
        raise OSError("no such port")

    with pytest.raises(RobotError, match="OSError: no such port; OSError: no such port"):
        release("toy", [fail, lambda: done.append(1), fail])
    assert done == [1]
    release("toy", [lambda: done.append(2)])


def test_names_are_resolved_late_and_their_absence_is_an_error():
    assert load_sdk("math", "any").pi > 3
    assert load_function("math:sqrt")(4) == 2
    with pytest.raises(RobotError, match="pip install some-package"):
        load_sdk("no_such_module", "some-package")
