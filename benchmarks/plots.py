"""Learning curves: the mean over seeds, and the range between the worst and the best of them."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.machine import RESULTS

Curve = Sequence[tuple[float, float]]  # (steps, value), steps rising
POINTS = 200
WIDEST = 44  # letters of a line along the vertical axis


def learning_curve(
    name: str,
    agents: Mapping[str, Sequence[Curve]],
    *,
    title: str,
    x: str = "control steps",
    y: str = "return",
    levels: Mapping[str, float] | None = None,
    folder: Path = RESULTS,
) -> Path:
    """Draw folder/<name>.png and return its path.

    Args:
        name: of the file.
        agents: label -> one curve per seed. A line ends where the shortest of its curves ends.
        title: says robot and task.
        x: label of the horizontal axis.
        y: label of the vertical axis.
        levels: label -> value of dashed lines to compare with, such as a random policy's.
        folder: where to draw.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for index, (label, curves) in enumerate(agents.items()):
        steps, values = on_one_grid(curves)
        colour, seeds = f"C{index}", len(curves)
        text = f"{label}, {seeds} seed{'s' if seeds > 1 else ''}"
        axes.plot(steps, values.mean(0), color=colour, label=text)
        axes.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.2, lw=0)
    for label, value in (levels or {}).items():
        axes.axhline(value, color="grey", ls="--", lw=1)
        axes.annotate(label, (0.99, value), xycoords=("axes fraction", "data"), ha="right")
    axes.set(title=title, xlabel=x, ylabel=textwrap.fill(y, WIDEST))
    axes.legend(frameon=False)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    figure.savefig(path, dpi=120)
    return path


def on_one_grid(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """(P,) steps that all curves cover, and (S, P) values there, interpolated between points."""
    arrays = [np.asarray(curve, float) for curve in curves]
    first = max(array[0, 0] for array in arrays)
    last = min(array[-1, 0] for array in arrays)
    assert first <= last, f"the curves share no steps: {first} to {last}"
    steps = np.linspace(first, last, POINTS)
    return steps, np.stack([np.interp(steps, array[:, 0], array[:, 1]) for array in arrays])
