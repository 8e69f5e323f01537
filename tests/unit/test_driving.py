"""The control loop while a person drives: rows, hand-overs, the policy's belief, and the stop."""

from __future__ import annotations

import queue
import threading
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_client.clock import ManualClock
from robot_client.errors import BundleError
from robot_client.messages import ANY_EPISODE, Command, Event
from robot_client.robots.counting import CountingRobot
from robot_client.runtime import Runtime
from robot_client.safety import EmergencyStop, Rung
from robot_client.schema import NO_POLICY, Source, check_columns, row_fields
from robot_client.takeover import Takeover
from robot_client.teleop import DeadMan, Input
from tests.unit.control import Arm, Chooser, Policies, Recorder, Server, start, steady
from tests.unit.policies import ACTIONS, OBSERVED, bundle

RULE = DeadMan(hold_s=0.25, yield_s=0.65, then="policy")  # steps take 0.1 s


class Person:
    """A device that plays a list, one entry per step: an action, "hold", "off" or "silent"."""

    name = "ann"

    def __init__(self, *plays: Any) -> None:
        self.plays, self.polled = list(plays), 0

    def connect(self, space: Any) -> None: ...

    def close(self) -> None: ...

    def poll(self, obs: Any) -> Input | None:
        if obs is None:
            return None
        self.polled += 1
        play = self.plays[self.polled - 1] if self.polled <= len(self.plays) else "off"
        if isinstance(play, str):
            return {"hold": Input(True), "off": Input(False), "silent": None}[play]
        return Input(True, np.asarray(play))


class Eager(Person):
    """Is engaged between episodes too, where `Person` says nothing."""

    def poll(self, obs: Any) -> Input | None:
        return Input(True) if obs is None else super().poll(obs)


def drive(
    robot: Any, policy: Any, person: Person, rule: DeadMan = RULE, **options: Any
) -> tuple[Runtime, Recorder, Server]:
    clock = ManualClock()
    takeover = Takeover(robot.action_space, rule, person, clock)
    return start(robot, policy, takeover=takeover, clock=clock, **options)


def test_rows_of_a_person_say_so_and_keep_what_the_policy_would_have_done() -> None:
    person = Person("off", (0.25, 3.0), (0.25, -0.25))
    runtime, recorder, server = drive(Arm(steps=4), Chooser(steady, version=7), person)
    runtime.run()
    assert recorder.column("source") == [0, Source.HUMAN, Source.HUMAN, 0, 0]
    assert recorder.column("policy_version") == [7] * 5
    assert recorder.column("action") == [
        [0.5, -0.5],
        [0.25, 1.0],
        [0.25, -0.25],
        [0.5, -0.5],
        [0, 0],
    ]
    assert recorder.column("action_requested")[1] == [0.25, 3.0]
    assert [row.get("policy/proposal", np.zeros(0)).tolist() for row in recorder.rows] == [
        [], [0.5, -0.5], [0.5, -0.5], [], [],
    ]  # fmt: skip
    assert recorder.column("policy/asked") == [1, 2, 3, 4, 0]
    assert [(e.kind, e.text) for e in server.of(Event)] == [
        ("take_over", "ann drives"),
        ("hand_back", "ann: handed back"),
    ]


def test_rows_of_a_person_pass_the_check_of_the_server() -> None:
    runtime, recorder, _ = drive(Arm(), bundle(2).policy(), Person(*[(0.5, 0.5)] * 5))
    runtime.run()
    driven = recorder.rows[:5]
    columns = {k: np.stack([row[k] for row in driven]) for k in driven[0] if k != "episode"}
    check_columns(row_fields(OBSERVED, ACTIONS), columns)
    assert columns["policy/proposal"].dtype == np.float32
    assert (columns["source"] == Source.HUMAN).all()


def test_the_policys_belief_goes_on_with_what_was_really_done() -> None:
    plays = ["off", (0.25, 0.75), "hold", (4.0, 0.0), "off", "off"]
    policy = bundle(1).policy()
    runtime, recorder, _ = drive(Arm(steps=6), policy, Person(*plays), explore=False)
    runtime.run()
    carry, rng = policy.init(), np.random.default_rng(0)
    for t in range(6):  # the same, by hand: every observation, every executed action
        row = recorder.rows[t]
        obs = {"vector": row["vector"]}
        _, carry, extras = policy.step(carry, obs, t == 0, rng, False)
        carry = carry.executed(row["action"])
        np.testing.assert_allclose(row["policy/memory"], extras["memory"], rtol=1e-6)
    assert recorder.column("source")[:6] == [0, 3, 4, 3, 0, 0]


