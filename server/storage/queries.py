"""Questions to the tables that take more than a line: pages, buckets over time, returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Float, Integer, Select, and_, case, cast, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from server.storage.models import Episode, Mark, Metric


class EpisodeKey(NamedTuple):
    """What names an episode within its experiment."""

    robot: str
    epoch: str
    episode: int


class Bucket(NamedTuple):
    """Some neighbouring values of a series: `time`, `rows` and `updates` are those of the last."""

    time: float
    rows: int
    updates: int
    mean: float
    low: float
    high: float
    values: int


class VersionReturns(NamedTuple):
    """The episodes that ended with a version of the policy.

    `squares` is the sum of their returns' squared differences from the mean.
    """

    episodes: int
    mean: float
    low: float
    high: float
    squares: float


@dataclass(frozen=True)
class EpisodeFilter:
    """Which episodes: all that no field excludes. Times and returns are inclusive bounds, but for
    `since`: episodes that ended after it."""

    robot: str | None = None
    task: str | None = None
    source: str | None = None
    outcome: str | None = None
    since: float | None = None
    until: float | None = None
    min_return: float | None = None
    max_return: float | None = None
    discarded: bool | None = None
    evaluation: bool | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """As SQL, on episodes joined with their marks."""
        equal = (
            (Episode.robot, self.robot),
            (Episode.task, self.task),
            (Episode.source, self.source),
            (Mark.outcome, self.outcome),
        )
        found = [column == value for column, value in equal if value is not None]
        bounds = (
            (self.since, lambda v: Episode.ended_at > v),
            (self.until, lambda v: Episode.ended_at <= v),
            (self.min_return, lambda v: Episode.total_reward >= v),
            (self.max_return, lambda v: Episode.total_reward <= v),
            (self.discarded, lambda v: Mark.discarded.is_(True) if v else _KEPT),
            (self.evaluation, lambda v: ~TRAINING if v else TRAINING),
        )
        return found + [condition(value) for value, condition in bounds if value is not None]


_KEPT: ColumnElement[bool] = or_(Mark.discarded.is_(None), Mark.discarded.is_(False))
TRAINING: ColumnElement[bool] = Episode.evaluation.is_(None)
_LEARNED: ColumnElement[bool] = and_(  # its own doing, to a proper end
    TRAINING, Episode.human_steps == 0, Episode.aborted.is_(False)
)


class _Kind(NamedTuple):
    """Columns of a series; `rows_of_bucket` makes one number of the rows of a bucket's values."""

    time: InstrumentedAttribute[float]
    rows: ColumnElement[int]
    updates: InstrumentedAttribute[int]
    value: ColumnElement[Any] | InstrumentedAttribute[float]
    rows_of_bucket: Callable[[ColumnElement[Any]], ColumnElement[Any]]


_STEPS = Episode.steps + 1  # nothing is done after the last row
_METRIC = _Kind(Metric.time, Metric.rows.expression, Metric.updates, Metric.value, func.max)
_EPISODE = _Kind(Episode.ended_at, _STEPS, Episode.policy_last, Episode.total_reward, func.sum)
_MARKED = and_(
    Mark.experiment == Episode.experiment,
    Mark.robot == Episode.robot,
    Mark.epoch == Episode.epoch,
    Mark.episode == Episode.episode,
)


def episode_page(
    session: Session, experiment: str, wanted: EpisodeFilter, offset: int, limit: int, newest: bool
) -> tuple[list[tuple[Episode, Mark | None]], int]:
    """A page of the episodes in order of their ends, with what was said of them; and how many."""
    conditions = (Episode.experiment == experiment, *wanted.conditions())
    chosen = select(Episode, Mark).outerjoin(Mark, _MARKED).where(*conditions)
    counted = select(func.count()).select_from(Episode).outerjoin(Mark, _MARKED).where(*conditions)
    order = (Episode.ended_at, Episode.robot, Episode.epoch, Episode.episode)
    ordered = chosen.order_by(*(column.desc() if newest else column for column in order))
    rows = session.execute(ordered.offset(offset).limit(limit))
    return [(episode, mark) for episode, mark in rows], session.scalar(counted) or 0


def version_returns(
    session: Session, experiment: str, evaluations: bool
) -> dict[int, VersionReturns]:
    """Returns of the episodes that count, by the version with which they ended: of all that were
    played to learn and not broken off, or of the fair ones of evaluations."""
    kind = and_(~TRAINING, Episode.fair) if evaluations else _LEARNED
    conditions = (Episode.experiment == experiment, _KEPT, kind)
    reward = Episode.total_reward
    centre = session.scalar(
        select(func.avg(reward)).select_from(Episode).outerjoin(Mark, _MARKED).where(*conditions)
    )
    off = reward - (centre or 0.0)  # small numbers: their squares keep their digits
    sums = (func.avg(off), func.min(reward), func.max(reward), func.sum(off * off))
    query = select(Episode.policy_last, func.count(), *sums).outerjoin(Mark, _MARKED)
    return {
        version: VersionReturns(n, (centre or 0.0) + mean, low, high, squares - n * mean * mean)
        for version, n, mean, low, high, squares in session.execute(
            query.where(*conditions).group_by(Episode.policy_last)
        )
    }


