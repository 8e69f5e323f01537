"""How a run of the lockstep gets on, on stderr: a bar for a person, else a line now and then."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from robot_client.clock import Clock, SystemClock

_EVERY_S = 5.0  # between lines


class Standing(NamedTuple):
    """How far a run is. `recent` is the mean return of its last episodes, None before the first."""

    rows: int
    updates: int
    recent: float | None
    evaluated: int  # episodes


class Progress:
    """Shows what it is told, and where it is kept.

    Args:
        steps: of the whole run.
        episodes: played at its end to evaluate.
        out: where its files go; None: nothing is kept.
        console, clock: for tests.
    """

    def __init__(
        self,
        steps: int,
        episodes: int,
        out: Path | None,
        console: Console | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._steps, self._episodes, self._out = steps, episodes, out
        self._console = console or Console(file=sys.stderr, soft_wrap=True, highlight=False)
        self._clock = clock or SystemClock()
        self._last = Standing(0, 0, None, 0)
        self._said_at = self._clock.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        hidden = not self._console.is_terminal
        self._bar = Bar(*columns, console=self._console, transient=True, disable=hidden)
        self._task = self._bar.add_task("loading torch", total=steps)

    def __enter__(self) -> Self:
        kept = "nothing: give a folder with --out"
        where = kept if self._out is None else f"{self._out}/metrics.jsonl and {self._out}/replay"
        self._console.print(f"keeps {where}; the summary goes to stdout", markup=False)
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
        if error is None:
            self._console.print(self._text(), markup=False)

    def show(self, standing: Standing) -> None:
        """How far it is now; may be told as often as one likes."""
        self._last = standing
        text = self._text()
        self._bar.update(self._task, completed=standing.rows, description=text)
        now = self._clock.monotonic()
        if self._bar.disable and now - self._said_at >= _EVERY_S:
            self._said_at = now
            self._console.print(text, markup=False)

    def broken_off(self) -> None:
        """Ctrl-C: say what is left of it."""
        self._bar.stop()
        empty = self._out is None or not self._last.rows
        kept = "nothing is kept" if empty else f"what it learned from is in {self._out}"
        self._console.print(f"broken off: {self._text()}; {kept}", markup=False)

    def _text(self) -> str:
        rows, updates, recent, evaluated = self._last
        text = f"{rows} of {self._steps} rows, {updates} updates"
        if recent is not None:
            text += f", last returns {recent:.2f}"
        return text + (f", evaluated {evaluated} of {self._episodes}" if evaluated else "")