def test_the_policy_is_told_the_action_that_was_really_executed() -> None:
    policy = Chooser(steady)
    arm = Arm(steps=5, apply=lambda action: action / 2)
    runtime, recorder, _ = drive(arm, policy, Person("off", (1, 1), (4, 1), "hold"))
    runtime.run()
    assert policy.firsts == [True, False, False, False, False]
    assert policy.previous == [[0, 0], *recorder.column("action")[:4]]


def test_a_policy_that_fails_does_not_keep_a_person_from_driving() -> None:
    def fail(n: int) -> Any:
        raise BundleError("the graph does not run")

    runtime, recorder, server = drive(Arm(steps=20), Chooser(fail), Person(*[(0.5, 0.5)] * 21))
    runtime.run()
    assert recorder.column("source")[:20] == [Source.HUMAN] * 20
    assert recorder.column("policy_version")[:20] == [NO_POLICY] * 20
    assert "policy/proposal" not in recorder.rows[0]
    assert [e.kind for e in server.of(Event)] == ["take_over"]


def test_a_person_drives_a_robot_that_has_no_policy() -> None:
    endings: list[Any] = []
    halted = threading.Event()
    arm = Arm(steps=9)
    runtime, recorder, _ = drive(
        arm, None, Eager((0.5, 0.5), (0.5, 0.5), "off"),
        halted=halted, on_episode=lambda e: (endings.append(e.ending), halted.set()),
    )  # fmt: skip
    runtime.run()
    assert recorder.column("source") == [Source.HUMAN, Source.HUMAN, Source.HOLD]
    assert recorder.column("policy_version") == [NO_POLICY] * 3
    assert endings == ["the policy failed"]


def test_what_is_not_finite_is_never_applied() -> None:
    arm = Arm(steps=4)
    runtime, recorder, _ = drive(arm, Chooser(steady), Person((np.nan, 0), (0.5, np.inf)))
    runtime.run()
    assert recorder.column("source")[:4] == [Source.HOLD] * 2 + [Source.POLICY] * 2
    assert np.isfinite(arm.applied).all()


def test_a_silent_person_is_held_then_the_policy_goes_on() -> None:
    shown: list[str] = []
    arm = Arm(steps=10)
    arm.hold = lambda: np.array([0.125, 0.0], np.float32)  # type: ignore[attr-defined]
    arm.hooks["observe"] = lambda: (shown.append(runtime.heartbeat().safety), Arm().observe())[1]
    person = Person((0.5, 0.5), *["silent"] * 9)
    runtime, recorder, server = drive(arm, Chooser(steady), person)
    runtime.run()
    sources = recorder.column("source")[:10]
    assert sources == [3, 3, 3, 4, 4, 4, 4, 0, 0, 0]  # 0.2 s on, held from 0.3 s, let go at 0.7 s
    assert recorder.column("action")[3] == [0.125, 0.0]
    assert shown[4:7] == [Rung.HOLD] * 3
    kinds = [e.kind for e in server.of(Event)]
    assert kinds == ["take_over", "teleop_silent", "safety", "hand_back"]


def test_a_silent_person_may_stop_the_robot_until_an_operator_resumes() -> None:
    inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
    arm = Arm(steps=12)
    endings: list[str] = []

    def ended(episode: Any) -> None:
        endings.append(episode.ending)
        arm.hooks["stop"] = lambda: inbox.put(Command(1, "resume", ANY_EPISODE))

    person = Person((0.5, 0.5), *["silent"] * 20)
    rule = DeadMan(0.25, 0.65, "stop")
    runtime, recorder, server = drive(
        arm, Chooser(steady), person, rule, commands=inbox, on_episode=ended, max_episodes=2
    )
    runtime.run()
    assert endings == ["ann has been silent for more than 0.65 s", "time limit"]
    assert Source.POLICY not in recorder.column("source")[:7]
    assert recorder.column("source")[8] == Source.POLICY
    texts = [e.text for e in server.of(Event)]
    assert "stop: ann has been silent for more than 0.65 s" in texts


