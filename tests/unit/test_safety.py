from __future__ import annotations

import threading
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from gymnasium import spaces

from robot_client import safety
from robot_client.clock import ManualClock, SystemClock
from robot_client.errors import RobotError, SafetyStop, SchemaError
from robot_client.robot import Robot
from robot_client.safety import (
    FORGETFUL,
    Ages,
    EmergencyStop,
    Ladder,
    Limits,
    LowPass,
    Rung,
    SafetyFilter,
    Watchdog,
    declared_age,
    silence_limit,
)

BOX = spaces.Box(-2.0, 2.0, (2,), np.float32)


def act(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_stops(bad: float) -> None:
    safe = SafetyFilter(BOX, 10)
    with pytest.raises(SafetyStop, match="not finite"):
        safe(act(0, bad))
    assert safe.counts["not_finite"] == 1


def test_out_of_range_is_clipped_and_counted() -> None:
    safe = SafetyFilter(BOX, 10)
    np.testing.assert_array_equal(safe(act(5, -1)), [2, -1])
    safe(act(1, 1))
    assert safe.counts["range"] == 1
    assert safe(act(1, 1)).dtype == np.float32


def test_the_rate_is_limited_from_the_executed_action() -> None:
    safe = SafetyFilter(BOX, 10, max_rate=0.25)  # of a range of 4: 1 per step
    np.testing.assert_array_equal(safe(act(2, -0.5)), [1, -0.5])
    safe.executed(act(0.5, -0.5))
    np.testing.assert_array_equal(safe(act(2, -2)), [1.5, -1.5])
    assert safe.counts["rate"] == 2


def test_rest_is_the_action_nearest_to_zero() -> None:
    safe = SafetyFilter(spaces.Box(1.0, 3.0, (1,), np.float32), 10, max_rate=0.5)
    np.testing.assert_array_equal(safe(act(3)), [2])


def test_without_bounds_nothing_is_limited() -> None:
    safe = SafetyFilter(spaces.Box(-np.inf, np.inf, (1,), np.float32), 10, max_rate=0.1)
    np.testing.assert_array_equal(safe(act(1e6)), [1e6])


def test_a_new_policy_is_blended_in() -> None:
    safe = SafetyFilter(BOX, 10, blend_steps=3)
    safe.executed(act(0, 0))
    seen = []
    for _ in range(5):
        action = safe(act(2, 2))
        safe.executed(action)
        seen.append(float(action[0]))
    assert seen[0] == pytest.approx(0.5)
    assert seen == sorted(seen)
    assert seen[3:] == [2, 2]
    assert safe.counts["blend"] == 3
    safe.blend()
    assert float(safe(act(-2, -2))[0]) == pytest.approx(1)


def test_a_choice_must_exist() -> None:
    safe = SafetyFilter(spaces.Discrete(3), 10)
    assert safe(np.asarray(2)) == 2
    for wrong in (3, -1):
        with pytest.raises(SafetyStop, match="of 3 actions"):
            safe(np.asarray(wrong))


def test_the_low_pass_halves_the_power_at_its_cutoff() -> None:
    rate, cutoff = 100.0, 5.0

    def gain(frequency: float) -> float:
        low = LowPass(cutoff, rate)
        t = np.arange(4000) / rate
        out = np.array([low(np.asarray(x)) for x in np.sin(2 * np.pi * frequency * t)])
        return float(np.sqrt(2 * np.mean(out[2000:] ** 2)))

    assert gain(cutoff) == pytest.approx(1 / np.sqrt(2), abs=0.01)
    assert gain(0.5) == pytest.approx(1, abs=0.01)
    assert gain(20.0) < 0.06


def test_the_low_pass_starts_at_rest_and_settles_on_the_input() -> None:
    safe = SafetyFilter(BOX, 50, action_filter_hz=5)
    first = safe(act(2, 2))
    assert 0 < first[0] < 0.5
    for _ in range(100):
        last = safe(act(2, 2))
        assert (last <= 2).all()  # its overshoot is cut
    np.testing.assert_allclose(last, 2, atol=1e-3)


@pytest.mark.parametrize(
    "wrong", [{"max_rate": 0}, {"max_rate": 1.5}, {"blend_steps": -1}, {"action_filter_hz": 5}]
)
def test_a_senseless_declaration_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SchemaError, match="robot"):
        SafetyFilter(BOX, 10, **wrong)


