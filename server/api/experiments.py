"""Create, look at, and steer experiments."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Body, Path, Query
from fastapi.responses import FileResponse

from server.api.deps import Running
from server.api.paging import Page, Paged
from server.api.params import ExperimentId, Text
from server.api.problems import answers, problems
from server.api.schemas import EventView, ExperimentView, LearnerView, columns_of
from server.errors import Invalid, NotFound
from server.evaluation.settings import EvaluationSettings, RolloutSettings
from server.new_experiment import ExperimentChange, NewExperiment
from server.service import Service
from server.states import Verb, as_markdown
from server.storage import Experiment
from server.supervisor import Status
from server.waits import waits_for

router = APIRouter(prefix="/experiments", tags=["experiments"])

NEW = {
    "a ball": {
        "summary": "Dreamer on one robot, small enough for a laptop",
        "value": {"name": "ball", "agent": "dreamer", "preset": "laptop", "robots": ["ball-1"]},
    }
}


@router.post("", status_code=201, responses=problems(404, 409))
async def create_experiment(
    new: Annotated[NewExperiment, Body(openapi_examples=NEW)],
    service: Running,
) -> ExperimentView:
    """Create an experiment; it learns once it is started."""
    return view(service, await service.experiments.create(new))


@router.get("")
async def list_experiments(service: Running, paging: Paged) -> Page[ExperimentView]:
    """Every experiment, oldest first."""
    page = paging.cut(service.experiments.all())
    return paging.page([view(service, experiment) for experiment in page.items], page.total)


@router.get("/{experiment}", responses=problems(404))
async def get_experiment(experiment: ExperimentId, service: Running) -> ExperimentView:
    """One experiment."""
    return view(service, service.experiments.get(experiment))


@router.patch("/{experiment}", responses=problems(404))
async def edit_experiment(
    experiment: ExperimentId, change: ExperimentChange, service: Running
) -> ExperimentView:
    """Change name, notes, evaluations or roll-out, in any state. Of the last two, what is left out
    within takes its default."""
    return view(service, await service.experiments.edit(experiment, change))


@router.delete("/{experiment}", status_code=204, responses=problems(404, 409))
async def delete_experiment(
    experiment: ExperimentId,
    service: Running,
    confirm: Annotated[str, Query(description="The experiment's id once more.")],
) -> None:
    """Remove an experiment with its rows, policies and checkpoints, for good.

    It must not be running or paused. Its robots are let go; none may have rows to deliver.
    """
    if confirm != experiment:
        raise Invalid("confirm", f"the experiment's id, {experiment!r}", repr(confirm)[:80])
    await service.experiments.delete(experiment)


@router.post("/{experiment}/duplicate", status_code=201, responses=problems(404, 409))
async def duplicate_experiment(experiment: ExperimentId, service: Running) -> ExperimentView:
    """A new experiment with the same agent, settings, robots and demonstrations, and no other data.

    409: a dataset that it began with has been deleted or replaced since.
    """
    return view(service, await service.experiments.duplicate(experiment))


@router.post(
    "/{experiment}/{verb}",
    responses=problems(404, 409),
    description=f"Start, pause, resume or stop. Idempotent.\n\n{as_markdown()}",
)
async def change_experiment(
    experiment: ExperimentId,
    verb: Annotated[Verb, Path(description="What is to be done.")],
    service: Running,
) -> ExperimentView:
    """Start, pause, resume or stop. Idempotent; 409 says what the state allows."""
    return view(service, await service.experiments.change(experiment, verb))


@router.get("/{experiment}/events", responses=problems(404))
async def list_experiment_events(
    experiment: ExperimentId, service: Running, paging: Paged
) -> Page[EventView]:
    """What an operator should know of one experiment, newest first."""
    service.experiments.get(experiment)
    found, total = await asyncio.to_thread(
        service.storage.events, experiment, offset=paging.offset, limit=paging.limit
    )
    return paging.page([EventView.model_validate(event) for event in found], total)


@router.get("/{experiment}/reports", responses=problems(404))
async def list_reports(experiment: ExperimentId, service: Running) -> list[str]:
    """The names of what the learner has drawn pictures of."""
    service.experiments.get(experiment)
    await service.writer.settle()
    return await asyncio.to_thread(service.storage.report_names, experiment)


@router.get(
    "/{experiment}/reports/latest",
    response_class=FileResponse,
    responses=problems(404) | answers("image/png"),
)
async def get_latest_report(
    experiment: ExperimentId, service: Running, name: Text = None
) -> FileResponse:
    """The newest picture of what the learner knows, or the newest of a name."""
    service.experiments.get(experiment)
    await service.writer.settle()
    report = await asyncio.to_thread(service.storage.latest_report, experiment, name)
    home = service.settings.experiment_dir(experiment)
    path = (home / report.path).resolve() if report else None
    if path is None or not path.is_relative_to(home.resolve()) or not path.is_file():
        raise NotFound(f"experiment {experiment!r} has no report yet")
    return FileResponse(path, media_type="image/png", headers={"Cache-Control": "no-store"})


def _learner(experiment: Experiment, learner: Status) -> LearnerView:
    about = columns_of(LearnerView, learner) | {"waits": waits_for(experiment, learner)}
    return LearnerView.model_validate(about)


def view(service: Service, experiment: Experiment) -> ExperimentView:
    """What is stored of an experiment, and how it is now."""
    live = {
        "learner": _learner(experiment, service.experiments.learner(experiment.id)),
        "policy_version": service.experiments.policy_version(experiment.id),
        "policy_offered": service.experiments.rollout.offered(experiment.id),
        "evaluation": EvaluationSettings.model_validate(experiment.evaluation),
        "rollout": RolloutSettings.model_validate(experiment.rollout),
        "allowed": service.experiments.allowed(experiment),
    }
    stored = {k: v for k, v in columns_of(ExperimentView, experiment).items() if k not in live}
    return ExperimentView.model_validate(stored | live)
