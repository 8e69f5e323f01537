"""Reads and writes the tables. Blocking: call it from a thread, never from the event loop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event, func, select
from sqlalchemy.orm import Session

from server.storage.models import (
    Audit,
    Base,
    Episode,
    Event,
    Experiment,
    Metric,
    Policy,
    Report,
    Robot,
)

Row = TypeVar("Row", bound=Base)


class Storage:
    """The database behind the server. Thread-safe.

    Args:
        url: SQLAlchemy URL. SQLite is put into write-ahead mode.
    """

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _tune_sqlite)

    def migrate(self) -> None:
        """Bring the tables to the newest version."""
        upgrade(self._engine, "head")

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def save(self, rows: Iterable[Base]) -> None:
        """Insert each row, or replace the one of the same primary key, in one transaction."""
        with Session(self._engine) as session, session.begin():
            for row in rows:
                session.merge(row)

    def experiments(self) -> list[Experiment]:
        """Every experiment, oldest first."""
        return self._all(Experiment, Experiment.created_at)

    def robots(self) -> list[Robot]:
        """Every robot that ever said hello, by name."""
        return self._all(Robot, Robot.name)

    def episodes(self, experiment: str, since: float = 0.0) -> list[Episode]:
        """Episodes that ended after `since`, oldest first."""
        query = select(Episode).where(Episode.experiment == experiment, Episode.ended_at > since)
        with self._reading() as session:
            return list(session.scalars(query.order_by(Episode.ended_at, Episode.episode)))

    def metric_names(self, experiment: str) -> list[str]:
        """The names of every metric that the experiment's learner has reported."""
        query = select(Metric.name).where(Metric.experiment == experiment).distinct()
        with self._reading() as session:
            return sorted(session.scalars(query))

    def metrics(self, experiment: str, name: str, since: float = 0.0) -> list[Metric]:
        """One metric's values after `since`, oldest first."""
        query = select(Metric).where(
            Metric.experiment == experiment, Metric.name == name, Metric.time > since
        )
        with self._reading() as session:
            return list(session.scalars(query.order_by(Metric.time, Metric.id)))

    def latest_metrics(self, experiment: str) -> dict[str, float]:
        """The newest value of every metric."""
        newest = (
            select(func.max(Metric.id)).where(Metric.experiment == experiment).group_by(Metric.name)
        )
        with self._reading() as session:
            found = session.scalars(select(Metric).where(Metric.id.in_(newest)))
            return {metric.name: metric.value for metric in found}

    def latest_policy(self, experiment: str) -> Policy | None:
        """The policy of the highest version."""
        query = select(Policy).where(Policy.experiment == experiment)
        with self._reading() as session:
            return session.scalars(query.order_by(Policy.version.desc()).limit(1)).first()

    def count_policies(self, experiment: str) -> int:
        """How many policies have been published."""
        query = select(func.count()).where(Policy.experiment == experiment)
        with self._reading() as session:
            return session.scalar(query) or 0

    def latest_report(self, experiment: str) -> Report | None:
        """The newest picture."""
        query = select(Report).where(Report.experiment == experiment)
        with self._reading() as session:
            return session.scalars(query.order_by(Report.id.desc()).limit(1)).first()

    def events(self, experiment: str, limit: int = 50) -> list[Event]:
        """The newest events, newest first."""
        query = select(Event).where(Event.experiment == experiment)
        with self._reading() as session:
            return list(session.scalars(query.order_by(Event.id.desc()).limit(limit)))

    def audit(self, before: int | None = None, limit: int = 100) -> list[Audit]:
        """What was done, newest first; `before` is the id of the oldest that is known already."""
        query = select(Audit).order_by(Audit.id.desc()).limit(limit)
        if before is not None:
            query = query.where(Audit.id < before)
        with self._reading() as session:
            return list(session.scalars(query))

    def _reading(self) -> Session:
        return Session(self._engine, expire_on_commit=False)

    def _all(self, table: type[Row], order: Any) -> list[Row]:
        with self._reading() as session:
            return list(session.scalars(select(table).order_by(order)))


def upgrade(engine: Engine, revision: str) -> None:
    """Run the migrations up to `revision`."""
    config = Config()
    config.set_main_option("script_location", "server.storage:migrations")
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def _tune_sqlite(connection: Any, _record: Any) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "busy_timeout=30000",
    ):
        connection.execute(f"PRAGMA {pragma}")
