"""The exit codes of `dreamfleet`, all in one place, so that scripts can tell what went wrong.

0    fine
1    refused, failed, or something that was checked is not whole
2    the command line is wrong: an unknown option, or a value that cannot be
3    no server answers at the address
4    the token is missing, wrong, revoked, or a viewer's where an operator's is needed
5    there is no such experiment, robot, policy, episode, dataset, job, ...
130  broken off by Ctrl-C
"""

from __future__ import annotations

from typing import Final

from robot_client.errors import DreamfleetError
from server.errors import Forbidden, NotFound, TooManyAttempts, Unauthorized, Unreachable

FAILED: Final = 1
UNREACHABLE: Final = 3
NOT_ALLOWED: Final = 4
NOT_FOUND: Final = 5

_CODES: Final[tuple[tuple[type[DreamfleetError], int], ...]] = (
    (Unreachable, UNREACHABLE),
    (Unauthorized, NOT_ALLOWED),
    (Forbidden, NOT_ALLOWED),
    (TooManyAttempts, NOT_ALLOWED),
    (NotFound, NOT_FOUND),
)


def exit_code(error: DreamfleetError) -> int:
    """What a command ends with that has raised this."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
