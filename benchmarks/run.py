"""Run all benchmarks with `make bench`, or some of them with `make bench ARGS="robots"`.

Each prints its tables and leaves benchmarks/results/<name>.json. All together take about half
an hour on two cores; --quick takes one or two, says little, and keeps nothing.
"""

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module

from benchmarks.machine import Payload, table, write

BENCHMARKS: dict[str, str] = {
    "robots": "benchmarks.robots",
    "acting": "benchmarks.acting",
    "planning": "benchmarks.planning",
    "learner": "benchmarks.learner",
    "generations": "benchmarks.generations",
    "ingest": "benchmarks.ingest",
    "spool": "benchmarks.spool",
    "swap": "benchmarks.swap",
    "dashboard": "benchmarks.dashboard",
    "service_load": "benchmarks.service_load",
    "client_install": "benchmarks.client_install",
}


def run(name: str, quick: bool = False) -> Payload:
    """Measure and print one benchmark; keep it unless `quick`."""
    measure: Callable[[bool], Payload] = import_module(BENCHMARKS[name]).measure
    print(f"\n{name}", flush=True)
    payload = measure(quick)
    for title, rows in payload.items():
        if isinstance(rows, list):
            print(table(rows) if title == "rows" else f"\n{title}\n{table(rows)}", flush=True)
    if not quick:
        print(write(name, payload))
    return payload


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="little of each, and keep nothing")
    given = parser.parse_args(arguments)
    names = given.names or list(BENCHMARKS)
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    for name in names:
        run(name, given.quick)


if __name__ == "__main__":
    main()
