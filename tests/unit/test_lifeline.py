"""The next start knows when and how the last server ended."""

import asyncio

import pytest

from robot_client.clock import ManualClock
from server.lifeline import NAME, Absence, absence, alive
from tests.unit.house import in_house


def live(tmp_path, clock, seconds):
    async def act():
        async with alive(tmp_path, clock):
            clock.advance(seconds)
            await asyncio.sleep(0)

    asyncio.run(act())


def test_the_first_start_has_nothing_before_it(tmp_path):
    assert absence(tmp_path, 5.0) is None


def test_a_stop_is_known_to_the_moment(tmp_path):
    live(tmp_path, ManualClock(100.0), 7.5)
    assert absence(tmp_path, 120.0) == Absence(107.5, 120.0, stopped=True)


def test_a_crash_is_known_by_the_last_beat(tmp_path, monkeypatch):
    monkeypatch.setattr("server.lifeline.BEAT_S", 0.005)
    clock = ManualClock(100.0)

    async def act():
        async with alive(tmp_path, clock):
            clock.advance(3.0)
            while (tmp_path / NAME).stat().st_mtime != 103.0:
                await asyncio.sleep(0.005)
            clock.advance(0.25)  # it dies here, or before
            return absence(tmp_path, 110.0)

    found = asyncio.run(act())
    assert found in (Absence(103.0, 110.0, False), Absence(103.25, 110.0, False))


def test_a_clock_that_was_set_back_makes_no_negative_gap(tmp_path):
    live(tmp_path, ManualClock(100.0), 0.0)
    assert absence(tmp_path, 50.0) == Absence(50.0, 50.0, stopped=True)


@pytest.mark.parametrize(("stopped", "reason"), [(True, "was stopped"), (False, "was killed")])
def test_it_is_said_in_words(stopped, reason):
    text = str(Absence(1764000000.0, 1764000012.34, stopped))
    assert text.startswith("from 2025-11-24T16:00:00Z to 2025-11-24T16:00:12Z (12.3 s): ")
    assert text.endswith(reason)


def test_those_whom_it_concerned_are_told_or_everybody(tmp_path):
    async def act(house):
        away = Absence(1.0, 2.0, stopped=False)
        house.experiments.tell_absence(away)
        made = await house.create()
        await house.create()
        await house.ask("POST", f"/experiments/{made}/start")
        house.experiments.tell_absence(away)
        found = await house.items("/events?kind=server_away")
        return made, [event["experiment"] for event in found]

    made, concerned = in_house(tmp_path, act)
    assert concerned == [made, None]
