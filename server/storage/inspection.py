"""What state a database is in, without changing it."""

from __future__ import annotations

from dataclasses import dataclass

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from server.errors import ServerError
from server.storage.storage import migrations


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Args:
        current: version of the tables; None when there are none yet.
        head: the newest version that this program knows.
        known: whether this program knows `current`.
        problems: what the database says is damaged.
    """

    current: str | None
    head: str | None
    known: bool
    problems: tuple[str, ...]


def inspect(url: str) -> Inspection:
    """Look at the database. An SQLite file is opened for reading only.

    Raises ServerError when it does not answer.
    """
    engine = create_engine(_readonly(url))
    try:
        with engine.connect() as connection:
            return _inspected(connection)
    except SQLAlchemyError as error:
        raise ServerError(f"the database does not answer: {error}".splitlines()[0]) from error
    finally:
        engine.dispose()


def _inspected(connection: Connection) -> Inspection:
    current = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(migrations())
    known = {script.revision for script in scripts.walk_revisions()}
    problems: tuple[str, ...] = ()
    if connection.dialect.name == "sqlite":
        rows = connection.execute(text("PRAGMA quick_check(20)")).scalars()
        problems = tuple(row for row in rows if row != "ok")
    return Inspection(current, scripts.get_current_head(), current in {*known, None}, problems)


def _readonly(url: str) -> str:
    """SQLite would make a file that is not there."""
    parts = make_url(url)
    if parts.get_backend_name() != "sqlite" or not parts.database:
        return url
    return f"sqlite:///file:{parts.database}?mode=ro&uri=true"
