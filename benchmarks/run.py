"""Run all benchmarks with `make bench`, or some of them with `make bench ARGS="robots"`.

Each prints its table and leaves benchmarks/results/<name>.json.
"""

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module

from benchmarks.machine import Payload, table, write

BENCHMARKS: dict[str, str] = {
    "client_install": "benchmarks.client_install",
    "robots": "benchmarks.robots",
}


def run(name: str) -> None:
    """Measure, print and keep one benchmark."""
    measure: Callable[[], Payload] = import_module(BENCHMARKS[name]).measure
    print(f"\n{name}", flush=True)
    payload = measure()
    print(table(payload["rows"]), flush=True)
    print(write(name, payload))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(BENCHMARKS))
    names = parser.parse_args(arguments).names or list(BENCHMARKS)
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    for name in names:
        run(name)


if __name__ == "__main__":
    main()
