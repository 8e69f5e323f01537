"""The database: does it answer, is it whole, and are its tables those of this program?"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.engine import make_url

from robot_client.findings import Finding
from server.settings import Settings
from server.storage.inspection import Inspection, inspect

_NAME = "database"


def check(settings: Settings) -> Iterator[Finding]:
    """Migrations and integrity. Raises ServerError when it does not answer."""
    if settings.database is None and not (settings.data / "dreamfleet.sqlite").exists():
        yield Finding(_NAME, "OK", "none yet; the first start makes it")
        return
    found = inspect(settings.database_url)
    where = make_url(settings.database_url).render_as_string(hide_password=True)
    yield _tables(found, where)
    if found.problems:
        text = f"{where}: damaged: {'; '.join(found.problems)}"
        yield Finding(_NAME, "FAIL", text, "put a backup of the data directory in its place")
    else:
        yield Finding(_NAME, "OK", f"{where}: whole")


def _tables(found: Inspection, where: str) -> Finding:
    text = f"{where}: tables of version {found.current}, newest {found.head}"
    if not found.known:
        advice = "a newer dreamfleet has written it: update this one"
        return Finding(_NAME, "FAIL", text, advice)
    if found.current != found.head:
        advice = "copy the data directory if you want the old version back; the next start migrates"
        return Finding(_NAME, "WARN", text, advice)
    return Finding(_NAME, "OK", text)
