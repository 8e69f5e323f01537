from __future__ import annotations

import queue
import threading
from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from robot_client.bundle import Manifest
from robot_client.clock import FreeRunningClock, ManualClock
from robot_client.errors import BundleError, RobotError, SpoolFull
from robot_client.messages import Command, CommandDone, Event, PolicyReport, Verb
from robot_client.pacing import Pacer
from robot_client.ports import Carry, Episode
from robot_client.robot import Reading
from robot_client.robots.counting import CountingRobot
from robot_client.runtime import MAX_ATTEMPTS, MAX_REFUSALS, Runtime
from robot_client.safety import EmergencyStop, Limits
from robot_client.schema import NO_POLICY, Source, Task, check_columns, row_fields
from tests.unit.policies import ACTIONS, OBSERVED, bundle, graph, weights


class Recorder:
    """Keeps rows in memory, at most `quota`."""

    def __init__(self, quota: int = 10**6) -> None:
        self.rows: list[dict[str, np.ndarray]] = []
        self.quota, self.next_episode, self.backlog = quota, 0, 0

    def append(self, episode: int, row: dict[str, np.ndarray]) -> int:
        if len(self.rows) >= self.quota:
            raise SpoolFull("full")
        self.next_episode = episode + 1
        self.rows.append({"episode": np.asarray(episode), **row})
        return len(self.rows) - 1

    def column(self, name: str) -> list[Any]:
        return [row[name].tolist() for row in self.rows]


class Policies:
    """Hands over what is queued, one per look; None lets a look pass."""

    def __init__(self, *queued: Any) -> None:
        self.queued = deque(queued)

    def take(self) -> Any:
        return self.queued.popleft() if self.queued else None

    def reports(self) -> list[PolicyReport]:
        return []


