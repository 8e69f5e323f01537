"""Ticks: never made up for, counted when missed."""

from __future__ import annotations

import pytest

from robot_client.clock import ManualClock
from robot_client.pacing import Pacer


def test_late_ticks_are_counted_and_never_made_up_for() -> None:
    clock = ManualClock()
    pacer = Pacer(clock, 10)
    ticks = []
    for work in (0.05, 0.25, 0.05, 0.105, 0.0):
        clock.advance(work)
        pacer.wait()
        ticks.append(clock.monotonic())
    assert ticks == pytest.approx([0.1, 0.4, 0.5, 0.605, 0.7])
    assert pacer.missed == 2


def test_the_rate_is_measured() -> None:
    clock = ManualClock()
    pacer = Pacer(clock, 50)
    assert pacer.hz == 0
    for _ in range(20):
        pacer.wait()
    assert pacer.hz == pytest.approx(50)
