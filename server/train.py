"""`dreamfleet train --lockstep`: learn without a server, in one process that repeats itself.

    python -m server.train --agent dreamer --robot pointmass --steps 5000 --seed 0 --out runs/a

Prints a summary in JSON on stdout; says on stderr how it gets on. Torch is loaded when the
arguments are right.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from robot_client.arguments import json_object
from robot_client.errors import DreamfleetError, FieldError
from server.commands.exits import exit_code
from server.errors import Invalid, ServerError
from server.interruption import quietly

if TYPE_CHECKING:
    from server.progress import Progress

_WRONG = 2  # see server.commands.exits
_SEEDS = 2**32


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in a line; `--help` says the rest."""

    def error(self, message: str) -> NoReturn:
        self.exit(_WRONG, f"{self.prog}: {message}\n")


def main(arguments: list[str]) -> int:
    """The command line; see the module. Returns the exit code: see `server.commands.exits`."""
    parser = _parser()
    got = parser.parse_args(arguments)
    try:
        summary = _trained(got)
    except DreamfleetError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return _WRONG if isinstance(error, FieldError) else exit_code(error)
    print(json.dumps(summary, indent=1))
    return 0


def _parser() -> argparse.ArgumentParser:
    about = "Let simulated robots and one agent act and learn by turns. The summary is JSON."
    parser = _Parser(prog="dreamfleet train --lockstep", description=about)
    add = parser.add_argument
    add("--agent", default="dreamer", help="its registered name (default: %(default)s)")
    spec = "name, gym:ID or module:Class, its options as JSON after a space; may be repeated"
    add("--robot", "--env", action="append", help=f"{spec} (default: pointmass)")
    of_all = "of all robots (default: %(default)s)"
    add("--steps", type=_whole(1), default=4000, help=of_all)
    add("--seed", type=_whole(0, _SEEDS), default=0, help="of everything (default: %(default)s)")
    add("--preset", help="of the agent's settings (default: laptop if there is one)")
    add("--config", type=json_object, default={}, help="further settings of it, as a JSON object")
    add("--options", type=json_object, default={}, help="of each robot, as a JSON object")
    replayed = "replayed rows per row (default: %(default)s)"
    add("--train-ratio", type=_positive, default=96.0, help=replayed)
    before = "rows before the first update (default: %(default)s)"
    add("--min-rows", type=_whole(1), default=300, help=before)
    at_end = "played at the end without exploring (default: %(default)s)"
    add("--eval-episodes", type=_whole(0), default=10, help=at_end)
    add("--act", choices=["actor", "planner"], help="how to act (default: the agent's choice)")
    add("--plan", type=json_object, default={}, help="settings of the planner, as a JSON object")
    add("--device", default="auto", help="cpu, cuda, cuda:1 ... (default: %(default)s)")
    add("--threads", type=_whole(1, 257), default=1, help="of torch (default: %(default)s)")
    kept = "new folder for metrics.jsonl and the replay (default: a temporary one)"
    add("--out", type=Path, help=kept)
    add("--json", action="store_true", help="the summary is JSON with and without it")
    return parser


def _trained(got: argparse.Namespace) -> dict[str, Any]:
    """The summary. Raises DreamfleetError."""
    from server.progress import Progress

    with Progress(got.steps, got.eval_episodes, got.out) as progress:
        try:
            return _run(got, progress)
        except KeyboardInterrupt:
            progress.broken_off()
            raise
        except OSError as error:
            if got.out is None or error.filename is None:
                raise
            detail = f"{error.filename} ({error.strerror})"
            raise ServerError(f"--out: expected a folder to write, got {detail}") from error


def _run(got: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from robot_client.act import Act
    from server.lockstep import preset, run

    return run(
        got.agent,
        robots=got.robot or ["pointmass"],
        steps=got.steps,
        seed=got.seed,
        config=_checked(got.agent, preset(got.agent, got.preset) | got.config),
        options=got.options,
        directory=got.out,
        eval_episodes=got.eval_episodes,
        act=Act(got.act, got.plan),
        watch=progress.show,
        train_ratio=got.train_ratio,
        min_rows=got.min_rows,
        device=got.device,
        threads=got.threads,
        max_debt=1_000_000,
    )


def _checked(agent: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The agent's settings. Raises Invalid on the first that is wrong."""
    from server.catalog import validate

    for problem in validate(agent, None, dict(config))["problems"]:
        raise Invalid(problem["field"], problem["expected"], problem["got"])
    return dict(config)


def _whole(least: int, end: int | None = None) -> Callable[[str], int]:
    """A whole number that is not below `least` and below `end`."""

    def number(text: str) -> int:
        expected = f"expected a whole number, {least} or more"
        expected += "" if end is None else f" and below {end}"
        if not text.removeprefix("-").isdecimal() or not least <= int(text) < (end or math.inf):
            raise argparse.ArgumentTypeError(f"{expected}, got {text}")
        return int(text)

    return number


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value


if __name__ == "__main__":
    with quietly():
        sys.exit(main(sys.argv[1:]))
