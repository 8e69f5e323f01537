"""What a small World Models agent sees and dreams, as pictures to look at.

python -m benchmarks.dream_pictures [--seed 0] [--updates 1500] [--temperature 1.0] [--out DIR]

It learns from random episodes of the pixel cart-pole; dream_seen.png shows pictures above what V
makes of them, dream_strip.png dreams under each other and dream.gif the first as a film.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from agents.dream.controller import Controller
from agents.dream.dreaming import dream
from benchmarks.claims.poles import LATENT, UNITS, World, pixels
from benchmarks.machine import RESULTS

SHOWN, STEPS, ZOOM = 12, 48, 4


def tiles(pictures: torch.Tensor) -> np.ndarray:
    """(R, C, 1, H, W) in 0..1 -> one picture of R rows and C columns, with lines between."""
    framed = torch.nn.functional.pad(pictures[:, :, 0], (1, 1, 1, 1), value=0.4)
    grid = torch.cat([torch.cat([*row], 1) for row in framed], 0)
    return (grid * 255).round().to(torch.uint8).numpy()


def save(picture: np.ndarray, path: Path) -> None:
    """Enlarged without smoothing."""
    image = Image.fromarray(picture)
    size = (image.width * ZOOM, image.height * ZOOM)
    image.resize(size, Image.Resampling.NEAREST).save(path)
    print(path)


@torch.no_grad()
def draw(world: World, temperature: float, folder: Path) -> None:
    """Write the three files."""
    truth = pixels(world.pictures[:SHOWN, 4])
    drawn = world.vae.decoder(world.vae.encoder(truth)[0])
    save(tiles(torch.stack([truth, drawn])), folder / "dream_seen.png")
    controller = Controller(LATENT, UNITS, 2, "zh", 0)
    vectors = torch.zeros(1, controller.parameters)
    found = dream(
        *(world.model, controller, world.codec, vectors, world.starts[:4]),
        *(STEPS, temperature, world.generator),
    )
    dreams = world.vae.decoder(found.senses.flatten(0, 1))
    dreams = dreams.reshape(4, -1, *dreams.shape[1:])
    save(tiles(dreams[:, :: dreams.shape[1] // SHOWN]), folder / "dream_strip.png")
    frames = [Image.fromarray(tiles(dreams[:1, t : t + 1])) for t in range(dreams.shape[1])]
    frames[0].save(folder / "dream.gif", save_all=True, append_images=frames[1:], duration=80)
    print("steps until the end was foretold:", found.steps.tolist())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--updates", type=int, default=1500, help="of V; M gets as many")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    world = World(given.seed)
    world.learn(given.updates, given.updates)
    draw(world, given.temperature, given.out)


if __name__ == "__main__":
    main()
