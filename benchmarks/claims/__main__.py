"""Run claims, or say how they stand.

python -m benchmarks.claims [NAME ...] [--arms ARM ...] [--seeds 0 1 2] [--again]
python -m benchmarks.claims --report [NAME ...]

Every run is kept in benchmarks/results/claims/<name>.json as soon as it is made, with a picture
beside it; runs that are there, of the same settings, are not made again. The report of all claims
is also written to docs/claims.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmarks.claims.report import REPORT, page
from benchmarks.claims.results import Runs
from benchmarks.claims.table import CLAIMS, claim


def run(name: str, arms: Sequence[str], seeds: Sequence[int], again: bool = False) -> None:
    """Make the runs of a claim that are not known yet, seed by seed."""
    about = claim(name)
    runs = Runs(name, about)
    for seed in seeds or about.seeds:
        for arm in about.arms:
            if (arms and arm not in arms) or (runs.has(arm, seed) and not again):
                continue
            outcome = about.arms[arm].run(seed)
            runs.add(arm, seed, outcome)
            print(f"{name} {arm} seed {seed}: {outcome.value:.4g} {dict(outcome.more)}", flush=True)
    print(f"{name}: {runs.verdict()}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.claims", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"{', '.join(CLAIMS)}; none: all")
    parser.add_argument("--report", action="store_true", help="run nothing; say how claims stand")
    parser.add_argument("--arms", nargs="+", default=[], help="only these")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], help="none: the claim's own")
    parser.add_argument("--again", action="store_true", help="also what has been run before")
    given = parser.parse_args(arguments)
    names = given.names or sorted(CLAIMS)
    unknown = sorted(set(names) - set(CLAIMS))
    if unknown:
        parser.error(f"no claim {unknown[0]!r}; there are: {', '.join(sorted(CLAIMS))}")
    if given.report:
        text = page({name: Runs(name, claim(name)) for name in names})
        print(text)
        if not given.names:
            REPORT.write_text(text)
        return
    for name in names:
        run(name, given.arms, given.seeds, given.again)


if __name__ == "__main__":
    main()
