"""Export an experiment's episodes, and keep datasets that experiments can begin with.

Exports, imports and checks are jobs: the answer is 202 with a job, which is asked for until its
`state` is done or failed. Datasets travel as tar streams of their folders.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import HTTPConnection, Request

from server.api.deps import Running
from server.api.problems import answers, problems
from server.api.schemas import View
from server.datasets.archive import pack
from server.datasets.desk import Desk
from server.datasets.jobs import Job
from server.datasets.lerobot import Images
from server.datasets.manifest import FormatName
from server.datasets.shelf import Dataset

router = APIRouter(tags=["datasets"])

_WRITE_BYTES = 2**22
_TAR: dict[str, Any] = {
    "application/x-tar": {"schema": {"type": "string", "contentMediaType": "application/x-tar"}}
}


class NewExport(BaseModel):
    """What is to be exported."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    experiment: str = Field(description="Id of the experiment.")
    format: FormatName = Field(description="LeRobotDataset v3.0, or Minari.")
    images: Images = Field(
        default="png", description="png keeps every bit; video is H.264 and loses some."
    )
    episodes: str = Field(
        default="", description="Such as 0-9,12, in the order in which they began; none: all."
    )


class JobView(View):
    """Work in the background; see `server.datasets.jobs.Job`."""

    id: str
    kind: str
    name: str
    state: str
    done: int
    total: int
    result: dict[str, Any] | None
    error: str


def _desk(connection: HTTPConnection) -> Desk:
    return cast(Desk, connection.app.state.desk)


AtDesk = Annotated[Desk, Depends(_desk)]


@router.get("/datasets")
async def list_datasets(desk: AtDesk) -> list[Dataset]:
    """Every dataset, by name."""
    return await desk.list()


@router.get("/datasets/{name}", responses=problems(404))
async def get_dataset(name: str, desk: AtDesk) -> Dataset:
    """One dataset."""
    return await desk.get(name)


@router.put(
    "/datasets/{name}",
    status_code=202,
    responses=problems(404, 409),
    openapi_extra={"requestBody": {"required": True, "content": _TAR}},
)
async def import_dataset(
    name: str,
    request: Request,
    desk: AtDesk,
    robot: Annotated[
        str | None, Query(description="Whose spaces another's dataset should have.")
    ] = None,
) -> JobView:
    """Import the tar of a LeRobotDataset v3.0 or of a Minari dataset under a new name."""
    archive = desk.upload(name)
    try:
        await _receive(request, archive)
        return _view(await desk.import_(name, archive, robot))
    except BaseException:
        archive.unlink(missing_ok=True)
        raise


@router.post("/datasets/{name}/verify", status_code=202, responses=problems(404, 409))
async def verify_dataset(name: str, desk: AtDesk) -> JobView:
    """Check that a dataset is whole; the job's result has `problems`, none if it is."""
    return _view(await desk.verify(name))


@router.delete("/datasets/{name}", status_code=204, responses=problems(404))
async def delete_dataset(name: str, desk: AtDesk) -> None:
    """Delete a dataset. Experiments that began with it keep their copy."""
    await desk.delete(name)


@router.get("/exports")
async def list_exports(desk: AtDesk) -> list[str]:
    """The ids of the finished exports."""
    return await asyncio.to_thread(desk.exports)


@router.post("/exports", status_code=202, responses=problems(404, 409))
async def export_episodes(new: NewExport, service: Running, desk: AtDesk) -> JobView:
    """Export episodes. The export has the job's id, and can be fetched once the job is done."""
    experiment = service.experiments.get(new.experiment)
    return _view(await desk.export(experiment, new.format, new.images, new.episodes))


@router.get(
    "/exports/{export}/archive",
    response_class=StreamingResponse,
    responses=problems(404) | answers("application/x-tar"),
)
async def download_export(export: str, desk: AtDesk) -> StreamingResponse:
    """A finished export as a tar stream."""
    folder = desk.export_folder(export)
    headers = {"Content-Disposition": f'attachment; filename="{export}.tar"'}
    return StreamingResponse(pack(folder), media_type="application/x-tar", headers=headers)


@router.delete("/exports/{export}", status_code=204, responses=problems(404))
async def delete_export(export: str, desk: AtDesk) -> None:
    """Delete a finished export, once it has been fetched."""
    await desk.delete_export(export)


@router.get("/jobs")
async def list_jobs(desk: AtDesk) -> list[JobView]:
    """The newest jobs since the server started, oldest first."""
    return [_view(job) for job in desk.jobs.all()]


@router.get("/jobs/{job}", responses=problems(404))
async def get_job(job: str, desk: AtDesk) -> JobView:
    """How far a job is."""
    return _view(desk.jobs.get(job))


async def _receive(request: Request, path: Path) -> None:
    """Write the body to a file, in large pieces and off the event loop."""
    with path.open("wb") as file:
        held = bytearray()
        async for part in request.stream():
            held += part
            if len(held) >= _WRITE_BYTES:
                await asyncio.to_thread(file.write, bytes(held))
                held.clear()
        await asyncio.to_thread(file.write, bytes(held))


def _view(job: Job) -> JobView:
    return JobView.model_validate(job)
