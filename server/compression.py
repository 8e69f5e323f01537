"""Compress a policy: an experiment whose student learns to act as versions of others do.

The student's learner is a process as any other; what is done here is to copy its teachers and their
rows, in a process of its own, before the experiment is created.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from robot_client.schema import Json
from server.datasets.demonstrations import Beginning, begin_with
from server.datasets.jobs import work
from server.datasets.shelf import refuse_other_spaces
from server.errors import Conflict, Invalid, NotFound
from server.new_experiment import Name, NewExperiment, RobotName, as_json
from server.settings import Settings
from server.storage import Experiment, Policy, Storage

AGENT = "distill"
TEACHERS = "teachers"  # of the agent's config
_MOST_RATIO = 65536.0


class Compression(BaseModel):
    """What is to come of a version of a policy."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    name: Name | None = Field(default=None, description="Of the new experiment.")
    config: Annotated[dict[str, Any], AfterValidator(as_json)] = Field(
        default_factory=dict,
        description="Settings of the agent distill, such as widths, loss and temperature.",
    )
    rows: int = Field(default=50_000, ge=100, le=10_000_000, description="Newest, to learn from.")
    updates: int = Field(default=5000, ge=1, le=10_000_000, description="About so many are made.")
    batch_size: int = Field(default=64, ge=1, le=65536, description="Rows per update.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the learner's randomness.")
    robots: tuple[RobotName, ...] = Field(
        min_length=1, strict=False, description="Robots that may join; they may move at once."
    )


def compressed(source: Experiment, version: int, wanted: Compression) -> NewExperiment:
    """The experiment that makes a smaller policy of a version of `source`.

    Raises Conflict when there are no rows that it could learn from.
    """
    if not source.rows:
        raise Conflict(f"experiment {source.id} has no rows yet")
    teacher = {"experiment": source.id, "version": version}
    rows = min(wanted.rows, source.rows)
    ratio = min(_MOST_RATIO, wanted.updates * wanted.batch_size / rows)
    fixed = {TEACHERS: [teacher], "rows": wanted.rows, "batch_size": wanted.batch_size}
    return NewExperiment(
        name=wanted.name or f"{source.name[:46]}, version {version} (small)",
        agent=AGENT,
        config={**wanted.config, **fixed},
        robots=wanted.robots,
        train_ratio=ratio,
        min_rows=1,
        max_debt=wanted.updates,
        seed=wanted.seed,
    )


async def begin(
    settings: Settings,
    storage: Storage,
    known: Mapping[str, Experiment],
    experiment: str,
    new: NewExperiment,
    config: Json,
) -> Beginning:
    """What an experiment that is about to be created has at first: datasets, or teachers' rows.

    Args:
        settings, storage: the server's.
        known: the experiments that there are.
        experiment: its id.
        new, config: what is wanted, and the agent's checked configuration.

    Raises:
        NotFound: a dataset, an experiment or a version is not there.
        Invalid: spaces differ, or both are wanted.
        Conflict: a version has lost its files, or a teacher has no rows.
    """
    teachers: Sequence[Json] = config.get(TEACHERS, ()) if new.agent == AGENT else ()
    if not teachers:
        return await begin_with(settings, storage, experiment, new.demonstrations, new.robots)
    if new.demonstrations:
        raise Invalid("demonstrations", "none, with teachers", list(new.demonstrations))
    sources = [await _source(settings, storage, known, one) for one in teachers]
    first = sources[0]
    for number, source in enumerate(sources):
        for name in ("observation_space", "action_space"):
            field = f"config.{TEACHERS}.{number}.{name}"
            refuse_other_spaces(field, first[name], source[name], "the first teacher's")
    directory = settings.experiment_dir(experiment)
    directory.mkdir(parents=True, exist_ok=True)
    order = {"do": "teach", "directory": str(directory), TEACHERS: sources, "rows": config["rows"]}
    made = await work(order)
    return Beginning(int(made["rows"]), first["observation_space"], first["action_space"])


async def find_policy(storage: Storage, experiment: str, version: int) -> Policy:
    """Raises NotFound."""
    policy = await asyncio.to_thread(storage.policy, experiment, version)
    if policy is None:
        raise NotFound(f"experiment {experiment} has no policy version {version}")
    return policy


async def _source(
    settings: Settings, storage: Storage, known: Mapping[str, Experiment], teacher: Json
) -> Json:
    """What `server.teachers.take_teachers` must know of a teacher."""
    name = teacher["experiment"]
    if name not in known:
        raise NotFound(f"no experiment {name!r}")
    policy, source = await find_policy(storage, name, teacher["version"]), known[name]
    if source.observation_space is None:
        raise Conflict(f"experiment {name} has no rows yet")
    return {
        "home": str(settings.experiment_dir(name)),
        "manifest": policy.manifest,
        "task": teacher["task"],
        "observation_space": source.observation_space,
        "action_space": source.action_space,
    }
