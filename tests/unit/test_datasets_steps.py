"""The shift between rows, whose reward came with them, and steps, whose reward their action had."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_client.schema import Source
from server.datasets.steps import Steps, beside, demonstration, restored, to_rows, to_steps
from tests.unit.dataset_rows import KINDS, columns_of


def tiny(terminal=False, last=True):
    end = np.array([False, False, False, True])
    return columns_of(KINDS["vector"], 4) | {
        "reward": np.array([0.5, 1, 2, 3], np.float32),
        "action": np.array([[10, 10], [11, 11], [12, 12], [0, 0]], np.float32),
        "is_last": end & last,
        "is_terminal": end & terminal,
    }


def test_each_action_gets_the_reward_of_the_row_after_it():
    rows = tiny()
    steps = to_steps(rows)
    assert steps.actions[:, 0].tolist() == [10, 11, 12]
    assert steps.rewards.tolist() == [1, 2, 3]
    assert (steps.observations["obs"] == rows["obs"]).all()
    assert set(steps.observations) == {"obs"}


@pytest.mark.parametrize(
    ("terminal", "last", "terminations", "truncations"),
    [
        (True, True, [0, 0, 1], [0, 0, 0]),
        (False, True, [0, 0, 0], [0, 0, 1]),
        (False, False, [0, 0, 0], [0, 0, 1]),  # not finished: cut as far as readers can tell
    ],
)
def test_an_end_is_terminal_or_cut(terminal, last, terminations, truncations):
    steps = to_steps(tiny(terminal, last))
    assert steps.terminations.tolist() == terminations
    assert steps.truncations.tolist() == truncations


def test_steps_of_others_become_rows_of_a_person():
    steps = to_steps(tiny(terminal=True))
    rows = to_rows(steps, control_hz=4.0)
    assert rows["reward"].tolist() == [0, 1, 2, 3]
    assert rows["action"][:, 0].tolist() == [10, 11, 12, 0]
    assert rows["is_first"].tolist() == [1, 0, 0, 0]
    assert rows["is_last"].tolist() == rows["is_terminal"].tolist() == [0, 0, 0, 1]
    assert rows["time_monotonic"].tolist() == [0, 0.25, 0.5, 0.75]
    assert set(rows["source"]) == {Source.HUMAN}
    assert set(rows["policy_version"]) == {-1}
    assert {k: v.dtype for k, v in rows.items()} == {k: v.dtype for k, v in tiny().items()}


def test_a_terminal_flag_inside_an_episode_does_not_end_it():
    steps = to_steps(tiny())
    terminations = np.array([True, False, False])
    inside = Steps(
        steps.observations, steps.actions, steps.rewards, terminations, steps.truncations
    )
    assert not to_rows(inside, 1.0)["is_terminal"].any()


kinds = st.sampled_from(sorted(KINDS))
ends = st.sampled_from(["last", "terminal", "cut"])


@given(kinds, st.integers(2, 9), ends, st.integers(0, 2**31))
def test_rows_come_back_bit_for_bit(kind, count, end, seed):
    rows = columns_of(KINDS[kind], count, end, seed)
    steps = to_steps(rows)
    action = np.concatenate([steps.actions, rows["action"][-1:]])
    again = restored(steps.observations, action, beside(rows))
    assert set(again) == set(rows)
    for name, column in rows.items():
        assert np.array_equal(again[name], column)


@given(kinds, st.integers(2, 9), ends, st.integers(0, 2**31))
def test_nothing_but_what_steps_do_not_know_changes_on_the_way(kind, count, end, seed):
    rows = columns_of(KINDS[kind], count, end, seed)
    again = to_rows(to_steps(rows), 20.0)
    assert np.array_equal(again["reward"][1:], rows["reward"][1:])
    assert again["reward"][0] == 0
    assert np.array_equal(again["action"][:-1], rows["action"][:-1])
    assert np.array_equal(again["is_terminal"], rows["is_terminal"])
    assert again["is_last"].tolist() == [False] * (count - 1) + [True]
    returns = float(to_steps(rows).rewards.sum(dtype=float))
    assert returns == pytest.approx(float(rows["reward"][1:].sum(dtype=float)))
    assert all(len(column) == count for column in again.values())


@given(st.integers(2, 9), st.integers(0, 2**31))
def test_steps_of_steps_are_the_same(count, seed):
    steps = to_steps(columns_of(KINDS["vector"], count, "terminal", seed))
    again = to_steps(to_rows(steps, 7.0))
    for field in ("actions", "rewards", "terminations", "truncations"):
        assert np.array_equal(getattr(steps, field), getattr(again, field))


def test_a_demonstration_is_a_persons_and_otherwise_unchanged():
    rows = columns_of(KINDS["mixed"], 5)
    shown = demonstration(rows)
    assert set(shown["source"]) == {Source.HUMAN}
    assert set(shown["policy_version"]) == {-1}
    changed = {name for name in rows if not np.array_equal(rows[name], shown[name])}
    assert changed <= {"source", "policy_version"}
    assert all(shown[name].dtype == rows[name].dtype for name in rows)
