"""Which robots need help, and how fast they are shown to be."""

import pytest

from server.api.examples import EXAMPLES
from server.api.schemas import RobotView
from server.dashboard.health import health_of, is_slow, just_slow, needs_help
from server.dashboard.house import LOOK_S, Trace


def robot(**changes):
    return RobotView.model_validate(EXAMPLES["RobotView"] | {"control_hz": 2.0} | changes)


def looked(views):
    """The trace of a robot that was looked at so, and how it is shown at each look."""
    trace, shown = Trace(), []
    for look, view in enumerate(views):
        trace.add(view, look * LOOK_S)
        shown.append(trace.steady(view))
    return trace, shown


def test_a_loop_that_turns_once_less_between_two_heartbeats_is_not_slow():
    _, shown = looked([robot(loop_hz=hz) for hz in (2.0, 2.0, 1.5, 2.0, 2.0, 2.0, 1.5) * 8])
    assert not any(is_slow(view) for view in shown)


def test_a_slow_loop_is_slow_without_a_break_and_needs_no_help():
    _, shown = looked([robot(loop_hz=hz) for hz in (1.5, 1.5, 2.0) * 8])
    words = [health_of(view).word for view in shown[3:]]
    assert set(words) == {"slow"}
    assert just_slow(shown[-1])
    assert not needs_help(shown[-1])


def test_a_loop_that_stands_is_told_at_once():
    _, shown = looked([robot(loop_hz=2.0)] * 20 + [robot(loop_hz=0.0)])
    assert shown[-1].loop_hz == 0.0


def test_a_robot_that_stopped_needs_help():
    assert needs_help(robot(safety="stop", reason="the camera is silent"))


def test_rows_are_counted_in_real_time():
    rows = [robot(loop_hz=2.0, backlog_rows=5, session_rows=20 * n) for n in range(30)]
    trace, _ = looked(rows)
    assert trace.rows_per_s == pytest.approx(40.0)
    assert trace.times_real(rows[-1]) == pytest.approx(20.0)
    assert trace.times_real(robot(loop_hz=2.0, backlog_rows=900)) is None  # it makes up for a gap
    real, _ = looked([robot(loop_hz=2.0, session_rows=n) for n in range(30)])
    assert real.times_real(robot(loop_hz=2.0)) is None
    again, _ = looked([robot(session_rows=n) for n in (900, 910, 0, 10, 20)])
    assert again.rows_per_s == pytest.approx(20.0)
