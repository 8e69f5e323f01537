"""Robots: how they are, what they see, and what they are told."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response

from server.api.deps import Running
from server.api.paging import MAX_INT, Page, Paged
from server.api.params import RobotName
from server.api.problems import answers, problems
from server.api.schemas import Assignment, CommandView, OrderView, RobotView
from server.errors import NotFound
from server.film import encode_png
from server.fleet import Session
from server.robot_orders import RobotVerb, tell
from server.service import Service
from server.storage import Robot

router = APIRouter(tags=["robots"])


@router.get("/robots")
async def list_robots(service: Running, paging: Paged) -> Page[RobotView]:
    """Every robot that ever connected, by name."""
    page = paging.cut(service.experiments.roster.all())
    return paging.page(robot_views(service, page.items), page.total)


@router.get("/robots/{robot}", responses=problems(404))
async def get_robot(robot: RobotName, service: Running) -> RobotView:
    """One robot, with what its last heartbeat said."""
    return robot_views(service, [service.experiments.roster.get(robot)])[0]


@router.delete("/robots/{robot}", status_code=204, responses=problems(404, 409))
async def delete_robot(robot: RobotName, service: Running) -> None:
    """Forget a robot that is away, such as one whose name was mistyped.

    Its rows, episodes and keys stay, and so does what experiments say of its name. It is back in
    the list as soon as it says hello. 409: it is connected or waits to be let in, or it is the only
    robot of an experiment, which has its task from it.
    """
    await service.experiments.attendance.forget(robot)


@router.put("/robots/{robot}/experiment", responses=problems(404))
async def assign_robot(robot: RobotName, to: Assignment, service: Running) -> RobotView:
    """Let a robot join one experiment only, or any that has a place.

    A connected robot ends its episode, delivers its rows and moves, as soon as the experiment
    runs. An experiment that names its robots names this one from then on.
    """
    await service.experiments.assign(robot, to.experiment)
    return robot_views(service, [service.experiments.roster.get(robot)])[0]


@router.get(
    "/robots/{robot}/camera.png",
    response_class=Response,
    responses=problems(404) | answers("image/png"),
)
async def get_robot_camera(robot: RobotName, service: Running) -> Response:
    """What the robot saw last."""
    frame = service.fleet.camera(robot)
    if frame is None:
        raise NotFound(f"robot {robot!r} has sent no picture")
    png = await asyncio.to_thread(encode_png, frame)
    return Response(png, media_type="image/png", headers={"Cache-Control": "no-store"})


@router.post("/robots/{robot}/{verb}", status_code=202, responses=problems(404, 409))
async def command_robot(
    robot: RobotName,
    verb: Annotated[RobotVerb, Path(description="What the robot is to do.", examples=["pause"])],
    service: Running,
) -> CommandView:
    """Tell a connected robot to do something; GET /commands/{id} says what became of it.

    `stop` is the emergency stop: at once, latched until `release`. `pause` ends the episode and
    stands still until `resume`; `reset` and `end_episode` end it and begin another. `success` and
    `failure` end it as one whose task is over and mark it; `discard` ends it and keeps its rows
    from being learned from. Between two episodes, these three mark the last one.
    """
    work = service.experiments
    number = await tell(service.fleet, work.roster, work.marks, robot, verb)
    return CommandView(robot=robot, verb=verb, id=number)


@router.get("/commands/{command}", responses=problems(404))
async def get_command(
    command: Annotated[int, Path(ge=1, le=MAX_INT, description="Number of a command.")],
    service: Running,
) -> OrderView:
    """What became of a command; the newest thousand since the server started are known."""
    order = service.fleet.order(command)
    return OrderView(
        robot=order.robot,
        verb=order.command.verb,
        id=command,
        done=order.error is not None,
        error=order.error or "",
    )


def robot_views(service: Service, robots: list[Robot]) -> list[RobotView]:
    """How robots are now."""
    sessions = {session.robot: session for session in service.fleet.sessions()}
    return [_view(service, robot, sessions.get(robot.name)) for robot in robots]


def _view(service: Service, robot: Robot, session: Session | None) -> RobotView:
    state, reason = service.experiments.attendance.state(robot, session is not None)
    about = {
        "name": robot.name,
        "experiment": robot.experiment,
        "assigned": robot.assigned,
        "connected": session is not None,
        "state": state,
        "reason": reason,
        "policy_version": robot.policy_version,
        "control_hz": robot.control_hz,
        "task": robot.task,
        "client": robot.client,
        "seen_at": robot.seen_at,
    }
    if session is None:
        return RobotView.model_validate(about)
    rollout, experiment = service.experiments.rollout, session.experiment
    live = {
        "experiment": experiment,
        "has_camera": session.has_camera,
        "silent_s": session.age,
        "epoch": session.epoch,
        "session_rows": session.rows,
        "policy_offered": rollout.offered(experiment, robot.name),
    }
    if session.heartbeat is not None:
        beat = asdict(session.heartbeat)
        beat.pop("tick")
        beat["evaluation"] = beat["evaluation"] or None
        live |= beat | {"policy_age_s": rollout.age(experiment, session.heartbeat.policy_version)}
    return RobotView.model_validate(about | live)
