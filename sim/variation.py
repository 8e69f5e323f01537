"""Domain randomisation: what of a simulated world differs from episode to episode. Off by default.

Tobin et al. 2017 (domain randomisation); the sunrise is DayDreamer's (Wu et al. 2022, xArm).
Faults of sensors and links, which every robot can have, are in `robot_client.robots.faulty`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from sim.engine import Light

SLANT = 1.0  # how far the light's direction may lean at full variation
DARK = 0.25  # strength of the light before sunrise
NIGHT_COLOUR = np.array([0.75, 0.85, 1.0])
SUNRISE_COLOUR = np.array([1.0, 0.75, 0.5])


@dataclass(frozen=True)
class Variation:
    """How much a world varies.

    Args:
        mass: share by which each body's mass may be greater or smaller.
        friction: the same of the coefficients of friction.
        light: the same of the light's strength; its direction leans as much.
        sunrise_s: seconds from night to day, through an orange dawn, and back again; 0: noon.

    Raises:
        ValueError: a share is outside [0, 1), or a time negative.
    """

    mass: float = 0.0
    friction: float = 0.0
    light: float = 0.0
    sunrise_s: float = 0.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value, top = getattr(self, item.name), 1.0 if item.name != "sunrise_s" else np.inf
            if not 0 <= value < top:
                raise ValueError(f"vary.{item.name}: expected a number in [0, {top}), got {value}")

    def draw(self, rng: np.random.Generator) -> World:
        """What one episode's world is like. Takes five numbers from the generator, always."""
        mass, friction, light, *lean = rng.uniform(-1, 1, 5)
        return World(
            mass=1 + self.mass * mass,
            friction=1 + self.friction * friction,
            brightness=1 + self.light * light,
            lean=(SLANT * self.light * lean[0], SLANT * self.light * lean[1]),
            sunrise_s=self.sunrise_s,
        )


@dataclass(frozen=True)
class World:
    """Factors of mass, friction and brightness, and the slope of the light, of one episode."""

    mass: float = 1.0
    friction: float = 1.0
    brightness: float = 1.0
    lean: tuple[float, float] = (0.0, 0.0)
    sunrise_s: float = 0.0

    def light(self, seconds: float, shadow: bool = False) -> Light:
        """The light, so many seconds of simulated time after the robot was connected."""
        red, green, blue = (float(part) for part in self.brightness * self._dawn(seconds))
        x, y = (0.3 + self.lean[0], 0.3 + self.lean[1])
        return Light((red, green, blue), (x, y, 1.0), shadow)

    def _dawn(self, seconds: float) -> np.ndarray:
        """(3,) colour: night at 0, orange half way, white at `sunrise_s`; then back."""
        if not self.sunrise_s:
            return np.ones(3)
        day = 0.5 - 0.5 * np.cos(np.pi * seconds / self.sunrise_s)
        times = [0.0, 0.5, 1.0]
        shades = np.stack([DARK * NIGHT_COLOUR, 0.7 * SUNRISE_COLOUR, np.ones(3)])
        return np.array([np.interp(day, times, shades[:, i]) for i in range(3)])
