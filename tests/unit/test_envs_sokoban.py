"""Sokoban: its rules, its levels and the search that solves them."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_client.robots import make_robot
from sim.envs.sokoban import Sokoban, moved
from sim.envs.sokoban_levels import MAX_MOVES, Level, generate, read_level
from sim.envs.sokoban_solver import solve

UP, DOWN, LEFT, RIGHT, STAY = range(5)

ROOM = """
#######
#-----#
#-----#
#-@$--#
#----.#
#-----#
#######
"""


def corridor(squares):
    """Five squares in a row, the rest wall."""
    return read_level("\n".join(["#" * 7, f"#{squares}#", *["#" * 7] * 5]))


some_level = st.builds(
    lambda seed, boxes: generate(np.random.default_rng(seed), 7, boxes),
    st.integers(0, 2**32),
    st.integers(1, 3),
)


def start(level, **options):
    env = Sokoban(size=7, boxes=len(level.boxes), **options)
    env.reset(seed=0, options={"level": level})
    return env


def shortest_by_brute_force(level):
    """Moves of a shortest solution, trying everything; None without one."""
    targets = frozenset(int(square) for square in np.flatnonzero(level.targets))
    depth, queue = {(level.player, level.boxes): 0}, deque([level])
    while queue:
        here = queue.popleft()
        moves = depth[here.player, here.boxes]
        if here.boxes == targets:
            return moves
        for action in range(4):
            after = moved(here, action)
            if (after.player, after.boxes) not in depth:
                depth[after.player, after.boxes] = moves + 1
                queue.append(after)
    return None


class TestRules:
    def test_rewards_by_hand(self):
        env = start(corridor("-@$.*"))
        assert env.step(STAY)[1:3] == (pytest.approx(-0.1), False)
        assert env.step(LEFT)[1:3] == (pytest.approx(-0.1), False)
        assert env.step(RIGHT)[1:3] == (pytest.approx(-0.1), False)
        assert env.step(RIGHT)[1:3] == (pytest.approx(-0.1 + 1 + 10), True)
        off = start(corridor("@*-$."))
        assert off.step(RIGHT)[1:3] == (pytest.approx(-0.1 - 1), False)
        on = start(corridor("$.@$."))
        assert on.step(RIGHT)[1:3] == (pytest.approx(-0.1 + 1), False)  # one of two

    @pytest.mark.parametrize(
        ("squares", "action"),
        [("@$$..", RIGHT), ("$@-.-", LEFT), (".-$-@", UP), (".-$-@", RIGHT), (".-$@-", STAY)],
    )
    def test_what_cannot_move_stays(self, squares, action):
        level = corridor(squares)
        assert moved(level, action) is level

    def test_a_box_in_a_corner_stays_there(self):
        level = read_level(ROOM)
        level = moved(moved(level, RIGHT), RIGHT)  # the box is at the right wall
        assert solve(level) is not None
        for action in (UP, RIGHT, DOWN, DOWN):  # past the target, into the corner
            level = moved(level, action)
        assert level.boxes == {5 * 7 + 5}
        assert solve(level) is None

    @given(level=some_level, actions=st.lists(st.integers(0, 4), max_size=60))
    @settings(max_examples=60, deadline=None)
    def test_nothing_is_lost_and_nothing_is_in_a_wall(self, level, actions):
        for action in actions:
            after = moved(level, action)
            assert len(after.boxes) == len(level.boxes)
            assert not after.walls.flat[[after.player, *after.boxes]].any()
            assert after.player not in after.boxes
            assert len(after.boxes - level.boxes) <= 1
            level = after

    @given(level=some_level, actions=st.lists(st.integers(0, 4), min_size=1, max_size=60))
    @settings(max_examples=60, deadline=None)
    def test_the_return_follows_from_the_boxes_on_targets(self, level, actions):
        env, rewards = start(level), []
        for action in actions:
            _, reward, solved, _, info = env.step(action)
            rewards.append(reward)
            if solved:
                break
        stored = info["boxes_on_target"]  # none was at first
        expected = -0.1 * len(rewards) + stored + 10 * solved
        assert sum(rewards) == pytest.approx(expected)
        assert solved == (stored == len(level.boxes))


class TestObservations:
    def test_planes_and_pictures_show_the_same(self):
        level = read_level(ROOM)
        planes = start(level, observe="planes")._obs(level)
        assert planes.shape == (7, 7, 4)
        assert np.array_equal(planes[..., 0], level.walls)
        assert np.argwhere(planes[..., 1]).tolist() == [[4, 5]]
        assert np.argwhere(planes[..., 2]).tolist() == [[3, 3]]
        assert np.argwhere(planes[..., 3]).tolist() == [[3, 2]]
        picture = start(level)._obs(level)
        assert picture.shape == (56, 56, 3)
        kinds = {
            picture[8 * r : 8 * r + 8, 8 * c : 8 * c + 8].tobytes() for r, c in np.ndindex(7, 7)
        }
        assert len(kinds) == 5  # wall, floor, target, box, player

    def test_every_kind_of_square_looks_different(self):
        tiles = Sokoban()._tiles
        assert len({tile.tobytes() for tile in tiles}) == 7

    def test_the_paper_s_size_and_actions(self):
        robot = make_robot("gym:dreamfleet/Sokoban-4-v0")
        assert robot.observation_space["image"].shape == (80, 80, 3)
        assert robot.action_space.n == 5
        assert make_robot('gym:dreamfleet/Sokoban-v0 {"noop": false}').action_space.n == 4


class TestLevels:
    @given(seed=st.integers(0, 2**32), boxes=st.integers(1, 4))
    @settings(max_examples=60, deadline=None)
    def test_each_can_be_solved_in_time_and_is_not_solved_at_first(self, seed, boxes):
        level = generate(np.random.default_rng(seed), 7, boxes)
        assert level.targets.sum() == len(level.boxes) == boxes
        assert not level.targets.flat[list(level.boxes)].any()
        assert level.walls[[0, -1]].all()
        assert level.walls[:, [0, -1]].all()
        solution = solve(level)
        assert solution is not None
        assert len(solution) <= MAX_MOVES < 120
        for action in solution:
            level = moved(level, action)
        assert level.targets.flat[list(level.boxes)].all()

    @pytest.mark.parametrize("seed", range(4))
    def test_the_paper_s_size_too(self, seed):
        solution = solve(generate(np.random.default_rng(seed), 10, 3))
        assert solution is not None
        assert len(solution) <= MAX_MOVES

    @given(
        seed=st.integers(0, 2**32), boxes=st.integers(1, 3), backwards=st.sampled_from([2, 12, 40])
    )
    @settings(max_examples=30, deadline=None)
    def test_easier_ones_are_solved_by_going_all_the_way_back(self, seed, boxes, backwards):
        level = generate(np.random.default_rng(seed), 7, boxes, backwards)
        assert not level.targets.flat[list(level.boxes)].all()
        assert not level.walls.flat[[level.player, *level.boxes]].any()
        solution = solve(level)
        assert solution is not None
        assert len(solution) <= backwards

    def test_levels_differ(self):
        rng = np.random.default_rng(0)
        drawn = [generate(rng, 7, 2) for _ in range(30)]
        assert len({(level.walls.tobytes(), level.boxes, level.player) for level in drawn}) == 30

    def test_a_level_depends_on_the_seed_only(self):
        env = Sokoban(size=7, boxes=2)
        first, _ = env.reset(seed=9)
        for action in (UP, LEFT, DOWN):
            env.step(action)
        second, _ = env.reset()
        assert np.array_equal(env.reset(seed=9)[0], first)
        assert np.array_equal(env.reset()[0], second)  # whatever was done in the first

    def test_a_drawing_needs_one_player_and_a_target_for_each_box(self):
        for drawing in ("###\n#$#\n###", "####\n#@$#\n####"):
            with pytest.raises(ValueError, match="one player"):
                read_level(drawing)


class TestSolver:
    @given(seed=st.integers(0, 2**32), boxes=st.integers(1, 2))
    @settings(max_examples=25, deadline=None)
    def test_its_solutions_are_shortest(self, seed, boxes):
        level = generate(np.random.default_rng(seed), 7, boxes)
        assert len(solve(level)) == shortest_by_brute_force(level)

    @given(level=some_level, actions=st.lists(st.integers(0, 3), max_size=25))
    @settings(max_examples=25, deadline=None)
    def test_it_says_none_just_where_there_is_none(self, level, actions):
        for action in actions:
            level = moved(level, action)
        if len(level.boxes) < 3:
            solution = solve(level)
            assert (None if solution is None else len(solution)) == shortest_by_brute_force(level)

    def test_by_hand(self):
        assert solve(corridor("@$-.-")) == [RIGHT, RIGHT]
        # Two pushes to the right wall, round the box's top, and one down.
        assert solve(read_level(ROOM)) == [RIGHT, RIGHT, UP, RIGHT, DOWN]
        assert solve(corridor("@-$.*")) == [RIGHT, RIGHT]

    def test_it_gives_up_after_so_many_states(self):
        assert solve(generate(np.random.default_rng(0), 10, 3), max_states=3) is None


def level_of(planes):
    walls, targets, boxes, player = np.moveaxis(planes.astype(bool), -1, 0)
    squares = frozenset(int(square) for square in np.flatnonzero(boxes))
    return Level(walls, targets, squares, int(np.flatnonzero(player)[0]))


@pytest.mark.parametrize("seed", range(5))
def test_the_search_solves_what_the_robot_sees_and_gets_the_right_return(seed):
    robot = make_robot('gym:dreamfleet/Sokoban-v0 {"observe": "planes"}')
    robot.connect()
    robot.reset(seed)
    solution = solve(level_of(robot.observe().obs["obs"]))
    total = 0.0
    for action in solution:
        assert not robot.observe().terminated
        robot.apply(np.int64(action))
        total += robot.observe().reward
    # Two boxes are worth 1 each and solving it 10; each move costs 0.1.
    assert total == pytest.approx(12 - 0.1 * len(solution))
    assert robot.observe().terminated
    assert not robot.observe().truncated
    robot.close()


def test_after_120_steps_the_episode_is_cut():
    robot = make_robot("gym:dreamfleet/Sokoban-v0")
    robot.connect()
    robot.reset(0)
    for _ in range(120):
        assert not robot.observe().truncated
        robot.apply(np.int64(STAY))
    assert robot.observe().truncated
    assert not robot.observe().terminated
    robot.close()


@pytest.mark.parametrize(
    "options",
    [
        {"boxes": 0},
        {"boxes": 5},
        {"size": 6, "boxes": 2},
        {"observe": "sound"},
        {"backwards": 0},
        {"backwards": 61},
    ],
)
def test_arguments_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Sokoban(**options)


def test_a_given_level_must_fit():
    with pytest.raises(ValueError, match="level"):
        Sokoban(size=10).reset(seed=0, options={"level": read_level(ROOM)})