def test_an_emergency_stop_beats_the_person_and_takes_a_new_engagement() -> None:
    inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
    arm, estop, endings = Arm(steps=6), EmergencyStop(), []

    def apply(action: Any) -> Any:
        if len(arm.applied) == 3:
            runtime.command(Command(9, "stop", ANY_EPISODE))
        return action

    arm.hooks["apply"] = apply

    def ended(episode: Any) -> None:
        endings.append(episode.ending)
        inbox.put(Command(10, "release", ANY_EPISODE))

    person = Eager(*[(0.5, 0.5)] * 6, "off", (0.25, 0.25))
    runtime, recorder, server = drive(
        arm,
        Chooser(lambda n: [-0.5, -0.5]),
        person,
        estop=estop,
        commands=inbox,
        max_episodes=2,
        on_episode=ended,
    )
    runtime.run()
    assert endings[0] == "emergency stop by an operator"
    first = recorder.column("is_last").index(True)
    assert recorder.column("source")[:3] == [Source.HUMAN] * 3
    assert first == 3  # not one more action after the stop
    assert ("hand_back", "ann: emergency stop") in [(e.kind, e.text) for e in server.of(Event)]
    second = recorder.column("source")[first + 1 :]
    assert second[0] == Source.POLICY  # still leaning on the stick, ann does not drive
    assert Source.HUMAN in second


def test_a_stop_that_is_released_at_once_takes_a_new_engagement_too() -> None:
    inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
    arm = Arm(steps=5)

    def apply(action: Any) -> Any:
        if len(arm.applied) == 2:
            inbox.put(Command(1, "stop", ANY_EPISODE))
            inbox.put(Command(2, "release", ANY_EPISODE))
        return action

    arm.hooks["apply"] = apply
    runtime, recorder, _ = drive(
        arm, Chooser(steady), Person(*[(0.25, 0.25)] * 8), commands=inbox, max_episodes=2
    )
    runtime.run()
    assert recorder.column("is_last")[:3] == [False, False, True]
    assert recorder.column("source") == [3, 3, 0, *[0] * 6]


def test_discrete_actions_change_hands_between_two_steps() -> None:
    robot = CountingRobot(episode_steps=5)
    person = Person("off", 0, 0, "off", 0)
    runtime, recorder, _ = drive(robot, Chooser(lambda n: 1), person)
    runtime.run()
    assert recorder.column("action")[:5] == [1, 0, 0, 1, 0]
    assert recorder.column("source")[:5] == [0, 3, 3, 0, 3]
    assert recorder.rows[1]["policy/proposal"].dtype == np.int64


def test_a_new_policy_does_not_jolt_who_drives() -> None:
    arm = Arm(steps=8)
    arm.blend_steps = 3
    clock = ManualClock()
    takeover = Takeover(ACTIONS, RULE, Person(*[(0.75, 0.75)] * 8), clock)
    policies = [None, Chooser(steady), None, None, None, None, Chooser(steady, 1)]
    runtime, recorder, _ = start(arm, *policies, takeover=takeover, clock=clock)
    runtime.run()
    driven = np.array(recorder.column("action"))[:8]
    assert (driven[3:8] == 0.75).all()
    assert recorder.column("policy_version")[6:8] == [1, 1]


class Leash(Arm):
    """Says how far each action is from the one before, and what the loop shows then."""

    def __init__(self, hold: bool, blend: int, rate: float, steps: int) -> None:
        super().__init__(steps=steps)
        self.blend_steps, self.max_rate = blend, rate
        self.last = np.zeros(2, np.float32)
        self.courses: list[list[np.ndarray]] = []
        if hold:
            self.hold = lambda: self.last  # type: ignore[attr-defined]

    def reset(self, seed: int | None = None) -> None:
        self.last = np.zeros(2, np.float32)
        self.courses.append([self.last])

    def stop(self) -> None:
        super().stop()
        self.last = np.zeros(2, np.float32)  # it stands: what comes next begins there
        self.courses.append([self.last])

    def apply(self, action: np.ndarray) -> np.ndarray:
        self.last = action
        self.courses[-1].append(action)
        return action