def episodes_of_version(
    session: Session, experiment: str, version: int, most: int
) -> list[Episode]:
    """The newest episodes that this version began and ended to learn, but for the discarded."""
    query = (
        select(Episode)
        .outerjoin(Mark, _MARKED)
        .where(
            Episode.experiment == experiment,
            Episode.policy_first == version,
            Episode.policy_last == version,
            TRAINING,
            _KEPT,
        )
        .order_by(Episode.ended_at.desc(), Episode.robot, Episode.epoch, Episode.episode.desc())
    )
    return list(session.scalars(query.limit(most)))


def evaluation_returns(session: Session, evaluation: int) -> list[Episode]:
    """The episodes that count for an evaluation, oldest first."""
    query = (
        select(Episode)
        .outerjoin(Mark, _MARKED)
        .where(Episode.evaluation == evaluation, Episode.fair, _KEPT)
        .order_by(Episode.ended_at, Episode.robot, Episode.epoch, Episode.episode)
    )
    return list(session.scalars(query))


def metric_buckets(
    session: Session, experiment: str, name: str, since: float, until: float, most: int
) -> list[Bucket]:
    """A metric in at most `most` buckets of equal length of time, empty ones left out."""
    chosen = select().where(
        Metric.experiment == experiment,
        Metric.name == name,
        Metric.time > since,
        Metric.time <= until,
    )
    return _buckets(session, chosen, _METRIC, most)


def return_buckets(
    session: Session,
    experiment: str,
    since: float,
    until: float,
    most: int,
    evaluations: bool = False,
) -> list[Bucket]:
    """The returns of episodes that count, as of `version_returns`; `updates` is the version with
    which they ended, `rows` those of the episodes so far."""
    kind = and_(~TRAINING, Episode.fair) if evaluations else _LEARNED
    chosen = (
        select()
        .select_from(Episode)
        .outerjoin(Mark, _MARKED)
        .where(
            Episode.experiment == experiment,
            Episode.ended_at > since,
            Episode.ended_at <= until,
            kind,
            _KEPT,
        )
    )
    return _added_up(_buckets(session, chosen, _EPISODE, most))


def human_buckets(
    session: Session, experiment: str, share: bool, since: float, until: float, most: int
) -> list[Bucket]:
    """Of each episode, the share of the steps that a person chose, or how often one took over;
    `updates` is the version with which it ended, `rows` those of the episodes so far."""
    value: ColumnElement[Any] = cast(Episode.interventions, Float)
    if share:
        value = cast(Episode.human_steps, Float) / case((Episode.steps > 0, Episode.steps), else_=1)
    chosen = select().where(
        Episode.experiment == experiment, Episode.ended_at > since, Episode.ended_at <= until
    )
    return _added_up(_buckets(session, chosen, _EPISODE._replace(value=value), most))


def _added_up(buckets: list[Bucket]) -> list[Bucket]:
    """With the rows of those before among the rows of each."""
    totals = accumulate(bucket.rows for bucket in buckets)
    return [bucket._replace(rows=total) for bucket, total in zip(buckets, totals, strict=True)]


def _buckets(
    session: Session,
    chosen: Select[Any],
    kind: _Kind,
    most: int,
) -> list[Bucket]:
    time, rows, updates, value, rows_of_bucket = kind
    ends = chosen.with_only_columns(func.count(), func.min(time), func.max(time))
    count, first, last = session.execute(ends).one()
    if count <= most:
        columns = chosen.with_only_columns(time, rows, updates, value).order_by(time)
        return [Bucket(t, r, u, v, v, v, 1) for t, r, u, v in session.execute(columns)]
    width = (last - first) / max(most - 1, 1) or 1.0  # the last value has a bucket of its own
    part = (time - first) / (width * 1.000001) if most > 1 else cast(0, Integer)
    placed = chosen.with_only_columns(
        time.label("time"),
        rows.label("rows"),
        updates.label("updates"),
        value.label("value"),
        _whole(session, part).label("place"),
    )
    by = placed.subquery().c  # grouped from outside: there an expression has one name
    last_of = (func.max(by.time), rows_of_bucket(by.rows), func.max(by.updates))
    values = (func.avg(by.value), func.min(by.value), func.max(by.value), func.count())
    query = select(*last_of, *values).group_by(by.place).order_by(by.place)
    return [Bucket(*row) for row in session.execute(query)]


def _whole(session: Session, number: ColumnElement[Any]) -> ColumnElement[Any]:
    """A number from 0 on without its fraction: SQLite's cast cuts it off, PostgreSQL's rounds."""
    sqlite = session.get_bind().dialect.name == "sqlite"
    return cast(number, Integer) if sqlite else func.floor(number)
