"""How the claims stand, as a page of Markdown."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from benchmarks import machine
from benchmarks.claims.claim import mean
from benchmarks.claims.results import Runs

REPORT = machine.ROOT / "docs" / "claims.md"
_HEAD = """# What the papers claim, and what comes of it here

Written by `make claims` from `benchmarks/results/claims`. Each claim has runs of its own, small
enough for two cores, with controls: arms that lack what the claim says helps. A value is the mean
of its seeds, with the least and the most; behind it stand the processor's seconds of a run, where
they were measured. `python -m benchmarks.claims NAME` makes the runs that are missing.
"""


def page(claims: Mapping[str, Runs]) -> str:
    """A table of verdicts, then each claim with its figures."""
    rows = [f"| [{name}](#{name}) | {_short(runs)} |" for name, runs in claims.items()]
    table = ["| claim | verdict |", "|---|---|", *rows, ""]
    parts = [line for name, runs in claims.items() for line in section(name, runs)]
    return "\n".join([_HEAD, *table, *parts])


def section(name: str, runs: Runs) -> Iterator[str]:
    """What a source says of one claim, and what its runs came to."""
    claim = runs.claim
    yield f"## {name}"
    yield ""
    yield f"{claim.says} ({claim.source})"
    yield ""
    yield f"- theirs: {claim.figure}"
    yield f"- ours, {claim.value}:"
    for arm, values in runs.values().items():
        role = " (control)" if arm in claim.controls else ""
        spread = f"{_number(min(values))} to {_number(max(values))}, {_seeds(len(values))}"
        seconds = runs.seconds(arm)
        cost = f", {mean(seconds):.1f} s" if seconds else ""
        yield f"    - {arm}{role}: {_number(mean(values))} ({spread}){cost}"
    yield f"- verdict: {runs.verdict()}"
    if claim.omits:
        yield f"- not run: {claim.omits}"
    yield ""
    for picture in (runs.picture, *(machine.RESULTS / other for other in claim.pictures)):
        if picture.exists():
            yield f"![{name}]({os.path.relpath(picture, REPORT.parent)})"
            yield ""


def _short(runs: Runs) -> str:
    """The verdict without its reasons, and with the seeds that it rests on."""
    said, values = runs.verdict(), runs.values()
    if runs.claim.beyond and not values:
        return "not reproduced: not run"
    if said.startswith("not run"):
        return "partly run" if values else "not run"
    seeds = min(len(found) for found in values.values())
    less = "; some of it was not run" if runs.claim.omits else ""
    return f"{said.partition(':')[0].partition(',')[0]} ({_seeds(seeds)}){less}"


def _number(value: float) -> str:
    """To four digits, but none of a whole number's is left out."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count != 1)}"