PLAYS = st.lists(
    st.one_of(
        st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
        st.sampled_from(["off", "off", "silent", "silent", "hold"]),
    ),
    min_size=12,
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(
    plays=PLAYS,
    policy=st.lists(st.floats(-1.5, 1.5), min_size=30, max_size=30),
    swaps=st.lists(st.booleans(), min_size=30, max_size=30),
    stop_at=st.integers(0, 40),
    hold=st.booleans(),
    blend=st.integers(1, 6),
    rate=st.floats(0.05, 1.0),
    then=st.sampled_from(["policy", "stop"]),
)
def test_no_hand_over_jumps(
    plays: Any,
    policy: Any,
    swaps: Any,
    stop_at: int,
    hold: bool,
    blend: int,
    rate: float,
    then: Any,
) -> None:
    """Whoever takes over, in whichever order: never more than the robot's limit, and on the n-th
    step after a change of hands no more than n of `blend_steps` + 1 parts of the range."""
    arm = Leash(hold, blend, rate, len(plays))
    clock, recorder, server, shown = ManualClock(), Recorder(), Server(), []
    halted, inbox = threading.Event(), queue.SimpleQueue()

    def choose(n: int) -> list[float]:
        return [policy[n % 30], -policy[n % 30]]

    def observe() -> Any:
        shown.append(runtime.heartbeat())
        if len(shown) == stop_at:
            runtime.command(Command(1, "stop", ANY_EPISODE))
            inbox.put(Command(2, "release", ANY_EPISODE))
        return Arm().observe()

    arm.hooks["observe"] = observe
    queued = [
        Chooser(choose),
        *(Chooser(choose, i) if swap else None for i, swap in enumerate(swaps)),
    ]
    runtime = Runtime(
        arm, recorder, Policies(*queued), clock, link=server, commands=inbox, halted=halted,
        takeover=Takeover(ACTIONS, DeadMan(0.15, 0.45, then), Person(*plays), clock),
        idle_s=0.0, silence_s=60.0, max_episodes=2,
        on_episode=lambda e: halted.set() if "silent" in e.ending else None,
    )  # fmt: skip
    runtime.run()
    span = 2.0
    for applied in arm.courses:
        assert (np.abs(np.diff(applied, axis=0)) <= rate * span + 1e-5).all()
    assert {beat.safety for beat in shown} <= {rung.value for rung in Rung}
    for beat in shown:
        assert beat.safety not in (Rung.STOP, Rung.ESTOP) or not beat.driver or beat.tick < 2
    _check_blends(recorder, span, blend)


def _check_blends(recorder: Recorder, span: float, blend: int) -> None:
    """By the rows: who acted, and how far each action was from the one before."""
    since, before = 0, None
    last = np.zeros(2)
    for row in recorder.rows:
        if row["is_first"]:
            since, before, last = 0, None, np.zeros(2)
        if row["is_last"]:
            continue
        human = bool(row["source"] == Source.HUMAN)
        if row["source"] == Source.HOLD:
            last, before = row["action"], None
            continue
        since = 1 if human != before else since + 1
        before = human
        if since <= blend:
            assert np.abs(row["action"] - last).max() <= since / (blend + 1) * span + 1e-5
        last = row["action"]


@given(plays=PLAYS, blend=st.integers(1, 6), rate=st.floats(0.05, 1.0))
@settings(max_examples=30, deadline=None)
def test_a_robot_that_can_only_stop_is_brought_to_rest_first(
    plays: Any, blend: int, rate: float
) -> None:
    """Held, its actions move towards rest by no more than the blend's part or its own limit."""
    arm = Leash(False, blend, rate, len(plays))
    runtime, recorder, _ = drive(arm, Chooser(lambda n: [0.9, -0.9]), Person(*plays))
    runtime.run()
    last, held = np.zeros(2), 0
    for row in recorder.rows[:-1]:
        held = held + 1 if row["source"] == Source.HOLD else 0
        if 1 <= held <= blend:
            assert (np.abs(row["action"]) <= np.abs(last) + 1e-6).all()
            step = min(rate * 2, held / (blend + 1) * np.abs(last).max())
            assert np.abs(row["action"] - last).max() <= step + 1e-5
        elif held > blend:
            assert row["action"].tolist() == [0, 0]
        last = row["action"]