@pytest.mark.parametrize(
    ("ages", "rung", "why"),
    [
        (Ages(0, 0, 0), Rung.FRESH, ""),
        (Ages(0, 0, 2), Rung.CACHED, "out of reach"),
        (Ages(0, 0, 3600), Rung.CACHED, "out of reach"),
        (Ages(0, 301, 0), Rung.CACHED, "301 s old"),
        (Ages(0, 0, 90000), Rung.HOLD, "no word from the server"),
        (Ages(1.1, 0, 0), Rung.STOP, "observation is 1.1 s old"),
        (Ages(1.1, 999, 99999), Rung.STOP, "observation"),
    ],
)
def test_ladder(ages: Ages, rung: Rung, why: str) -> None:
    verdict = Ladder(Limits(), EmergencyStop()).rung(ages)
    assert verdict.rung is rung
    assert why in verdict.reason


def test_slow_robots_may_be_silent_for_five_periods() -> None:
    assert silence_limit(50) == 1
    assert silence_limit(2) == 2.5
    assert Limits.for_rate(2).observation_s == 2.5


def test_the_emergency_stop_outlives_a_restart_until_released(tmp_path: Path) -> None:
    path = tmp_path / "estop"
    estop = EmergencyStop(path)
    ladder = Ladder(Limits(), estop)
    estop.pull("smoke")
    assert ladder.rung(Ages(0, 0, 0)).rung is Rung.ESTOP
    again = EmergencyStop(path)
    assert again.pulled
    assert again.reason == "smoke"
    again.release()
    assert not EmergencyStop(path).pulled


def test_the_watchdog_stops_once_per_silence() -> None:
    clock, stops = ManualClock(), []
    watchdog = Watchdog(lambda: stops.append(clock.monotonic()), 1.0, clock)
    clock.advance(0.9)
    watchdog.check()
    watchdog.beat()
    clock.advance(0.9)
    watchdog.check()
    assert stops == []
    clock.advance(0.2)
    watchdog.check()
    watchdog.check()
    assert len(stops) == 1
    watchdog.beat()
    clock.advance(1.1)
    watchdog.check()
    assert len(stops) == 2


def test_a_reset_may_take_longer() -> None:
    clock, stops = ManualClock(), []
    watchdog = Watchdog(lambda: stops.append(1), 1.0, clock)
    with watchdog.allow(30):
        clock.advance(30)
        watchdog.check()
        assert stops == []
        clock.advance(2)
        watchdog.check()
        assert stops == [1]
    clock.advance(1.1)
    watchdog.check()
    assert stops == [1, 1]


def test_the_watchdogs_thread_notices_by_itself() -> None:
    stopped = threading.Event()
    watchdog = Watchdog(stopped.set, 0.01, SystemClock())
    watchdog.start()
    stopped.wait()  # the test's own time limit ends a watchdog that sleeps
    watchdog.close()


def test_nothing_is_allowed_to_take_longer_once_the_robot_is_to_stop() -> None:
    clock, stops, urgent = ManualClock(), [], threading.Event()
    watchdog = Watchdog(lambda: stops.append(1), 1.0, clock, urgent.is_set)
    with watchdog.allow(30):
        clock.advance(2)
        watchdog.check()
        assert stops == []
        urgent.set()
        watchdog.check()
        assert stops == [1]


