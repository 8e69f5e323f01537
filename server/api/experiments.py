"""Create, look at, and steer experiments."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from fastapi.responses import FileResponse

from server.api.deps import Running
from server.api.schemas import EpisodeView, EventView, ExperimentView, LearnerView
from server.errors import NotFound
from server.new_experiment import NewExperiment
from server.states import Verb
from server.service import Service
from server.storage import Experiment

router = APIRouter(prefix="/experiments", tags=["experiments"])


@router.post("", status_code=201)
async def create(new: NewExperiment, service: Running) -> ExperimentView:
    """Create an experiment; it learns once it is started."""
    return _view(service, await service.experiments.create(new))


@router.get("")
async def list_experiments(service: Running) -> list[ExperimentView]:
    """Every experiment, oldest first."""
    return [_view(service, experiment) for experiment in service.experiments.all()]


@router.get("/{experiment}")
async def get(experiment: str, service: Running) -> ExperimentView:
    """One experiment."""
    return _view(service, service.experiments.get(experiment))


@router.post("/{experiment}/{verb}")
async def change(experiment: str, verb: Verb, service: Running) -> ExperimentView:
    """Start, pause, resume or stop. Idempotent; 409 says what the state allows."""
    return _view(service, await service.experiments.change(experiment, verb))


@router.get("/{experiment}/episodes")
async def episodes(experiment: str, service: Running, since: float = 0.0) -> list[EpisodeView]:
    """Episodes that ended after `since`, oldest first."""
    service.experiments.get(experiment)
    found = await asyncio.to_thread(service.storage.episodes, experiment, since)
    return [EpisodeView.model_validate(_columns(EpisodeView, episode)) for episode in found]


@router.get("/{experiment}/events")
async def events(experiment: str, service: Running) -> list[EventView]:
    """The newest events, newest first."""
    service.experiments.get(experiment)
    found = await asyncio.to_thread(service.storage.events, experiment)
    return [EventView.model_validate(_columns(EventView, event)) for event in found]


@router.get("/{experiment}/reports/latest")
async def latest_report(experiment: str, service: Running) -> FileResponse:
    """The newest picture of what the learner knows."""
    service.experiments.get(experiment)
    report = await asyncio.to_thread(service.storage.latest_report, experiment)
    home = service.settings.experiment_dir(experiment).absolute()
    path = (home / report.path).resolve() if report else None
    if path is None or not path.is_relative_to(home.resolve()) or not path.is_file():
        raise NotFound(f"experiment {experiment!r} has no report yet")
    return FileResponse(path, headers={"Cache-Control": "no-store"})


def _view(service: Service, experiment: Experiment) -> ExperimentView:
    live = {
        "learner": LearnerView.model_validate(service.experiments.learner(experiment.id)),
        "policy_version": service.experiments.policy_version(experiment.id),
        "allowed": service.experiments.allowed(experiment),
    }
    stored = {k: v for k, v in _columns(ExperimentView, experiment).items() if k not in live}
    return ExperimentView.model_validate(stored | live)


def _columns(view: type, row: object) -> dict[str, object]:
    return {name: getattr(row, name, None) for name in view.model_fields}  # type: ignore[attr-defined]
