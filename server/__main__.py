"""The command `dreamfleet`, before anything of it is loaded: Ctrl-C may come that early."""

from __future__ import annotations

from server.interruption import quietly


def main() -> None:
    """Load the command line, and run it."""
    with quietly():
        from server.cli import main as run

        run()


if __name__ == "__main__":
    main()
