"""Evaluations in which a person drives: the robot says so, and such an episode does not count."""

from typing import Any

import numpy as np
import pytest

from robot_client.messages import Evaluate
from robot_client.runtime import Runtime
from robot_client.schema import Source, Tag
from tests.unit.control import Arm, Chooser, Recorder, steady
from tests.unit.test_driving import Eager, Person, drive

ORDER = Evaluate(5, "e1", 7, 2, False)
MINE = Tag(5, learn=False)
CUT = Tag(5, learn=False, cut=True)


class Asked(Chooser):
    """Keeps whether it was asked to explore."""

    def __init__(self) -> None:
        super().__init__(steady, version=7)
        self.explored: list[bool] = []

    def step(self, carry: Any, obs: Any, is_first: bool, rng: Any, explore: bool) -> Any:
        self.explored.append(explore)
        return super().step(carry, obs, is_first, rng, explore)


def played(person: Person, episodes: int) -> tuple[Runtime, Recorder, Asked]:
    """Episodes of two steps, of which the server has ordered two."""
    policy = Asked()
    runtime, recorder, _ = drive(Arm(steps=2), policy, person, max_episodes=episodes)
    runtime.command(ORDER)
    runtime.run()
    return runtime, recorder, policy


def test_without_a_person_what_was_ordered_is_played() -> None:
    runtime, recorder, policy = played(Person(), 3)
    assert recorder.tags == [*[MINE] * 6, *[Tag()] * 3]
    assert policy.explored == [False] * 4 + [True] * 2
    assert runtime.heartbeat().evaluation == 0


@pytest.mark.parametrize("play", [(0.25, 0.25), "hold"])
def test_an_episode_in_which_a_person_drives_is_played_again(play: Any) -> None:
    runtime, recorder, policy = played(Person("off", play), 3)
    assert recorder.column("source")[1] in (Source.HUMAN, Source.HOLD)
    assert [recorder.tags[row] for row in (2, 5, 8)] == [CUT, MINE, MINE]
    assert policy.explored == [False] * 6
    assert runtime.heartbeat().evaluation == 0


def test_no_evaluation_begins_while_a_person_drives() -> None:
    runtime, recorder, policy = played(Eager(*["hold"] * 6), 2)
    assert recorder.tags == [*[Tag()] * 2, Tag(cut=True)] * 2
    assert all(policy.explored)
    assert np.unique(recorder.column("policy_version")).tolist() == [7]
    assert runtime.heartbeat().evaluation == 5
