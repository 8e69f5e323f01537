"""Evaluations of an experiment's policy: episodes of one version that does not explore."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from server.api.deps import Running
from server.api.paging import MAX_INT, Page, Paged
from server.api.params import ExperimentId
from server.api.problems import problems
from server.api.schemas import EvaluationView, columns_of
from server.evaluation.evaluations import NewEvaluation
from server.evaluation.statistics import estimate_of
from server.service import Service
from server.storage import Evaluation

router = APIRouter(prefix="/experiments/{experiment}/evaluations", tags=["evaluations"])

EvaluationId = Annotated[
    int, Path(ge=1, le=MAX_INT, description="Number of an evaluation.", examples=[1])
]


@router.post("", status_code=201, responses=problems(404, 409))
async def start_evaluation(
    experiment: ExperimentId,
    wanted: NewEvaluation,
    service: Running,
) -> EvaluationView:
    """Let robots play episodes with one version's most likely actions.

    The robots finish the episodes that they are in, play these, and go on as before. Episodes that
    an operator, a person's hand or a failure cuts short are played again. 409: the experiment does
    not run, or no robot is free.
    """
    experiments = service.experiments
    found = experiments.get(experiment)
    return await _view(service, await experiments.overseer.evaluations.start(found, wanted))


@router.get("", responses=problems(404))
async def list_evaluations(
    experiment: ExperimentId, service: Running, paging: Paged
) -> Page[EvaluationView]:
    """Every evaluation, newest first."""
    service.experiments.get(experiment)
    page = paging.cut(service.experiments.overseer.evaluations.of(experiment))
    return paging.page([await _view(service, found) for found in page.items], page.total)


@router.get("/{evaluation}", responses=problems(404))
async def get_evaluation(
    experiment: ExperimentId, evaluation: EvaluationId, service: Running
) -> EvaluationView:
    """One evaluation and the returns that count so far."""
    service.experiments.get(experiment)
    evaluations = service.experiments.overseer.evaluations
    return await _view(service, evaluations.get(experiment, evaluation))


@router.post("/{evaluation}/cancel", responses=problems(404))
async def cancel_evaluation(
    experiment: ExperimentId, evaluation: EvaluationId, service: Running
) -> EvaluationView:
    """Play no more of it; what was played stays. Idempotent."""
    service.experiments.get(experiment)
    evaluations = service.experiments.overseer.evaluations
    await evaluations.cancel(experiment, evaluation)
    return await _view(service, evaluations.get(experiment, evaluation))


async def _view(service: Service, evaluation: Evaluation) -> EvaluationView:
    returns = await service.experiments.overseer.evaluations.returns(evaluation.id)
    about = estimate_of(returns)
    found = columns_of(EvaluationView, evaluation) | {"played": len(returns), "returns": returns}
    if about is not None:
        found |= {"mean": about.mean, "lower": about.lower, "upper": about.upper}
    return EvaluationView.model_validate(found)
