"""What the commands of an operator do to an episode."""

import queue

import pytest

from robot_client.commands import Operator
from robot_client.messages import ANY_EPISODE, Command, CommandDone
from robot_client.safety import EmergencyStop
from robot_client.schema import IS_LAST, IS_TERMINAL
from tests.unit.control import Arm, Chooser, commands, start, steady


def run(command, episodes=2, **options):
    inbox = commands()
    arm = Arm(steps=3, reset=lambda seed: inbox.put(command))
    runtime, recorder, server = start(
        arm, Chooser(steady), commands=inbox, max_episodes=episodes, **options
    )
    endings = []
    runtime._on_episode = endings.append
    runtime.run()
    return recorder, [m for m in server.sent if isinstance(m, CommandDone)], endings


@pytest.mark.parametrize(
    ("verb", "terminal"), [("success", True), ("failure", True), ("end_episode", False)]
)
def test_a_mark_ends_the_episode_as_one_whose_task_is_over(verb, terminal):
    recorder, done, endings = run(Command(4, verb, ANY_EPISODE))
    assert [e.ending for e in endings] == [f"{verb} by an operator"] * 2
    last = [row for row in recorder.rows if row[IS_LAST]]
    assert [bool(row[IS_TERMINAL]) for row in last] == [terminal] * 2
    assert done[0] == CommandDone(4, "")


def test_a_mark_for_another_episode_is_refused():
    _, done, endings = run(Command(4, "success", 7), episodes=1)
    assert done == [CommandDone(4, "episode 7 is not running")]
    assert endings[0].ending != "success by an operator"


def test_a_mark_does_not_outlive_its_episode():
    inbox = queue.SimpleQueue()
    first = iter([Command(4, "success", 0)])
    arm = Arm(steps=3, reset=lambda seed: [inbox.put(c) for c in first])
    runtime, recorder, _ = start(arm, Chooser(steady), commands=inbox, max_episodes=2)
    runtime.run()
    last = [bool(row[IS_TERMINAL]) for row in recorder.rows if row[IS_LAST]]
    assert last[0]
    assert len(last) == 2


def test_a_reset_is_done_once_the_robot_has_been_reset():
    _, done, endings = run(Command(4, "reset", ANY_EPISODE), episodes=1)
    assert endings[0].ending == "reset by an operator"
    assert done == []
    _, done, _ = run(Command(4, "reset", ANY_EPISODE), episodes=2)
    assert done == [CommandDone(4, "")]


def operator():
    inbox, sent = commands(), []
    return Operator(inbox, EmergencyStop(), lambda: None, sent.append), inbox, sent


@pytest.mark.parametrize("episode", [0, ANY_EPISODE])
def test_a_mark_that_comes_after_the_last_row_is_refused(episode):
    told, inbox, sent = operator()
    told.episode_begun(0)
    told.episode_ended()
    inbox.put(Command(4, "success", episode))
    told.attend()
    told.episode_ended()
    assert [done.id for done in sent] == [4]
    assert "running" in sent[0].error
    assert not told.terminal


def test_a_pause_after_a_mark_does_not_take_it_back():
    told, inbox, sent = operator()
    told.episode_begun(0)
    inbox.put(Command(4, "success", 0))
    inbox.put(Command(5, "pause", ANY_EPISODE))
    told.attend()
    assert told.terminal
    assert told.paused
    told.episode_ended()
    assert sent == [CommandDone(4, ""), CommandDone(5, "")]


def test_the_runtime_refuses_a_mark_that_comes_between_two_episodes():
    inbox = commands()
    endings = []

    def ended(episode):
        endings.append(episode)
        if len(endings) == 1:
            inbox.put(Command(4, "success", episode.number))

    runtime, recorder, server = start(
        Arm(steps=3), Chooser(steady), commands=inbox, max_episodes=2, on_episode=ended
    )
    runtime.run()
    assert [m.error for m in server.sent if isinstance(m, CommandDone)] != [""]
    assert not any(row[IS_TERMINAL] for row in recorder.rows)