class Server:
    """A link that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.server_age = 0.0

    def send(self, message: Any) -> None:
        self.sent.append(message)

    def of(self, kind: type) -> list[Any]:
        return [m for m in self.sent if isinstance(m, kind)]


class Arm:
    """A robot that logs what is asked of it; fails or does something else where a test says so."""

    control_hz = 10.0

    def __init__(self, steps: int | None = 5, **hooks: Any) -> None:
        self.observation_space, self.action_space = OBSERVED, ACTIONS
        self.task = Task("arm", steps)
        self.calls: list[str] = []
        self.applied: list[list[float]] = []
        self.hooks = hooks

    def _call(self, name: str, default: Any = None, *args: Any) -> Any:
        self.calls.append(name)
        hook = self.hooks.get(name)
        return default if hook is None else hook(*args)

    def connect(self) -> None:
        self._call("connect")

    def reset(self, seed: int | None = None) -> None:
        self._call("reset", None, seed)

    def apply(self, action: np.ndarray) -> np.ndarray:
        self.applied.append(action.tolist())
        return self._call("apply", action, action)

    def observe(self) -> Reading:
        return self._call("observe", Reading({"vector": np.ones(3, np.float32)}, 1.0))

    def stop(self) -> None:
        self._call("stop")

    def close(self) -> None:
        self._call("close")


class Chooser:
    """A policy whose action is a function of how often it was asked."""

    source = Source.POLICY

    def __init__(self, choose: Any, version: int = 0, experiment: str = "e1") -> None:
        base = bundle().manifest
        self.manifest: Manifest = replace(base, version=version, experiment=experiment)
        self.choose, self.asked = choose, 0
        self.firsts: list[bool] = []
        self.previous: list[list[float]] = []

    def init(self) -> Carry:
        return Carry({}, np.zeros(2, np.float32))

    def step(self, carry: Carry, obs: Any, is_first: bool, rng: Any, explore: bool) -> Any:
        self.firsts.append(is_first)
        self.previous.append(carry.prev_action.tolist())
        self.asked += 1
        action = np.asarray(self.choose(self.asked), np.float32)
        return action, Carry({}, action), {"asked": np.asarray(self.asked, np.float32)}

    def blank_extras(self) -> dict[str, np.ndarray]:
        return {"asked": np.zeros((), np.float32)}


def steady(_: int) -> list[float]:
    return [0.5, -0.5]


def start(robot: Any, *policies: Any, **options: Any) -> tuple[Runtime, Recorder, Server]:
    recorder, server = options.pop("recorder", None) or Recorder(), Server()
    options = {"idle_s": 0.0, "max_episodes": 1, "silence_s": 60.0, **options}
    clock = options.pop("clock", None) or ManualClock()
    source = Policies(*policies)
    return Runtime(robot, recorder, source, clock, link=server, **options), recorder, server


def commands(*verbs: Verb) -> queue.SimpleQueue[Command]:
    made: queue.SimpleQueue[Command] = queue.SimpleQueue()
    for ident, verb in enumerate(verbs):
        made.put(Command(ident, verb))
    return made


def test_an_episode_is_recorded_as_rows_mean_it() -> None:
    runtime, recorder, _ = start(Arm(steps=3), Chooser(steady, version=7))
    runtime.run()
    assert recorder.column("is_first") == [True, False, False, False]
    assert recorder.column("is_last") == [False, False, False, True]
    assert recorder.column("is_terminal") == [False] * 4
    assert recorder.column("action") == [[0.5, -0.5]] * 3 + [[0, 0]]
    assert recorder.column("policy_version") == [7] * 4
    assert recorder.column("policy/asked") == [1, 2, 3, 0]
    assert recorder.column("time_monotonic") == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_rows_pass_the_check_of_the_server() -> None:
    runtime, recorder, _ = start(Arm(), bundle(2).policy())
    runtime.run()
    columns = {
        k: np.stack([row[k] for row in recorder.rows]) for k in recorder.rows[0] if k != "episode"
    }
    check_columns(row_fields(OBSERVED, ACTIONS), columns)
    assert columns["policy/memory"].shape == (6, 2)


def test_termination_and_truncation() -> None:
    for end, terminal in (({"terminated": True}, True), ({"truncated": True}, False)):
        readings = iter([{}, {}, end])
        arm = Arm(
            observe=lambda r=readings: Reading({"vector": np.ones(3, np.float32)}, 0.0, **next(r))
        )
        runtime, recorder, _ = start(arm, Chooser(steady))
        runtime.run()
        assert recorder.column("is_last") == [False, False, True]
        assert recorder.column("is_terminal") == [False, False, terminal]


def test_counting_robot_every_row_once_in_order() -> None:
    robot = CountingRobot(episode_steps=4)
    policy = Chooser(lambda n: 1)
    endings: list[Episode] = []
    runtime, recorder, _ = start(robot, policy, max_episodes=3, on_episode=endings.append)
    summary = runtime.run()
    assert [e.total_reward for e in endings] == [2 + 3 + 4 + 5, 34, 54]
    counts = np.array(recorder.column("count"))
    np.testing.assert_array_equal(counts[:, 2], np.arange(1, 16))
    np.testing.assert_array_equal(counts[:, 0], np.repeat([0, 1, 2], 5))
    np.testing.assert_array_equal(counts[:, 1], np.tile(np.arange(5), 3))
    assert (summary.rows, summary.steps, summary.episodes) == (15, 12, 3)


def test_the_executed_action_is_recorded_and_remembered() -> None:
    arm = Arm(steps=2, apply=lambda action: action / 2)
    policy = Chooser(lambda n: [4.0, 0.5])
    runtime, recorder, _ = start(arm, policy)
    summary = runtime.run()
    assert recorder.column("action_requested")[0] == [4.0, 0.5]
    assert arm.applied[0] == [1.0, 0.5]  # clipped to the range
    assert recorder.column("action")[0] == [0.5, 0.25]
    assert policy.previous == [[0, 0], [0.5, 0.25]]
    assert summary.interventions == {"range": 2}


def test_the_same_seed_gives_the_same_rows() -> None:
    def run(seed: int) -> list[Any]:
        runtime, recorder, _ = start(Arm(), bundle(1).policy(), seed=seed, max_episodes=2)
        runtime.run()
        return recorder.column("action")

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_resets_are_seeded_by_seed_and_episode() -> None:
    seeds: list[int | None] = []
    runtime, _, _ = start(Arm(reset=seeds.append), Chooser(steady), seed=10, max_episodes=3)
    runtime.run()
    assert seeds == [10, 11, 12]


def test_evaluation_takes_the_mode() -> None:
    runtime, recorder, _ = start(Arm(steps=1), bundle().policy(), explore=False)
    runtime.run()
    np.testing.assert_allclose(recorder.column("action")[0], [0.3, 0.3], rtol=1e-6)


def test_a_swap_takes_effect_at_a_step_boundary_and_keeps_the_memory() -> None:
    first, second = bundle(1).policy(), bundle(2).policy()
    runtime, recorder, server = start(Arm(), first, None, None, second, explore=False)
    runtime.run()
    assert recorder.column("policy_version") == [1, 1, 2, 2, 2, 2]
    assert all(m != [0, 0] for m in recorder.column("policy/memory")[1:-1])
    assert server.of(PolicyReport) == [PolicyReport("e1", 1, ""), PolicyReport("e1", 2, "")]


def test_another_architecture_starts_with_an_empty_memory() -> None:
    other = graph(operator="Sub")
    tensors = weights() | {"probe/out_action": np.array([[1.1, 1.1]], np.float32)}
    second = bundle(2, graph_bytes=other, tensors=tensors).policy()
    runtime, recorder, _ = start(Arm(), bundle(1).policy(), None, None, second, explore=False)
    runtime.run()
    memory = recorder.column("policy/memory")
    assert memory[1] != [0, 0]
    assert memory[2] == [0, 0]
    assert memory[3] != [0, 0]
    assert recorder.column("is_first") == [True] + [False] * 5  # the episode goes on


def test_another_experiment_ends_the_episode_first() -> None:
    first, second = Chooser(steady, 5), Chooser(steady, 0, experiment="e2")
    endings: list[Episode] = []
    runtime, recorder, _ = start(
        Arm(), first, None, None, second, max_episodes=2, on_episode=endings.append
    )
    runtime.run()
    assert recorder.column("episode") == [0] * 3 + [1] * 6
    assert recorder.column("policy_version") == [5] * 3 + [0] * 6
    assert [e.ending for e in endings] == ["another experiment", "time limit"]
    assert recorder.rows[2]["is_last"]
    assert second.firsts[0]


def test_without_a_policy_the_robot_waits_stopped() -> None:
    arm = Arm(steps=1)
    runtime, recorder, server = start(arm, None, None, Chooser(steady))
    runtime.run()
    assert arm.calls[:4] == ["connect", "stop", "stop", "reset"]
    assert len(recorder.rows) == 2
    assert Event("safety", "stop: there is no policy yet") in server.sent


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


def test_an_emergency_stop_is_immediate_and_latched() -> None:
    inbox = commands()
    arm = Arm(steps=None)

    def apply(action: Any) -> Any:
        if len(arm.applied) == 3:
            inbox.put(Command(9, "stop"))
        return action

    arm.hooks["apply"] = apply
    estop, halted = EmergencyStop(), threading.Event()
    runtime, recorder, server = start(
        arm,
        Chooser(steady),
        commands=inbox,
        estop=estop,
        halted=halted,
        max_episodes=2,
        on_episode=lambda e: halted.set(),
    )
    runtime.run()
    assert len(arm.applied) == 3
    assert recorder.column("is_last") == [False] * 3 + [True]
    assert CommandDone(9, "") in server.sent
    assert estop.pulled
    assert runtime.heartbeat().safety == "estop"


def test_release_lets_it_act_again() -> None:
    estop = EmergencyStop()
    estop.pull("before the restart")
    runtime, recorder, _ = start(Arm(steps=1), Chooser(steady), estop=estop)
    runtime._operator._commands.put(Command(1, "release"))
    runtime.run()
    assert len(recorder.rows) == 2
    assert not estop.pulled


def test_pause_ends_the_episode_and_resume_begins_another() -> None:
    inbox = commands()
    arm = Arm(steps=3)

    def reset(seed: int | None) -> None:
        if arm.calls.count("reset") == 1:
            inbox.put(Command(1, "pause"))

    arm.hooks["reset"] = reset
    arm.hooks["stop"] = lambda: (
        inbox.put(Command(2, "resume")) if arm.calls.count("stop") == 3 else None
    )
    endings: list[Episode] = []
    runtime, recorder, server = start(
        arm, Chooser(steady), commands=inbox, max_episodes=2, on_episode=endings.append
    )
    runtime.run()
    assert [e.ending for e in endings] == ["pause by an operator", "time limit"]
    assert recorder.column("episode") == [0, 1, 1, 1, 1]
    assert [m.id for m in server.of(CommandDone)] == [1, 2]
    assert Event("safety", "stop: paused by an operator") in server.sent


def test_an_operator_ends_an_episode() -> None:
    inbox = commands()
    arm = Arm(steps=3, reset=lambda seed: inbox.put(Command(4, "end_episode")))
    endings: list[Episode] = []
    runtime, _, server = start(
        arm, Chooser(steady), commands=inbox, max_episodes=2, on_episode=endings.append
    )
    runtime.run()
    assert [e.ending for e in endings] == ["end_episode by an operator"] * 2
    assert CommandDone(4, "") in server.sent


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


def test_halting_ends_the_episode_properly() -> None:
    halted = threading.Event()
    arm = Arm(steps=None)

    def apply(action: Any) -> Any:
        if len(arm.applied) == 4:
            halted.set()
        return action

    arm.hooks["apply"] = apply
    runtime, recorder, _ = start(arm, Chooser(steady), halted=halted)
    runtime.run()
    assert recorder.column("is_last") == [False] * 4 + [True]
    assert arm.calls[-2:] == ["stop", "close"]


def test_a_number_of_steps_can_be_asked_for() -> None:
    runtime, recorder, _ = start(Arm(), Chooser(steady), max_episodes=None, max_steps=7)
    summary = runtime.run()
    assert summary.steps == 7
    assert recorder.column("is_last") == [False] * 5 + [True] + [False] * 2 + [True]


def test_the_watchdog_stops_a_loop_that_hangs() -> None:
    stopped = threading.Event()
    arm = Arm(steps=3)

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
        arm, Chooser(steady), silence_s=0.02, max_episodes=2, on_episode=endings.append
    )
    runtime.run()
    assert endings[0].ending == "the watchdog stopped the robot"
    assert any("the loop hangs" in e.text for e in server.of(Event))


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


def test_as_fast_as_possible_every_step_is_one_period() -> None:
    runtime, recorder, _ = start(Arm(steps=50), Chooser(steady), clock=FreeRunningClock())
    assert runtime.run().missed_ticks == 0
    np.testing.assert_allclose(np.diff(recorder.column("time_monotonic")), 0.1)
    assert recorder.column("time_wall")[0] > 1e9


def test_the_heartbeat_tells_the_state() -> None:
    recorder = Recorder()
    recorder.backlog = 12
    runtime, _, _ = start(Arm(), Chooser(steady, version=3), recorder=recorder)
    assert runtime.heartbeat().safety == "stop"
    runtime.run()
    beat = runtime.heartbeat()
    assert (beat.policy_version, beat.safety, beat.backlog_rows) == (3, "fresh", 12)
    assert (beat.tick, beat.episode, beat.missed_ticks) == (6, 0, 0)
    assert beat.loop_hz == pytest.approx(10)


def test_discrete_actions() -> None:
    robot = CountingRobot(episode_steps=2)
    runtime, recorder, server = start(robot, Chooser(lambda n: 1 if n == 1 else 5))
    runtime.run()
    assert recorder.column("action") == [1, 0, 0]
    assert recorder.rows[0]["action"].dtype == np.int64
    assert recorder.column("source")[1] == Source.HOLD
    assert "of 2 actions" in server.of(Event)[0].text
    assert isinstance(robot.action_space, spaces.Discrete)


def test_an_emergency_stop_reaches_a_robot_that_is_resetting() -> None:
    arm = Arm(steps=None)
    stopped = threading.Event()
    operators: list[threading.Thread] = []

    def reset(seed: int | None) -> None:
        arm.hooks["stop"] = stopped.set
        operators.append(threading.Thread(target=runtime.command, args=(Command(4, "stop"),)))
        operators[0].start()
        stopped.wait()  # the reset goes on until the robot is stopped

    arm.hooks["reset"] = reset
    estop, halted = EmergencyStop(), threading.Event()
    runtime, _, server = start(
        arm, Chooser(steady), estop=estop, halted=halted, on_episode=lambda e: halted.set()
    )
    runtime.run()
    operators[0].join()
    assert arm.applied == []
    assert estop.pulled
    assert CommandDone(4, "") in server.sent


def test_an_emergency_stop_while_the_policy_chooses_comes_before_its_action() -> None:
    arm, halted = Arm(steps=None), threading.Event()

    def choose(asked: int) -> list[float]:
        if asked == 3:
            runtime.command(Command(4, "stop"))
        return [0.5, -0.5]

    runtime, _, _ = start(arm, Chooser(choose), halted=halted, on_episode=lambda e: halted.set())
    runtime.run()
    assert len(arm.applied) == 2


def test_a_further_signal_does_not_break_the_stop_off() -> None:
    arm = Arm(steps=1)

    def stop() -> None:
        if arm.calls.count("stop") == 2:  # the first one ends the episode
            raise KeyboardInterrupt

    arm.hooks["stop"] = stop
    start(arm, Chooser(steady))[0].run()
    assert arm.calls[-3:] == ["stop", "stop", "close"]


def test_a_signal_during_a_reset_stops_the_robot() -> None:
    halted, stopped = threading.Event(), threading.Event()
    arm = Arm(steps=3)

    def reset(seed: int | None) -> None:
        arm.hooks["stop"] = stopped.set
        halted.set()
        stopped.wait()

    arm.hooks["reset"] = reset
    runtime, _, _ = start(arm, Chooser(steady), halted=halted, silence_s=0.02)
    runtime.run()
    assert arm.applied == []
