"""Runs of claims as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import machine, plots
from benchmarks.claims.claim import Claim, Outcome, Values

FOLDER = machine.RESULTS / "claims"

Run = dict[str, Any]  # arm, seed, settings, value, curve, more


class Runs:
    """The runs of one claim that are known; those of other settings than today's do not count.

    Args:
        name, claim: as in the table.
        folder: where the files are.
    """

    def __init__(self, name: str, claim: Claim, folder: Path = FOLDER) -> None:
        self._name, self.claim, self._folder = name, claim, folder
        path = folder / f"{name}.json"
        known: list[Run] = json.loads(path.read_text())["runs"] if path.exists() else []
        today = {arm: _plain(claim.arms[arm].settings) for arm in claim.arms}
        self.runs = [run for run in known if run["settings"] == today.get(run["arm"])]

    def has(self, arm: str, seed: int) -> bool:
        """Whether this run is known."""
        return any((run["arm"], run["seed"]) == (arm, seed) for run in self.runs)

    def add(self, arm: str, seed: int, outcome: Outcome) -> None:
        """Keep a run, in place of one of the same arm and seed, and draw all."""
        others = [run for run in self.runs if (run["arm"], run["seed"]) != (arm, seed)]
        settings = _plain(self.claim.arms[arm].settings)
        new = {"arm": arm, "seed": seed, "value": outcome.value, "settings": settings}
        new |= {"curve": outcome.curve, "more": dict(outcome.more)}
        self.runs = sorted([*others, new], key=lambda run: (run["arm"], run["seed"]))
        rows = [{k: run[k] for k in ("arm", "seed", "value")} | run["more"] for run in self.runs]
        payload = {"says": self.claim.says, "verdict": self.verdict(), "rows": rows}
        machine.write(self._name, {**payload, "runs": self.runs}, folder=self._folder)
        self._draw()

    def values(self) -> Values:
        """By arm, in the order of the claim's; arms without runs are missing."""
        found = {arm: [r["value"] for r in self.runs if r["arm"] == arm] for arm in self.claim.arms}
        return {arm: values for arm, values in found.items() if values}

    def seconds(self, arm: str) -> list[float]:
        """Of a processor, for each run of an arm that says."""
        known = [run["more"].get("cpu_seconds") for run in self.runs if run["arm"] == arm]
        return [found for found in known if found is not None]

    def verdict(self) -> str:
        """In words; says what has not been run."""
        values = self.values()
        missing = [arm for arm in self.claim.arms if arm not in values]
        if missing and self.claim.beyond:
            return f"not reproduced, because it was not run: {self.claim.beyond}"
        if missing:
            return f"not run: {', '.join(missing)}"
        seeds = min(len(found) for found in values.values())
        wanted = len(self.claim.seeds)
        short = f" ({seeds} of {wanted} seeds)" if seeds < wanted else ""
        return f"{self.claim.judge(values)}{short}"

    @property
    def picture(self) -> Path:
        """Of the curves; not there before a run that has one."""
        return self._folder / f"{self._name}.png"

    def _draw(self) -> None:
        arms = {a: [r["curve"] for r in self.runs if r["arm"] == a] for a in self.claim.arms}
        drawn = {a: [c for c in curves if c] for a, curves in arms.items()}
        drawn = {arm: curves for arm, curves in drawn.items() if curves}
        if drawn:
            x, shown = self.claim.axes
            y = shown or self.claim.value
            plots.learning_curve(self._name, drawn, title=self._name, x=x, y=y, folder=self._folder)


def _plain(settings: dict[str, Any]) -> Any:
    """As it comes back from a file."""
    return json.loads(json.dumps(settings))
