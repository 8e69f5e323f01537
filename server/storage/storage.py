"""Reads and writes the tables. Blocking: call it from a thread, never from the event loop."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    delete,
    event,
    func,
    make_url,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import (
    ArgumentError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from robot_client.clock import Clock, SystemClock
from server.errors import SettingsError
from server.storage import queries
from server.storage.models import (
    Audit,
    Base,
    Course,
    Episode,
    Evaluation,
    Event,
    Experiment,
    Mark,
    Metric,
    Pin,
    Policy,
    Report,
    Robot,
)
from server.storage.queries import Bucket, EpisodeFilter, EpisodeKey, VersionReturns

log = logging.getLogger(__name__)

AWAY = (OperationalError, InterfaceError, PoolTimeout)  # what to try again, with the same rows
START_S = 60.0  # for a database that is started together with the server
_CONNECT_S = 5
_MIGRATING = 0x647265616D  # an advisory lock: two processes may begin at once
Row = TypeVar("Row", bound=Base)


class Storage:
    """The database behind the server. Thread-safe.

    Whatever reads or writes raises one of `AWAY` while the database does not answer, and works
    again once it does.

    Args:
        url: SQLAlchemy URL. SQLite is put into write-ahead mode.
        clock: to wait for a database that is still starting.

    Raises SettingsError when this is no URL, or its driver is not installed.
    """

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self._engine = _engine(url)
        self._clock = clock or SystemClock()

    def migrate(self, patience_s: float = START_S) -> None:
        """Bring the tables to the newest version.

        Waits for a server of databases that does not answer yet. Raises SettingsError when it
        does not within `patience_s` seconds, or when this cannot be done.
        """
        end = self._clock.monotonic() + patience_s
        while True:
            try:
                upgrade(self._engine, "head")
                return
            except SQLAlchemyError as error:
                now = self._clock.monotonic()
                if now >= end or not (self._is_remote and isinstance(error, AWAY)):
                    raise SettingsError(f"database {self._engine.url}: {error}") from error
                log.warning("waiting for %s: %s", self._engine.url, error.args[0])
                self._clock.sleep_until(now + 1.0)

    @property
    def _is_remote(self) -> bool:
        return self._engine.dialect.name != "sqlite"

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

    def policy(self, experiment: str, version: int) -> Policy | None:
        """One version of the policy."""
        with self._reading() as session:
            return session.get(Policy, (experiment, version))

    def policies(self, experiment: str, offset: int, limit: int) -> list[Policy]:
        """A page of the versions, newest first."""
        query = select(Policy).where(Policy.experiment == experiment)
        with self._reading() as session:
            page = query.order_by(Policy.version.desc()).offset(offset).limit(limit)
            return list(session.scalars(page))

    def policies_before(self, experiment: str, version: int, most: int = 100) -> list[Policy]:
        """The versions before this one, newest first."""
        query = select(Policy).where(Policy.experiment == experiment, Policy.version < version)
        with self._reading() as session:
            return list(session.scalars(query.order_by(Policy.version.desc()).limit(most)))

    def pins(self) -> list[Pin]:
        """Every pin of every experiment."""
        return self._all(Pin, Pin.experiment)

    def version_returns(
        self, experiment: str, evaluations: bool = False
    ) -> dict[int, VersionReturns]:
        """Returns of the episodes that count, by the version with which they ended."""
        with self._reading() as session:
            return queries.version_returns(session, experiment, evaluations)

    def episodes_of_version(self, experiment: str, version: int, most: int = 200) -> list[Episode]:
        """The newest episodes that this version began and ended to learn."""
        with self._reading() as session:
            return queries.episodes_of_version(session, experiment, version, most)

    def evaluation_returns(self, evaluation: int) -> list[Episode]:
        """The episodes that count for an evaluation, oldest first."""
        with self._reading() as session:
            return queries.evaluation_returns(session, evaluation)

    def evaluations(self) -> list[Evaluation]:
        """Every evaluation, oldest first."""
        return self._all(Evaluation, Evaluation.id)

    def courses(self) -> list[Course]:
        """Where every roll-out stands."""
        return self._all(Course, Course.experiment)

    def episode_page(
        self,
        experiment: str,
        wanted: EpisodeFilter,
        offset: int,
        limit: int,
        newest: bool = False,
    ) -> tuple[list[tuple[Episode, Mark | None]], int]:
        """A page of the episodes in order of their ends, with what was said of them, and the
        number of all that are wanted."""
        with self._reading() as session:
            return queries.episode_page(session, experiment, wanted, offset, limit, newest)

    def episode(self, experiment: str, key: EpisodeKey) -> Episode | None:
        """One finished episode."""
        with self._reading() as session:
            return session.get(Episode, (experiment, *key))

    def mark(self, experiment: str, key: EpisodeKey) -> Mark | None:
        """What was said of an episode."""
        with self._reading() as session:
            return session.get(Mark, (experiment, *key))

    def metric_buckets(
        self, experiment: str, name: str, since: float, until: float, most: int
    ) -> list[Bucket]:
        """A metric in at most `most` buckets of equal length of time, empty ones left out."""
        with self._reading() as session:
            return queries.metric_buckets(session, experiment, name, since, until, most)

    def human_buckets(
        self, experiment: str, share: bool, since: float, until: float, most: int
    ) -> list[Bucket]:
        """How much of each episode a person did; see `queries.human_buckets`."""
        with self._reading() as session:
            return queries.human_buckets(session, experiment, share, since, until, most)

    def return_buckets(
        self, experiment: str, since: float, until: float, most: int, evaluations: bool = False
    ) -> list[Bucket]:
        """The returns of episodes; `updates` is the version with which they ended."""
        with self._reading() as session:
            return queries.return_buckets(session, experiment, since, until, most, evaluations)

    def every_metric(
        self, experiment: str, names: list[str], pause: int = 1000
    ) -> Iterator[Metric]:
        """All values of these metrics, or of all when none is named, oldest first, read `pause` at
        a time."""
        after = 0
        while True:
            query = select(Metric).where(Metric.experiment == experiment, Metric.id > after)
            if names:
                query = query.where(Metric.name.in_(names))
            with self._reading() as session:
                found = list(session.scalars(query.order_by(Metric.id).limit(pause)))
            yield from found
            if len(found) < pause:
                return
            after = found[-1].id

    def remove(self, experiment: str) -> None:
        """Remove an experiment and all that belongs to it, in one transaction. Idempotent."""
        with Session(self._engine) as session, session.begin():
            for table in (Pin, Course, Evaluation, Mark, Policy, Metric, Episode, Report, Event):
                session.execute(delete(table).where(table.experiment == experiment))
            for column in ("experiment", "assigned"):
                session.execute(
                    update(Robot).where(getattr(Robot, column) == experiment).values({column: None})
                )
            session.execute(delete(Experiment).where(Experiment.id == experiment))

    def remove_robot(self, name: str) -> None:
        """Remove a robot; episodes and events go on naming it. Idempotent."""
        with Session(self._engine) as session, session.begin():
            session.execute(delete(Robot).where(Robot.name == name))

    def ping(self) -> None:
        """Raise one of `AWAY` when the database does not answer."""
        with self._engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def latest_report(self, experiment: str, name: str | None = None) -> Report | None:
        """The newest picture, or the newest of a name."""
        query = select(Report).where(Report.experiment == experiment)
        if name is not None:
            query = query.where(Report.name == name)
        with self._reading() as session:
            return session.scalars(query.order_by(Report.id.desc()).limit(1)).first()

    def report_names(self, experiment: str) -> list[str]:
        """What its learner has drawn pictures of."""
        query = select(Report.name).where(Report.experiment == experiment).distinct()
        with self._reading() as session:
            return sorted(session.scalars(query))

    def events(
        self,
        experiment: str | None = None,
        robot: str | None = None,
        kind: str | None = None,
        offset: int = 0,
        limit: int = 50,
    ) -> tuple[list[Event], int]:
        """A page of the events that no argument excludes, newest first, and how many there are."""
        wanted = ((Event.experiment, experiment), (Event.robot, robot), (Event.kind, kind))
        conditions = [column == value for column, value in wanted if value is not None]
        page = select(Event).where(*conditions).order_by(Event.id.desc())
        count = select(func.count()).select_from(Event).where(*conditions)
        with self._reading() as session:
            found = list(session.scalars(page.offset(offset).limit(limit)))
            return found, session.scalar(count) or 0

    def events_since(self, since: float, experiment: str | None, most: int) -> list[Event]:
        """The newest events after a time, oldest first; with `experiment`, those of it or none."""
        query = select(Event).where(Event.time > since).order_by(Event.id.desc()).limit(most)
        if experiment is not None:
            query = query.where(or_(Event.experiment == experiment, Event.experiment.is_(None)))
        with self._reading() as session:
            return list(session.scalars(query))[::-1]

    def audit(self, offset: int = 0, limit: int = 100) -> tuple[list[Audit], int]:
        """A page of what was done, newest first, and how many lines there are."""
        page = select(Audit).order_by(Audit.id.desc()).offset(offset).limit(limit)
        with self._reading() as session:
            found = list(session.scalars(page))
            return found, session.scalar(select(func.count()).select_from(Audit)) or 0

    def _reading(self) -> Session:
        return Session(self._engine, expire_on_commit=False)

    def _all(self, table: type[Row], order: Any) -> list[Row]:
        with self._reading() as session:
            return list(session.scalars(select(table).order_by(order)))


def migrations() -> Config:
    """Where Alembic finds the migrations."""
    config = Config()
    config.set_main_option("script_location", "server.storage:migrations")
    config.set_main_option("path_separator", "os")
    return config


def upgrade(engine: Engine, revision: str) -> None:
    """Run the migrations up to `revision`."""
    config = migrations()
    with engine.begin() as connection:
        _have_to_oneself(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def _engine(url: str) -> Engine:
    try:
        remote = make_url(url).get_backend_name() == "postgresql"
        # Asking first costs a round trip, and finds a connection that died while it was unused.
        options = {"pool_pre_ping": True, "connect_args": {"connect_timeout": _CONNECT_S}}
        engine = create_engine(url, **(options if remote else {}))
    except (ArgumentError, NoSuchModuleError) as error:
        raise SettingsError(f"--database: {error}") from error
    except ModuleNotFoundError as error:
        known = "; run: pip install 'dreamfleet[postgres]'" if error.name == "psycopg" else ""
        raise SettingsError(f"--database: no module {error.name}{known}") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _tune_sqlite)
    return engine


def _have_to_oneself(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATING})


def _tune_sqlite(connection: Any, _record: Any) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "busy_timeout=30000",
    ):
        connection.execute(f"PRAGMA {pragma}")
