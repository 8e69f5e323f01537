"""The control loop: what it records, which policy it acts with, what operators do to it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from robot_client.clock import FreeRunningClock
from robot_client.errors import RobotError
from robot_client.messages import ANY_EPISODE, Command, CommandDone, Event, PolicyReport
from robot_client.ports import Episode
from robot_client.robot import Reading
from robot_client.robots.counting import CountingRobot
from robot_client.safety import EmergencyStop
from robot_client.schema import Source, check_columns, row_fields
from tests.unit.control import Arm, Chooser, Recorder, commands, start, steady
from tests.unit.policies import ACTIONS, OBSERVED, bundle, graph, weights


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
    for seed in (10, 11, 10):
        runtime, _, _ = start(Arm(reset=seeds.append), Chooser(steady), seed=seed, max_episodes=3)
        runtime.run()
    assert seeds[:3] == seeds[6:]
    assert len({*seeds}) == 6, "the runs of two seeds share episodes"


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
    tensors = weights() | {"probe/policy/out_action": np.array([[1.1, 1.1]], np.float32)}
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


def test_an_emergency_stop_is_immediate_and_latched() -> None:
    inbox = commands()
    arm = Arm(steps=None)

    def apply(action: Any) -> Any:
        if len(arm.applied) == 3:
            inbox.put(Command(9, "stop", ANY_EPISODE))
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
    runtime._operator._commands.put(Command(1, "release", ANY_EPISODE))
    runtime.run()
    assert len(recorder.rows) == 2
    assert not estop.pulled


def test_pause_ends_the_episode_and_resume_begins_another() -> None:
    inbox = commands()
    arm = Arm(steps=3)

    def reset(seed: int | None) -> None:
        if arm.calls.count("reset") == 1:
            inbox.put(Command(1, "pause", ANY_EPISODE))

    arm.hooks["reset"] = reset
    arm.hooks["stop"] = lambda: (
        inbox.put(Command(2, "resume", ANY_EPISODE)) if arm.calls.count("stop") == 3 else None
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
    arm = Arm(steps=3, reset=lambda seed: inbox.put(Command(4, "end_episode", ANY_EPISODE)))
    endings: list[Episode] = []
    runtime, _, server = start(
        arm, Chooser(steady), commands=inbox, max_episodes=2, on_episode=endings.append
    )
    runtime.run()
    assert [e.ending for e in endings] == ["end_episode by an operator"] * 2
    assert CommandDone(4, "") in server.sent


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
        operators.append(
            threading.Thread(target=runtime.command, args=(Command(4, "stop", ANY_EPISODE),))
        )
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


def test_a_reset_that_takes_back_an_emergency_stop_is_stopped_again() -> None:
    arm, stopped = Arm(), threading.Event()
    arm.control_hz = 0.1  # by itself the watchdog would wait for 50 s
    arm.hooks["stop"] = stopped.set

    def reset(seed: int | None) -> None:
        if seed is None and not estop.pulled:
            runtime.command(Command(4, "stop", ANY_EPISODE))
        stopped.clear()  # as drivers do: what comes from now on is a stop of this episode
        stopped.wait()  # the reset goes on until the robot is stopped; else the test takes too long
        raise RobotError("stopped while it went to its start")

    arm.hooks["reset"] = reset
    estop, halted = EmergencyStop(), threading.Event()
    runtime, _, server = start(arm, Chooser(steady), estop=estop, halted=halted)
    threading.Timer(1.0, halted.set).start()
    runtime.run()
    assert arm.applied == []
    assert runtime.heartbeat().safety == "estop"
    assert "safety_stop" not in [e.kind for e in server.sent if isinstance(e, Event)]


def test_an_emergency_stop_while_the_policy_chooses_comes_before_its_action() -> None:
    arm, halted = Arm(steps=None), threading.Event()

    def choose(asked: int) -> list[float]:
        if asked == 3:
            runtime.command(Command(4, "stop", ANY_EPISODE))
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


def test_a_signal_during_a_long_step_stops_the_robot_sooner_than_the_step_may_take() -> None:
    halted, stopped = threading.Event(), threading.Event()
    arm, came = Arm(steps=3), []
    arm.silence_s = 60.0

    def apply(action: np.ndarray) -> np.ndarray:
        arm.hooks["stop"] = stopped.set
        halted.set()
        came.append(stopped.wait(10))
        return action

    arm.hooks["apply"] = apply
    runtime, _, _ = start(arm, Chooser(steady), halted=halted, silence_s=None)
    runtime.run()
    assert came == [True]
