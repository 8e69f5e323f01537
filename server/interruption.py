"""Ctrl-C as an exit code. Loads nothing: it stands before what takes long to load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

INTERRUPTED: Final = 130


@contextmanager
def quietly() -> Iterator[None]:
    """End with 130 and no traceback when Ctrl-C breaks the block off."""
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
