"""Atari games as Dreamer plays them (Hafner et al. 2021), after Machado et al. 2018."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sim.envs.extras import drawn, needs
from sim.envs.images import Shrink

NAMES = (  # the 55 of DreamerV2
    "Alien Amidar Assault Asterix Asteroids Atlantis BankHeist BattleZone BeamRider Berzerk "
    "Bowling Boxing Breakout Centipede ChopperCommand CrazyClimber DemonAttack DoubleDunk Enduro "
    "FishingDerby Freeway Frostbite Gopher Gravitar Hero IceHockey Jamesbond Kangaroo Krull "
    "KungFuMaster MontezumaRevenge MsPacman NameThisGame Phoenix Pitfall Pong PrivateEye Qbert "
    "Riverraid RoadRunner Robotank Seaquest Skiing Solaris SpaceInvaders StarGunner Tennis "
    "TimePilot Tutankham UpNDown Venture VideoPinball WizardOfWor YarsRevenge Zaxxon"
)
GAMES = tuple(NAMES.split())

FRAMES_HZ = 60
REPEAT = 4  # frames an action lasts
STICKY = 0.25  # probability that a frame repeats the action of the frame before
MAX_FRAMES = 108_000  # half an hour
PIXELS = 64
NOOP = 0


class Atari(gymnasium.Env[Any, Any]):
    """One game: (64, 64, 3) or (64, 64, 1) uint8 pictures and the score's changes, at 15 Hz.

    A picture is the maximum over the last two of an action's four frames, as objects may flicker.
    An episode ends with the game, or is truncated after half an hour of play. Actions are sticky.

    Args:
        game: as in `GAMES`.
        gray: whether pictures have one channel.
        full_actions: all 18 moves of the joystick, or those that do something in this game.
        noops: an episode begins with up to so many frames without action.
        life_loss: whether losing a life ends the episode.
        render_mode: `rgb_array` or nothing.

    Raises:
        RobotError: ale_py is missing.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012, gymnasium's own type
        "render_modes": ["rgb_array"],
        "render_fps": FRAMES_HZ / REPEAT,
    }

    def __init__(
        self,
        game: str,
        *,
        gray: bool = False,
        full_actions: bool = True,
        noops: int = 30,
        life_loss: bool = False,
        render_mode: str | None = None,
    ) -> None:
        library = needs("ale_py")
        self._rom = needs("ale_py.roms").get_rom_path(rom_name(game))
        library.ALEInterface.setLoggerMode(library.LoggerMode.Error)  # else it greets at each start
        self._ale: Any = library.ALEInterface()
        self._ale.setFloat("repeat_action_probability", STICKY)
        self._ale.setInt("max_num_frames_per_episode", MAX_FRAMES)
        self._ale.loadROM(self._rom)
        moves = self._ale.getLegalActionSet() if full_actions else self._ale.getMinimalActionSet()
        self._moves, self._gray, self._noops, self._life_loss = moves, gray, noops, life_loss
        self._shrink = Shrink(self._ale.getScreenDims(), (PIXELS, PIXELS))
        self.observation_space = spaces.Box(0, 255, (PIXELS, PIXELS, 1 if gray else 3), np.uint8)
        self.action_space = spaces.Discrete(len(moves))
        self.render_mode = drawn(render_mode)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begin a game. A seed loads the cartridge anew: the emulator seeds itself only then."""
        super().reset(seed=seed)
        if seed is not None:
            self._ale.setInt("random_seed", int(self.np_random.integers(2**31)))
            self._ale.loadROM(self._rom)
        self._ale.reset_game()
        for _ in range(self.np_random.integers(self._noops + 1)):
            self._ale.act(self._moves[NOOP])
            if self._ale.game_over():
                self._ale.reset_game()
        return self._shrink(self._screen()), self._info()

    def step(self, action: int) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Hold a move for four frames; fewer if the game ends."""
        lives, reward = self._ale.lives(), 0.0
        before = screen = self._screen()
        for _ in range(REPEAT):
            reward += self._ale.act(self._moves[action])
            before, screen = screen, self._screen()
            if self._ale.game_over():
                break
        lost = self._life_loss and self._ale.lives() < lives
        terminated = bool(self._ale.game_over(with_truncation=False) or lost)
        picture = self._shrink(np.maximum(before, screen))
        return picture, reward, terminated, bool(self._ale.game_truncated()), self._info()

    def render(self) -> NDArray[np.uint8] | None:
        """The whole screen, (210, 160, 3) in most games, if `render_mode` is set."""
        return None if self.render_mode is None else self._ale.getScreenRGB()

    def _screen(self) -> NDArray[np.uint8]:
        if self._gray:
            return np.asarray(self._ale.getScreenGrayscale())[..., None]
        return np.asarray(self._ale.getScreenRGB())

    def _info(self) -> dict[str, Any]:
        return {"lives": self._ale.lives()}


def rom_name(game: str) -> str:
    """From the name in an id to the emulator's: `MsPacman` is `ms_pacman`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in game).removeprefix("_")
