"""MiniPacman: what is eaten, how ghosts decide, and when a level is cleared."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_client.robots import make_robot
from sim.envs.grid import MOVES, walls_of
from sim.envs.minipacman import MAZE, MODES, POWER_STEPS, Ghost, Level, MiniPacman

UP, DOWN, LEFT, RIGHT, STAY = range(5)
WALLS = walls_of(MAZE)
FREE = {(int(row), int(column)) for row, column in np.argwhere(~WALLS)}
FAR = (13, 17)  # the bottom right corner; Pac-Man of these tests is at the top left


def near(square):
    return [
        (square[0] + a, square[1] + b) for a, b in MOVES if (square[0] + a, square[1] + b) in FREE
    ]


@pytest.fixture
def env():
    """Pac-Man in the second square of the first row, alone, with food on his right only."""
    env = MiniPacman("regular")
    env.reset(seed=0)
    level = env.level
    level.pacman, level.ghosts, level.pills = (1, 2), [], {FAR}
    level.food[:] = False
    level.food[1, 3] = level.food[1, 4] = level.food[13, 1] = True
    return env


def use(env, mode):
    env._mode = MODES[mode]


TABLE = {  # I2A's five tasks: step, food, pill, ghost, killed
    "regular": (0, 1, 2, 5, 0),
    "avoid": (0.1, -0.1, -5, -10, -20),
    "hunt": (0, 0, 1, 10, -20),
    "ambush": (0, -0.1, 0, 10, -20),
    "rush": (0, -0.1, 9.9, 0, 0),
}


class TestMaze:
    def test_it_is_of_the_papers_size_connected_and_has_no_dead_end(self):
        assert WALLS.shape == (15, 19)
        reached, frontier = {(1, 1)}, [(1, 1)]
        for square in frontier:
            assert len(near(square)) >= 2
            for other in near(square):
                if other not in reached:
                    reached.add(other)
                    frontier.append(other)
        assert reached == FREE


class TestRewards:
    @pytest.mark.parametrize("mode", TABLE)
    def test_each_event_pays_what_the_table_says(self, env, mode):
        use(env, mode)
        step, food, pill, ghost, killed = TABLE[mode]
        level = env.level
        level.pills = {(1, 1), FAR}
        level.ghosts = [Ghost(FAR, UP)]
        assert env.step(STAY)[1] == pytest.approx(step)
        assert env.step(RIGHT)[1] == pytest.approx(step + food)
        level.pacman = (1, 2)
        assert env.step(LEFT)[1] == pytest.approx(step + pill)
        level.ghosts = [Ghost((1, 3), LEFT), Ghost(FAR, UP)]
        assert env.step(RIGHT)[1] == pytest.approx(step + ghost)  # two moves, nothing left to eat
        level.power, level.pacman = 0, (1, 2)
        level.ghosts = [Ghost((1, 3), LEFT)]
        _, reward, terminated, truncated, _ = env.step(STAY)
        assert reward == pytest.approx(step + killed)
        assert (terminated, truncated) == (True, False)

    def test_the_table_has_all_modes(self):
        assert TABLE.keys() == MODES.keys()


class TestPower:
    def test_it_lasts_20_steps_of_two_moves(self, env):
        level = env.level
        level.pills = {(1, 3), FAR}
        env.step(RIGHT)
        assert (level.pacman, level.power) == ((1, 3), POWER_STEPS)
        env.step(RIGHT)
        assert level.pacman == (1, 5)
        for left in range(POWER_STEPS - 2, -1, -1):
            env.step(STAY)
            assert level.power == left
        env.step(RIGHT)
        assert level.pacman == (1, 6)

    def test_the_second_of_two_moves_stops_at_a_wall(self, env):
        env.level.power = 5
        env.step(LEFT)
        assert env.level.pacman == (1, 1)

    def test_another_pill_begins_it_anew(self, env):
        env.level.power, env.level.pills = 5, {(1, 3), FAR}
        env.step(RIGHT)
        assert env.level.power == POWER_STEPS

    def test_on_its_last_step_ghosts_can_still_be_eaten(self, env):
        env.level.power, env.level.ghosts = 1, [Ghost((1, 3), LEFT)]
        _, reward, terminated, *_ = env.step(RIGHT)
        assert (reward, terminated) == (5 + 2, False)  # and two food
        assert env.level.power == 0


class TestGhosts:
    def test_in_a_corridor_it_goes_on_and_round_bends(self, env):
        ghost = Ghost((13, 3), LEFT)  # the row at the bottom, whose corner leads up
        env.level.ghosts = [ghost]
        squares = []
        for _ in range(4):
            env.step(STAY)
            squares.append(ghost.square)
        assert squares == [(13, 2), (13, 1), (12, 1), (11, 1)]

    @pytest.mark.parametrize(("power", "heading"), [(0, UP), (9, DOWN)])
    def test_at_a_crossing_it_hunts_or_flees(self, env, power, heading):
        env.level.power, env.level.ghosts = power, [Ghost((3, 1), DOWN if power else UP)]
        env.level.pacman = (1, 1)
        assert env.level._heading(env.level.ghosts[0]) == heading

    def test_it_never_turns_back(self):
        level = Level(WALLS, np.random.default_rng(3), 5)
        level.pacman = (0, 0)  # in the wall, where nobody can meet him
        headings = [ghost.heading for ghost in level.ghosts]
        level.play(STAY)  # a first heading may be into a wall
        for _ in range(200):
            headings = [ghost.heading for ghost in level.ghosts]
            level.play(STAY)
            for before, ghost in zip(headings, level.ghosts, strict=True):
                assert ghost.heading != before ^ 1

    @pytest.mark.parametrize("action", [RIGHT, STAY])
    def test_those_who_change_places_meet(self, env, action):
        env.level.ghosts = [Ghost((1, 3), LEFT)]
        assert env.step(action)[2]

    def test_one_more_ghost_every_second_level_none_of_them_near(self):
        for number, count in ((1, 1), (2, 1), (3, 2), (4, 2), (5, 3)):
            level = Level(WALLS, np.random.default_rng(number), number)
            assert len(level.ghosts) == count
            for ghost in level.ghosts:
                assert max(np.abs(np.subtract(ghost.square, level.pacman))) >= 5


class TestLevels:
    def test_regular_ends_with_the_food(self, env):
        env.level.food[:] = False
        env.level.food[1, 3] = True
        _, reward, terminated, _, info = env.step(RIGHT)
        assert (reward, terminated, info["level"]) == (1, False, 2)
        assert env.level.food.sum() == len(FREE) - 3  # Pac-Man and two pills are on the others

    def test_rush_ends_with_the_pills(self, env):
        use(env, "rush")
        env.level.pills = {(1, 3)}
        assert env.step(LEFT)[4]["level"] == 1
        env.level.pacman = (1, 2)
        assert env.step(RIGHT)[4]["level"] == 2

    @pytest.mark.parametrize("mode", ["hunt", "ambush"])
    def test_hunt_and_ambush_end_with_the_ghosts(self, env, mode):
        use(env, mode)
        env.level.power, env.level.ghosts = 9, [Ghost((1, 3), LEFT)]
        assert env.step(RIGHT)[4]["level"] == 2

    @pytest.mark.parametrize(("mode", "steps"), [("avoid", 128), ("hunt", 80), ("ambush", 80)])
    def test_or_in_time(self, env, mode, steps):
        use(env, mode)
        env.level.pacman, env.level.ghosts = (0, 0), [Ghost(FAR, UP)]
        levels = [env.step(STAY)[4]["level"] for _ in range(steps)]
        assert levels == [1] * (steps - 1) + [2]
        assert env.level.steps == 0


class TestObservations:
    def test_the_planes(self, env):
        level = env.level
        level.ghosts = [Ghost((11, 5), LEFT)]
        planes = MiniPacman("regular", "planes")._obs(level)
        assert np.array_equal(planes[..., 0], WALLS)
        assert np.array_equal(planes[..., 1], level.food)
        assert np.argwhere(planes[..., 2]).tolist() == [[13, 17]]
        assert np.argwhere(planes[..., 3]).tolist() == [[1, 2]]
        assert np.argwhere(planes[..., 4]).tolist() == [[11, 5]]
        assert not planes[..., 5].any()
        level.power = 5
        planes = MiniPacman("regular", "planes")._obs(level)
        assert not planes[..., 4].any()
        assert planes[11, 5, 5] == 5 / 20

    def test_the_picture_shows_the_power_that_is_left(self, env):
        weak = env._obs(env.level)
        env.level.power = 5
        strong = env._obs(env.level)
        changed = np.argwhere((weak != strong).any(-1))
        assert changed.min(0).tolist() == [68, 0]  # row 17 of tiles of 4 pixels
        assert changed.max(0).tolist() == [71, 19]  # five tiles long


@given(seed=st.integers(0, 2**32), mode=st.sampled_from(sorted(MODES)), data=st.data())
@settings(max_examples=30, deadline=None)
def test_nobody_is_ever_in_a_wall_and_food_only_gets_less(seed, mode, data):
    env = MiniPacman(mode)
    env.reset(seed=seed)
    for action in data.draw(st.lists(st.integers(0, 4), max_size=50)):
        before, food = env.level, env.level.food.sum()
        terminated = env.step(action)[2]
        level = env.level
        assert {level.pacman, *level.pills, *(ghost.square for ghost in level.ghosts)} <= FREE
        assert 0 <= level.power <= POWER_STEPS
        assert level is not before or level.food.sum() <= food
        if terminated:
            break


def away(level, start):
    """Moves from a square to every other."""
    found, frontier = {start: 0}, [start]
    for square in frontier:
        for other in near(square):
            if other not in found:
                found[other] = found[square] + 1
                frontier.append(other)
    return found


def scripted(level, wanted):
    """First move of the nearest way to what is wanted that no ghost can cut; else away."""
    threats = [] if level.power > 1 else [away(level, ghost.square) for ghost in level.ghosts]

    def risk(square):
        return min((threat[square] for threat in threats), default=99)

    first, depth, frontier = {level.pacman: STAY}, {level.pacman: 0}, [level.pacman]
    for square in frontier:
        if square in wanted and depth[square]:
            return first[square]
        for action in (UP, DOWN, LEFT, RIGHT):
            after = level._next(square, action)
            if after not in depth and risk(after) > depth[square] + 2:
                depth[after], first[after] = depth[square] + 1, first[square]
                if square == level.pacman:
                    first[after] = action
                frontier.append(after)
    return max((UP, DOWN, LEFT, RIGHT), key=lambda action: risk(level._next(level.pacman, action)))


def wanted_in(mode, level):
    food = {(int(row), int(column)) for row, column in np.argwhere(level.food)}
    ghosts = {ghost.square for ghost in level.ghosts}
    chase = ghosts if level.power else level.pills
    return {"regular": food | level.pills, "rush": level.pills, "avoid": set()}.get(mode, chase)


def played(mode, seed, choose, steps=400):
    """The return of an episode and the level it ends in."""
    env, total = MiniPacman(mode), 0.0
    env.reset(seed=seed)
    for _ in range(steps):
        _, reward, terminated, _, info = env.step(choose(env.level))
        total += reward
        if terminated:
            break
    return total, info["level"]


@pytest.mark.parametrize("mode", MODES)
def test_each_task_can_be_solved_and_its_reward_tells_a_good_player(mode):
    rng = np.random.default_rng(0)
    good = [
        played(mode, s, lambda level: scripted(level, wanted_in(mode, level))) for s in range(4)
    ]
    random = [played(mode, s, lambda _: int(rng.integers(5))) for s in range(4)]
    assert np.mean([total for total, _ in good]) > np.mean([total for total, _ in random]) + 10
    assert max(level for _, level in good) >= 3


def test_the_five_tasks_have_ids_and_equal_spaces():
    robots = [make_robot(f"gym:dreamfleet/MiniPacman-{mode.title()}-v0") for mode in MODES]
    assert len({str(robot.observation_space) for robot in robots}) == 1
    assert robots[0].observation_space["image"].shape == (80, 80, 3)
    assert robots[0].action_space.n == 5


def test_another_mode_or_observation_is_refused():
    with pytest.raises(ValueError, match="mode"):
        MiniPacman("easy")
    with pytest.raises(ValueError, match="observe"):
        MiniPacman("rush", "sound")
