"""The small environments whose every number can be worked out by hand."""

from collections import deque

import gymnasium
import numpy as np
import pytest

from robot_client.robots import make_robot
from sim.envs.bit_flip import BitFlip
from sim.envs.chain import Chain
from sim.envs.dyna_maze import DynaMaze
from sim.envs.grid import MOVES
from sim.envs.two_rooms import GOALS, STARTS, TwoRooms

UP, DOWN, LEFT, RIGHT = range(4)


def shortest(env, start):
    """Actions of a shortest way to the goal, by breadth-first search over the drawn walls."""
    came, queue = {start: None}, deque([start])
    while queue and env.goal not in came:
        row, column = square = queue.popleft()
        for action, (down, right) in enumerate(MOVES):
            near = (row + down, column + right)
            inside = all(0 <= i < n for i, n in zip(near, env.walls.shape, strict=True))
            if inside and not env.walls[near] and near not in came:
                came[near] = (square, action)
                queue.append(near)
    actions, square = [], env.goal
    while came[square]:
        square, action = came[square]
        actions.append(action)
    return actions[::-1]


def pace(env, steps):
    """Walk to and fro, without arriving."""
    for step in range(steps):
        env.step(LEFT if step % 2 else RIGHT)


class TestDynaMaze:
    def test_the_shortest_way_has_14_steps_and_pays_1_at_its_end(self):
        way = shortest(DynaMaze(), (2, 0))
        assert len(way) == 14
        robot = make_robot("gym:dreamfleet/DynaMaze-v0")
        robot.connect()
        robot.reset(0)
        readings = []
        for action in way:
            robot.apply(np.int64(action))
            readings.append(robot.observe())
        assert [reading.reward for reading in readings] == [0] * 13 + [1]
        assert [reading.terminated for reading in readings] == [False] * 13 + [True]
        assert readings[-1].obs["obs"] == 8  # the top right of 9 columns
        robot.close()

    def test_walls_and_the_border_stop(self):
        env = DynaMaze()
        start, _ = env.reset(seed=0)
        assert start == 2 * 9
        assert env.step(LEFT)[0] == 18  # the border
        assert env.step(RIGHT)[0] == 19
        assert env.step(RIGHT)[0] == 19  # the wall at (2, 2)

    @pytest.mark.parametrize(
        ("variant", "change", "before", "after"),
        [("blocking", 1000, 10, 16), ("shortcut", 3000, 16, 10)],
    )
    def test_the_maze_changes_once_and_its_shortest_way_with_it(
        self, variant, change, before, after
    ):
        env = DynaMaze(variant)
        env.reset(seed=0)
        assert len(shortest(env, (5, 3))) == before
        pace(env, change - 1)
        env.reset()  # an episode's end is not a beginning of time
        assert len(shortest(env, (5, 3))) == before
        pace(env, 1)
        assert len(shortest(env, (5, 3))) == after
        env.reset()
        pace(env, 2 * change)
        assert len(shortest(env, (5, 3))) == after
        env.reset(seed=0)
        assert len(shortest(env, (5, 3))) == before

    def test_another_variant_is_refused(self):
        with pytest.raises(ValueError, match="variant"):
            DynaMaze("moving")


class TestTwoRooms:
    def test_every_goal_is_in_the_right_room_and_its_way_leads_through_the_corridor(self):
        assert len(GOALS) == 8
        for goal in GOALS:
            env = TwoRooms(goal)
            env.reset(seed=1)
            row, column = GOALS[goal]
            assert column >= 8
            # From the top left: down to row 2, along it, and up or down again in the other room.
            assert len(shortest(env, (0, 0))) == 2 + column + abs(row - 2)

    def test_starts_are_all_over_the_left_room(self):
        env = TwoRooms("A")
        env.reset(seed=0)
        seen = set()
        for _ in range(400):
            env.reset()
            seen.add(env.square)
        assert seen == set(STARTS)

    def test_a_step_costs_a_tenth_and_arriving_pays_one(self):
        env = TwoRooms("D")
        env.reset(seed=0)
        env.square = (2, 8)
        assert env.step(RIGHT)[1:3] == (-0.1, False)
        _, reward, terminated, *_ = env.step(RIGHT)
        assert (reward, terminated) == (pytest.approx(0.9), True)

    def test_goal_and_limit_are_the_ids(self):
        make_robot("gym:dreamfleet/TwoRooms-H-v0")  # registers
        env = gymnasium.make("dreamfleet/TwoRooms-H-v0")
        assert env.unwrapped.goal == GOALS["H"]
        env.reset(seed=0)
        ends = [env.step(UP)[3] for _ in range(300)]
        assert ends == [False] * 299 + [True]

    def test_another_goal_is_refused(self):
        with pytest.raises(ValueError, match="goal"):
            TwoRooms("Z")


