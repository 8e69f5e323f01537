"""What the control loop does when its robot, policy, server or disk fails."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import numpy as np
import pytest

from robot_client.clock import ManualClock
from robot_client.errors import BundleError, RobotError
from robot_client.messages import Event, PolicyReport
from robot_client.ports import Episode
from robot_client.robot import Reading
from robot_client.runtime import MAX_ATTEMPTS, MAX_REFUSALS, Runtime
from robot_client.safety import Limits
from robot_client.schema import NO_POLICY, Source
from tests.unit.control import Arm, Chooser, Policies, Recorder, start, steady


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_action_is_never_applied_and_says_why(bad: float) -> None:
    arm = Arm(steps=4)
    runtime, recorder, server = start(arm, Chooser(lambda n: [bad if n == 2 else 0.5, 0.5]))
    summary = runtime.run()
    assert np.isfinite(arm.applied).all()
    assert recorder.column("source")[:4] == [Source.POLICY, Source.HOLD] + [Source.POLICY] * 2
    assert recorder.column("policy_version")[1] == NO_POLICY
    assert recorder.column("action")[1] == [0, 0]
    assert summary.interventions == {"not_finite": 1}
    (event,) = server.of(Event)
    assert event.kind == "safety_stop"
    assert "not finite" in event.text


def test_a_policy_that_stays_bad_is_dropped_and_the_robot_stops() -> None:
    arm, halted = Arm(steps=None), threading.Event()
    runtime, recorder, server = start(
        arm,
        Chooser(lambda n: [np.nan, 0], version=3),
        max_episodes=2,
        halted=halted,
        on_episode=lambda e: halted.set(),
    )
    runtime.run()
    assert arm.applied == []
    assert len(recorder.rows) == MAX_REFUSALS + 1
    assert recorder.rows[-1]["is_last"]
    assert "not finite" in server.of(PolicyReport)[-1].error
    assert arm.calls[-2:] == ["stop", "close"]


def test_the_robots_own_hold_is_used() -> None:
    arm = Arm(steps=2)
    arm.hold = lambda: np.array([0.1, 0.2])  # type: ignore[attr-defined]
    runtime, recorder, _ = start(arm, Chooser(lambda n: [np.nan, 0]))
    runtime.run()
    np.testing.assert_allclose(recorder.column("action")[0], [0.1, 0.2], rtol=1e-6)


def test_a_graph_that_fails_holds_too() -> None:
    def fail(n: int) -> Any:
        raise BundleError("the graph does not run")

    runtime, recorder, server = start(Arm(steps=2), Chooser(fail))
    runtime.run()
    assert recorder.column("source")[:2] == [Source.HOLD] * 2
    assert "the graph does not run" in server.of(Event)[0].text


@pytest.mark.parametrize("where", ["connect", "reset", "observe", "apply"])
def test_a_failing_robot_is_stopped_retried_and_given_up(where: str) -> None:
    def fail(*_: Any) -> Any:
        raise OSError("the cable is out")

    arm = Arm(**{where: fail})
    runtime, _, server = start(arm, Chooser(steady))
    with pytest.raises(RobotError, match=f"{where}: OSError: the cable is out"):
        runtime.run()
    assert arm.calls.count("connect") == MAX_ATTEMPTS
    last = max(i for i, c in enumerate(arm.calls) if c == where)
    assert "stop" in arm.calls[last:]
    assert arm.calls[-1] == "close"
    assert any(e.kind == "robot_error" and where in e.text for e in server.of(Event))


def test_a_robot_that_comes_back_goes_on() -> None:
    failures = iter([True, False])

    def reset(seed: int | None) -> None:
        if next(failures, False):
            raise OSError("the cable is out")

    runtime, recorder, _ = start(Arm(steps=2, reset=reset), Chooser(steady))
    runtime.run()
    assert len(recorder.rows) == 3


def test_an_exception_of_the_policy_stops_the_robot_and_is_not_hidden() -> None:
    def fail(n: int) -> Any:
        raise ZeroDivisionError("a bug")

    arm = Arm()
    runtime, _, _ = start(arm, Chooser(fail))
    with pytest.raises(ZeroDivisionError):
        runtime.run()
    assert arm.calls[-2:] == ["stop", "close"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_even_an_interrupt_stops_the_robot(error: type[BaseException]) -> None:
    def fail(action: Any) -> Any:
        raise error

    arm = Arm(apply=fail)
    runtime, _, _ = start(arm, Chooser(steady))
    with pytest.raises(error):
        runtime.run()
    assert arm.calls[-2:] == ["stop", "close"]


def test_a_stop_that_raises_hides_nothing() -> None:
    def fail() -> None:
        raise OSError("no motor")

    arm = Arm(steps=1, stop=fail)
    runtime, recorder, _ = start(arm, Chooser(steady))
    runtime.run()
    assert len(recorder.rows) == 2
    assert arm.calls[-1] == "close"


@pytest.mark.parametrize(
    "obs",
    [
        {"vector": np.array([1, np.nan, 1], np.float32)},
        {"vector": np.ones(2, np.float32)},
        {"vector": np.ones(3)},
        {},
    ],
)
def test_a_reading_that_rows_cannot_hold_is_a_robot_error(obs: Any) -> None:
    runtime, recorder, _ = start(Arm(observe=lambda: Reading(obs)), Chooser(steady))
    with pytest.raises(RobotError, match="observe"):
        runtime.run()
    assert recorder.rows == []


def test_a_stale_observation_ends_the_episode_and_counts_as_a_lost_device() -> None:
    clock = ManualClock()
    obs = {"vector": np.ones(3, np.float32)}
    seen = iter([Reading(obs), Reading(obs, info={"age_s": 1.5})])
    arm = Arm(observe=lambda: next(seen, Reading(obs)))
    runtime, recorder, server = start(arm, Chooser(steady), clock=clock, max_episodes=2)
    runtime.run()
    assert recorder.column("is_last")[:3] == [False, True, False]
    assert any("observation is 1.5 s old" in e.text for e in server.of(Event))
    assert arm.calls.count("connect") == 2


def test_it_acts_for_long_without_a_server_and_then_holds() -> None:
    clock = ManualClock()
    arm = Arm(steps=4)
    runtime, recorder, server = start(arm, Chooser(steady), clock=clock, limits=Limits())
    server.server_age = 3600.0
    runtime.run()
    assert recorder.column("source") == [Source.POLICY] * 5
    assert arm.applied == [[0.5, -0.5]] * 4
    assert runtime.heartbeat().safety == "cached"
    runtime, recorder, server = start(arm, Chooser(steady), clock=clock, limits=Limits())
    server.server_age = 100_000.0
    runtime.run()
    assert recorder.column("source")[:4] == [Source.HOLD] * 4
    assert runtime.heartbeat().safety == "hold"


def test_it_boots_and_acts_with_no_server_in_sight() -> None:
    arm = Arm(steps=4)
    runtime, recorder, server = start(arm, Chooser(steady))
    server.server_age = float("inf")  # as a link says before the first word
    runtime.run()
    assert recorder.column("source") == [Source.POLICY] * 5
    assert arm.applied == [[0.5, -0.5]] * 4


def test_without_any_link_no_server_is_missed() -> None:
    recorder = Recorder()
    runtime = Runtime(
        Arm(steps=4), recorder, Policies(Chooser(steady)), ManualClock(), max_episodes=1
    )
    runtime.run()
    assert recorder.column("source") == [Source.POLICY] * 5
    assert runtime.heartbeat().safety == "fresh"


def test_a_full_spool_stops_the_robot_and_the_last_row_is_kept_for_later() -> None:
    recorder = Recorder(quota=3)
    arm = Arm(steps=5)
    endings: list[Episode] = []

    def make_room(episode: Episode) -> None:
        endings.append(episode)
        recorder.quota = 100

    runtime, _, server = start(
        arm, Chooser(steady), recorder=recorder, max_episodes=2, on_episode=make_room
    )
    runtime.run()
    assert endings[0].ending == "the spool is full"
    assert recorder.column("episode") == [0] * 4 + [1] * 6
    assert recorder.column("is_last") == [False] * 3 + [True] + [False] * 5 + [True]
    assert recorder.column("action")[3] == [0, 0]
    assert Event("spool_full", "stop: full") in server.sent


def test_it_waits_while_the_spool_is_full() -> None:
    recorder, halted = Recorder(quota=2), threading.Event()
    arm = Arm()

    def stop() -> None:
        if arm.calls.count("stop") > 5:
            halted.set()

    arm.hooks["stop"] = stop
    runtime, _, _ = start(arm, Chooser(steady), recorder=recorder, halted=halted, max_episodes=9)
    runtime.run()
    assert arm.calls.count("reset") == 1
    assert runtime.heartbeat().reason == "full"


@pytest.mark.parametrize("declared", [False, True])
def test_the_watchdog_stops_a_loop_that_hangs(declared: bool) -> None:
    stopped = threading.Event()
    arm = Arm(steps=3)
    if declared:
        arm.silence_s = 0.02

    def stop() -> None:
        if threading.current_thread().name == "watchdog":
            stopped.set()

    def apply(action: Any) -> Any:
        if len(arm.applied) == 2:
            stopped.wait()  # until the watchdog's thread has called stop
        return action

    arm.hooks |= {"stop": stop, "apply": apply}
    endings: list[Episode] = []
    runtime, _, server = start(
        arm,
        Chooser(steady),
        silence_s=None if declared else 0.02,
        max_episodes=2,
        on_episode=endings.append,
    )
    runtime.run()
    assert endings[0].ending == "the watchdog stopped the robot"
    assert any("the loop hangs" in e.text for e in server.of(Event))


def test_an_action_that_took_too_long_to_choose_is_not_taken() -> None:
    """The watchdog has stopped the robot, and what the action answers has passed."""
    stopped, arm = threading.Event(), Arm(steps=3)

    def stop() -> None:
        if threading.current_thread().name == "watchdog":
            stopped.set()

    def choose(asked: int) -> list[float]:
        if asked == 2:
            stopped.wait()
        return [0.5, -0.5]

    arm.hooks["stop"] = stop
    endings: list[Episode] = []
    runtime, recorder, _ = start(arm, Chooser(choose), silence_s=0.4, on_episode=endings.append)
    with contextlib.suppress(RobotError):
        runtime.run()
    assert endings[0].ending == "the watchdog stopped the robot"
    assert len(arm.applied) == 1
    assert recorder.column("source")[1] == Source.HOLD
