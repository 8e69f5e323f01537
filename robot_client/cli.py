"""`dreamfleet-robot`: the way in. All else is loaded within `main`, where Ctrl-C is heeded."""

from __future__ import annotations

import os
import sys

_BROKEN_OFF = 130  # 128 and the number of SIGINT, as a shell has it


def main(argv: list[str] | None = None) -> int:
    """Run a command; its exit status: 0, 1 for an error of ours or when what it looked at is not as
    it should be, 2 for a wrong argument.

    130 when it was broken off, be it while it starts.
    """
    parent = os.getppid()
    try:
        from robot_client.command_line import run_command

        return run_command(argv, parent)
    except KeyboardInterrupt:
        return _BROKEN_OFF
    except ImportError as error:
        if _was_broken_off(error):
            return _BROKEN_OFF
        raise


def _was_broken_off(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind this: libraries in C take it for a fault of theirs."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


if __name__ == "__main__":
    sys.exit(main())