class TestChain:
    def test_going_on_costs_99_steps_and_pays_100(self):
        env = Chain()
        env.reset(seed=0)
        steps = [env.step(1) for _ in range(99)]
        assert [reward for _, reward, *_ in steps] == [-1.0] * 98 + [100.0]
        assert [terminated for *_, terminated, _, _ in steps] == [False] * 98 + [True]
        assert [state for state, *_ in steps] == list(range(1, 100))

    def test_back_from_the_first_leads_nowhere(self):
        env = Chain(3)
        env.reset(seed=0)
        assert env.step(0)[0] == 0
        assert env.step(1)[0] == 1
        assert env.step(0)[0] == 0

    def test_one_state_is_too_few(self):
        with pytest.raises(ValueError, match="states"):
            Chain(1)


class TestBitFlip:
    def test_flipping_the_bits_that_differ_solves_it_for_one_less_than_their_number(self):
        robot = make_robot('gym:dreamfleet/BitFlip-v0 {"bits": 20}')
        robot.connect()
        robot.reset(4)
        obs = robot.observe().obs
        wrong = np.flatnonzero(obs["observation"] != obs["desired_goal"])
        rewards = []
        for bit in wrong:
            robot.apply(np.int64(bit))
            rewards.append(robot.observe().reward)
        assert len(wrong) > 1
        assert rewards == [-1.0] * (len(wrong) - 1) + [0.0]
        assert robot.observe().terminated
        robot.close()

    def test_its_goals_are_vectors_of_the_robot(self):
        robot = make_robot("gym:dreamfleet/BitFlip-v0")
        assert set(robot.observation_space) == {"observation", "achieved_goal", "desired_goal"}
        for space in robot.observation_space.values():
            assert (space.shape, space.dtype) == ((15,), np.float32)

    def test_the_reward_of_any_goal_can_be_computed_for_many_at_once(self):
        achieved = np.array([[[0, 1], [1, 1]], [[0, 0], [1, 0]]], np.float32)
        desired = np.array([[[0, 1], [1, 0]], [[1, 1], [1, 0]]], np.float32)
        reward = BitFlip(2).compute_reward(achieved, desired, {})
        assert reward.tolist() == [[0, -1], [-1, 0]]
        assert reward.dtype == np.float32

    def test_the_same_bit_twice_is_nothing_and_after_n_steps_the_episode_is_cut(self):
        env = BitFlip(4)
        start, _ = env.reset(seed=0)
        bit = int(np.flatnonzero(start["observation"] == start["desired_goal"])[0])
        ends = [env.step(bit)[2:4] for _ in range(4)]
        assert ends == [(False, False)] * 3 + [(False, True)]
        assert np.array_equal(
            env.step(bit)[0]["observation"] != start["observation"], np.arange(4) == bit
        )

    def test_it_never_begins_solved(self):
        env = BitFlip(1)
        env.reset(seed=0)
        for _ in range(30):
            obs, _ = env.reset()
            assert obs["achieved_goal"] != obs["desired_goal"]

    def test_start_and_goal_take_all_values(self):
        env = BitFlip(3)
        env.reset(seed=0)
        seen = {tuple(env.reset()[0]["desired_goal"]) for _ in range(200)}
        assert len(seen) == 8

    def test_no_bits_are_refused(self):
        with pytest.raises(ValueError, match="bits"):
            BitFlip(0)


def test_a_lasting_maze_has_changed_whatever_the_seeds_are():
    for lasting in (False, True):
        maze = DynaMaze("blocking", lasting=lasting)
        first = maze.walls.copy()
        for episode in range(4):
            maze.reset(seed=episode)
            for _ in range(300):
                maze.step(2)
        assert np.array_equal(maze.walls, first) != lasting
