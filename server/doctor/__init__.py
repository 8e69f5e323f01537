"""Whether a server would work here, or works: one file per subject, one row of the table each.

A check changes nothing: no file is made, no table migrated, no robot spoken to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from robot_client.errors import DreamfleetError
from robot_client.findings import Finding
from server.doctor import database, doors, files, learner, network, stores, versions
from server.settings import Settings

Check = Callable[[Settings], Iterator[Finding]]

CHECKS: dict[str, Check] = {
    "data directory": files.check,
    "database": database.check,
    "replay": stores.check,
    "ports": network.check,
    "access": doors.check,
    "certificate": doors.check_certificate,
    "learner": learner.check,
    "clock": versions.check_clock,
    "versions": versions.check,
}


def examine(settings: Settings) -> Iterator[Finding]:
    """What each check finds, as it is found. What a check itself runs into is a finding too."""
    for name, check in CHECKS.items():
        try:
            yield from check(settings)
        except (DreamfleetError, OSError) as error:
            yield Finding(name, "FAIL", str(error), f"mend the {name}, and run it again")
