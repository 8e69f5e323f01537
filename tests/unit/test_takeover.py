"""Who drives: engagement, silence, lateness, and who comes first, on a clock that tests move."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from robot_client.clock import ManualClock
from robot_client.errors import RobotError, SchemaError
from robot_client.messages import Drive
from robot_client.takeover import NOBODY, Takeover
from robot_client.teleop import DeadMan, Input

BOX = spaces.Box(-1, 1, (2,), np.float32)
RULE = DeadMan(hold_s=0.5, yield_s=2.0, then="policy")


class Device:
    """A device at the robot that says what a test puts into `says`."""

    name = "stick"

    def __init__(self) -> None:
        self.says: Any = None

    def connect(self, space: Any) -> None: ...

    def poll(self, obs: Any) -> Any:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def close(self) -> None: ...


class Far:
    """A person far away whose messages take `way` seconds."""

    def __init__(self, takeover: Takeover, clock: ManualClock, lease: str = "l1") -> None:
        self.takeover, self.clock, self.lease, self.turn = takeover, clock, lease, 1

    def say(self, wish: Any = "act", action: Any = (0.5, -0.5), late: float = 0.0) -> None:
        columns = {"action": np.array(action, np.float32)} if wish == "act" else {}
        sent = self.clock.monotonic() - late - 1000.0  # of another clock
        self.takeover.drive(Drive(self.lease, self.turn, "ann", wish, sent, columns))


def setup(rule: DeadMan = RULE, **options: Any) -> tuple[Takeover, Far, ManualClock]:
    clock = ManualClock(50.0)
    takeover = Takeover(options.pop("space", BOX), rule, clock=clock, **options)
    return takeover, Far(takeover, clock), clock


def kinds(takeover: Takeover) -> list[str]:
    return [event.kind for event in takeover.events()]


def test_nobody_drives_until_somebody_engages() -> None:
    takeover, far, _ = setup()
    assert takeover.look(None) is NOBODY
    far.say("end")
    assert takeover.look(None) is NOBODY
    far.say()
    wish = takeover.look(None)
    assert wish.action is not None
    assert (wish.driver, takeover.driver, wish.action.tolist()) == ("ann", "ann", [0.5, -0.5])
    far.say("end")
    assert takeover.look(None) is NOBODY
    assert [(e.kind, e.text) for e in takeover.events()] == [
        ("take_over", "ann drives"),
        ("hand_back", "ann: handed back"),
    ]


@pytest.mark.parametrize("then", ["policy", "stop"])
def test_a_silent_person_is_held_and_then_let_go(then: Any) -> None:
    takeover, far, clock = setup(DeadMan(0.5, 2.0, then))
    far.say()
    assert takeover.look(None).action is not None
    clock.advance(0.5)
    assert takeover.look(None).action is not None
    clock.advance(0.01)
    held = takeover.look(None)
    assert (held.driver, held.action, held.stop) == ("ann", None, False)
    assert held.reason == "ann has been silent for more than 0.5 s"
    clock.advance(1.48)
    assert takeover.look(None).driver == "ann"
    clock.advance(0.02)
    over = takeover.look(None)
    assert (over.driver, over.stop) == ("", then == "stop")
    assert takeover.look(None) is NOBODY
    assert kinds(takeover) == ["take_over", "teleop_silent", "hand_back"]


def test_a_take_over_that_is_over_is_not_revived_by_late_input() -> None:
    takeover, far, clock = setup()
    far.say()
    takeover.look(None)
    clock.advance(3)
    takeover.look(None)
    clock.advance(0.05)
    far.say()
    assert takeover.look(None) is NOBODY
    far.turn += 1  # a new engagement
    clock.advance(0.05)
    far.say()
    assert takeover.look(None).driver == "ann"


def test_who_was_held_goes_on_when_they_are_back_in_time() -> None:
    takeover, far, clock = setup()
    far.say()
    takeover.look(None)
    clock.advance(1)
    assert takeover.look(None).action is None
    far.say(action=(0.1, 0.2))
    action = takeover.look(None).action
    assert action is not None
    np.testing.assert_allclose(action, [0.1, 0.2], rtol=1e-6)


def test_a_burst_of_old_input_after_a_cut_is_no_sign_of_life() -> None:
    takeover, far, clock = setup()
    far.say(late=0.02)
    takeover.look(None)
    clock.advance(1.5)
    for late in (1.4, 1.2, 0.9, 0.6):  # sent while the line was cut, come all at once
        far.say(late=late, action=(1, 1))
    held = takeover.look(None)
    assert (held.driver, held.action) == ("ann", None)
    far.say(late=0.1, action=(0.3, 0.3))
    assert takeover.look(None).action is not None


def test_the_two_clocks_may_drift_apart() -> None:
    takeover, far, clock = setup()
    lost = 0.0
    for _ in range(3000):
        clock.advance(1.0)
        lost += 2e-4  # per second; 0.6 s in all, more than any input may be late
        far.say(late=lost)
        assert takeover.look(None).action is not None


def test_input_out_of_order_does_not_go_back() -> None:
    takeover, far, _ = setup()
    far.say(action=(0.5, 0.5))
    far.say(action=(0.1, 0.1), late=0.2)
    action = takeover.look(None).action
    assert action is not None
    assert action.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("bad", [(np.nan, 0), (1, 2, 3), ()])
def test_what_is_no_action_is_refused_and_counts_as_silence(bad: Any) -> None:
    takeover, far, clock = setup()
    far.say()
    takeover.look(None)
    for _ in range(8):
        clock.advance(0.1)
        far.say(action=bad)
        wish = takeover.look(None)
    assert wish.action is None
    assert "teleop_refused" in kinds(takeover)


def test_a_choice_that_there_is_not_is_refused() -> None:
    takeover, far, _ = setup(space=spaces.Discrete(3))
    for action, valid in ((2, True), (3, False), (-1, False)):
        far.turn += 1
        far.clock.advance(0.1)
        far.say(action=action)
        assert (takeover.look(None).action is not None) == valid
        takeover.drop("next")


def test_a_person_at_the_robot_comes_first() -> None:
    device = Device()
    takeover, far, clock = setup(teleop=device)
    far.say()
    assert takeover.look(None).driver == "ann"
    device.says = Input(True, np.zeros(2, np.float32))
    assert takeover.look(None).driver == "stick"
    device.says = Input(False)
    for _ in range(3):  # ann has to engage anew
        clock.advance(0.05)
        far.say()
        assert takeover.look(None) is NOBODY
    far.turn += 1
    far.say(late=-0.01)
    assert takeover.look(None).driver == "ann"


def test_who_is_far_away_is_refused_while_somebody_is_at_the_robot() -> None:
    device = Device()
    takeover, far, _ = setup(teleop=device)
    device.says = Input(True, np.zeros(2, np.float32))
    takeover.look(None)
    far.say()
    assert takeover.look(None).driver == "stick"
    assert ("teleop_refused", "ann: stick drives") in [(e.kind, e.text) for e in takeover.events()]
    device.says = Input(False)
    far.clock.advance(0.1)
    far.say()
    assert takeover.look(None) is NOBODY


def test_a_device_that_is_lost_is_silent() -> None:
    device = Device()
    takeover, _, clock = setup(teleop=device)
    device.says = Input(True, np.zeros(2, np.float32))
    assert takeover.look(None).action is not None
    device.says = RobotError("unplugged")
    clock.advance(0.6)
    assert takeover.look(None).action is None
    clock.advance(2)
    assert takeover.look(None).driver == ""
    assert "teleop_lost" in kinds(takeover)


def test_verbs_of_the_device_come_once() -> None:
    device = Device()
    takeover, _, _ = setup(teleop=device)
    device.says = Input(False, None, ("stop",))
    takeover.look(None)
    assert takeover.verbs() == ["stop"]
    assert takeover.verbs() == []


def test_an_emergency_stop_takes_a_new_engagement() -> None:
    device = Device()
    takeover, far, clock = setup(teleop=device)
    far.say()
    device.says = Input(True)
    takeover.look(None)
    takeover.drop("emergency stop")
    clock.advance(0.05)
    far.say()
    assert takeover.look(None) is NOBODY
    device.says = Input(False)
    takeover.look(None)
    device.says = Input(True)
    assert takeover.look(None).driver == "stick"


@pytest.mark.parametrize("times", [(0, 1), (2, 1), (-1, 1)])
def test_times_of_the_dead_man_are_checked(times: Any) -> None:
    with pytest.raises(SchemaError, match="hold_s"):
        DeadMan(*times)


MOVES = st.lists(
    st.tuples(
        st.floats(0.01, 1.0),
        st.sampled_from([None, "act", "hold", "end"]),
        st.sampled_from([0.0, 0.1, 0.7, 3.0]),
        st.booleans(),
    ),
    max_size=40,
)


@given(MOVES)
def test_no_command_outlives_the_person_by_more_than_the_rule(moves: Any) -> None:
    takeover, far, clock = setup()
    acted: list[float] = []  # when ann sent what could be acted on
    far.say("end")
    for passed, wish, late, anew in moves:
        clock.advance(passed)
        far.turn += anew
        if wish is not None:
            far.say(wish, late=late)
            acted += [clock.monotonic() - late] if wish == "act" else []
        found = takeover.look(None)
        if found.action is not None:
            newest = max(acted)
            # twice the rule at most: on its way for so long, and kept for so long
            assert clock.monotonic() - newest <= 2 * RULE.hold_s + 0.05  # and what clocks may drift
        assert found.driver == takeover.driver
