"""Runs that another benchmark has made and kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks import machine
from benchmarks.claims.claim import Outcome


@dataclass(frozen=True)
class Kept:
    """A row of a benchmark's results.

    Args:
        file: in `benchmarks/results`, without its ending.
        value: the field of the row that counts.
        where: what else the row says, besides the seed, which it or its file tells where a result
            has one.
        table: the file's list that the row is in.
    """

    file: str
    value: str
    where: Mapping[str, Any]
    table: str = "rows"

    @property
    def settings(self) -> dict[str, Any]:
        """Where it is, and which commit the run was of."""
        about = {"file": self.file, "value": self.value, "where": dict(self.where)}
        about |= {"table": self.table} if self.table != "rows" else {}
        return {"kind": "kept", **about, "commit": self._read()["machine"]["commit"]}

    def run(self, seed: int) -> Outcome:
        """Look it up. Raises LookupError where the benchmark has no such row."""
        kept = self._read()
        of = seed if kept["seed"] is None else kept["seed"]  # a speed has no seed
        asked = {**self.where, "seed": seed}
        for row in kept[self.table]:
            if asked.items() <= ({"seed": of} | row).items():
                more = {"file": self.file, **{k: row[k] for k in ("cpu_seconds",) if k in row}}
                return Outcome(float(row[self.value]), more=more)
        raise LookupError(f"{self.file}.json has no row with {asked}")

    def _read(self) -> dict[str, Any]:
        path = machine.RESULTS / f"{self.file}.json"
        found: dict[str, Any] = json.loads(path.read_text())
        return found


def learned(agent: str, task: str = "pendulum", robot: str = "gym:Pendulum-v1") -> Kept:
    """What an evaluation came to after a run of `benchmarks.learning`."""
    file = f"learning_{task}_{agent.replace('-', '_')}"
    return Kept(file, "evaluation_mean", {"robot": robot})


def claimed(claim: str, arm: str) -> Kept:
    """What the runs of an arm of another claim came to."""
    return Kept(f"claims/{claim}", "value", {"arm": arm})