def test_a_robot_of_long_steps_is_stopped_as_soon_as_others_once_it_is_to_stop() -> None:
    clock, stops, urgent = ManualClock(), [], threading.Event()
    watchdog = Watchdog(lambda: stops.append(1), 1.0, clock, urgent.is_set, 29.0)
    clock.advance(29.5)
    watchdog.check()
    with watchdog.allow(30):
        clock.advance(59)
        watchdog.check()
    clock.advance(1.5)
    watchdog.check()
    assert stops == []
    urgent.set()
    watchdog.check()
    assert stops == [1]


def test_it_insists_while_more_is_allowed_and_only_then() -> None:
    clock, told = ManualClock(), []
    watchdog = Watchdog(lambda: None, 1.0, clock, more_s=2.0, insist=lambda: told.append(1))
    watchdog.check()
    assert told == []
    with watchdog.allow(30):
        watchdog.check()
        watchdog.check()
    assert told == [1, 1]
    watchdog.check()
    assert told == [1, 1]


def test_a_watchdog_that_hangs_in_stop_does_not_keep_the_process() -> None:
    stopping, never = threading.Event(), threading.Event()

    def stop() -> None:
        stopping.set()
        never.wait()

    watchdog = Watchdog(stop, 0.01, SystemClock())
    watchdog.start()
    stopping.wait()
    watchdog.close()
    never.set()


def test_an_emergency_stop_that_a_full_disk_cut_short_holds_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "estop").touch()
    assert EmergencyStop(tmp_path / "estop").pulled


def test_an_emergency_stop_waits_for_the_disk_but_the_robot_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    write = Path.write_text
    monkeypatch.setattr(Path, "write_text", lambda *a: calls.append("write") or write(*a))
    monkeypatch.setattr(safety, "sync_file", lambda path: calls.append(f"sync {path.name}"))
    monkeypatch.setattr(safety, "sync_directory", lambda path: calls.append("sync folder"))
    estop = EmergencyStop(tmp_path / "estop")
    estop.pull("smoke", lambda: calls.append("stop"))
    assert calls == ["stop", "write", "sync estop", "sync folder"]
    estop.pull("smoke", lambda: calls.append("stop"))  # as the loop does when it comes to it
    assert calls[4:] == ["stop"]
    estop.release()
    estop.pull("fire", lambda: estop.release())  # by the loop, while the disk is waited for
    assert not (tmp_path / "estop").exists()


def test_an_emergency_stop_that_the_disk_refused_says_so_and_is_written_by_the_next_pull(
    tmp_path: Path,
) -> None:
    estop = EmergencyStop(tmp_path / "away" / "estop")
    estop.pull("smoke")
    assert estop.pulled
    assert estop.reason == f"smoke ({FORGETFUL})"  # which the operator reads
    (tmp_path / "away").mkdir()
    estop.pull("smoke")
    assert estop.reason == "smoke"
    assert EmergencyStop(tmp_path / "away" / "estop").reason == "smoke"


def test_after_a_hold_the_policy_is_blended_in_again() -> None:
    limit = SafetyFilter(BOX, 10, blend_steps=1, action_filter_hz=2.0)
    for _ in range(50):
        limit.executed(limit(act(1.0)))
    limit.held(act(0.0))
    assert 0 <= limit(act(1.0))[0] < 0.2


@pytest.mark.parametrize("age", [float("nan"), float("inf"), -1.0, "old"])
def test_an_age_that_is_none_is_the_robots_fault(age: object) -> None:
    with pytest.raises(RobotError, match="age_s"):
        declared_age({"age_s": age})
    assert declared_age({"age_s": 2}) == 2.0
    assert declared_age({}) == 0.0


def test_a_robot_that_declares_nothing_does_not_jump() -> None:
    class Plain:
        action_space, control_hz = BOX, 20.0

    class Sure(Plain):
        blend_steps = 0

    full = np.full(2, 2.0, np.float32)
    blended = SafetyFilter.for_robot(cast(Robot, Plain()))
    assert [blended(full)[0] for _ in range(6)] == pytest.approx([2 * k / 6 for k in range(1, 7)])
    assert SafetyFilter.for_robot(cast(Robot, Sure()))(full)[0] == 2.0
