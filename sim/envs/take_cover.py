"""VizDoom's Take Cover as World Models plays it (Ha & Schmidhuber 2018)."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sim.envs.extras import drawn, needs
from sim.envs.images import Shrink

PIXELS = 64
TICS_HZ = 35
REPEAT = 4  # tics an action lasts
LIMIT = 2100  # tics, one minute
BUTTONS = ([0, 0], [1, 0], [0, 1])  # stay, go left, go right
SCRATCH = "_vizdoom"  # folder that the game makes where it is started, and leaves empty


class TakeCover(gymnasium.Env[Any, Any]):
    """Dodge the monsters' fireballs: (64, 64, 3) uint8 pictures, at 8.75 Hz.

    Actions: 0 stay, 1 left, 2 right, for four tics. The reward is the number of tics survived, so
    that the return is the paper's score; 750 counts as solved. Death terminates, 2100 tics truncate
    (525 steps). As the game shows nothing once it is over, the last picture is the last but one.
    The graphics are Freedoom's, which come with vizdoom.

    Args:
        render_mode: `rgb_array` or nothing.

    Raises:
        RobotError: vizdoom is missing.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012, gymnasium's own type
        "render_modes": ["rgb_array"],
        "render_fps": TICS_HZ / REPEAT,
    }

    def __init__(self, render_mode: str | None = None) -> None:
        self._game = _game(needs("vizdoom"))
        size = (self._game.get_screen_height(), self._game.get_screen_width())
        self._shrink = Shrink(size, (PIXELS, PIXELS))
        self._screen = np.zeros((*size, 3), np.uint8)  # the last that was seen
        self.observation_space = spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8)
        self.action_space = spaces.Discrete(len(BUTTONS))
        self.render_mode = drawn(render_mode)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begin an episode; the first starts the game's process."""
        super().reset(seed=seed)
        self._game.set_seed(int(self.np_random.integers(2**32)))
        if self._game.is_running():
            self._game.new_episode()
        else:
            self._game.init()
            with contextlib.suppress(OSError):  # another game's, or the user's with something in it
                os.rmdir(SCRATCH)
        return self._picture(), {}

    def step(self, action: int) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Press a button for four tics; fewer if it kills."""
        reward = float(self._game.make_action(BUTTONS[action], REPEAT))
        over = self._game.is_episode_finished()
        dead = bool(over and self._game.is_player_dead())
        return self._picture(), reward, dead, bool(over and not dead), {}

    def render(self) -> NDArray[np.uint8] | None:
        """(120, 160, 3) picture, if `render_mode` is set."""
        return None if self.render_mode is None else self._screen.copy()

    def close(self) -> None:
        """End the game's process."""
        self._game.close()

    def _picture(self) -> NDArray[np.uint8]:
        state = self._game.get_state()
        if state is not None:
            self._screen = state.screen_buffer.copy()
        return self._shrink(self._screen)


def _game(library: Any) -> Any:
    game = library.DoomGame()
    game.load_config(os.path.join(library.scenarios_path, "take_cover.cfg"))
    game.set_doom_config_path(os.devnull)  # else it writes one where it is started
    game.set_episode_timeout(LIMIT)
    game.set_screen_resolution(library.ScreenResolution.RES_160X120)
    game.set_screen_format(library.ScreenFormat.RGB24)
    game.set_window_visible(False)
    return game
