"""Robots: how they are, what they see, and what they are told."""

from __future__ import annotations

import asyncio
import io
from dataclasses import asdict

import numpy as np
from fastapi import APIRouter
from fastapi.responses import Response
from numpy.typing import NDArray
from PIL import Image

from robot_client.messages import Verb
from server.api.deps import Running
from server.api.schemas import CommandView, RobotView
from server.errors import NotFound
from server.fleet import Session
from server.storage import Robot

router = APIRouter(prefix="/robots", tags=["robots"])


@router.get("")
async def list_robots(service: Running) -> list[RobotView]:
    """Every robot that ever connected, by name."""
    sessions = {session.robot: session for session in service.fleet.sessions()}
    known = await asyncio.to_thread(service.storage.robots)
    return [_view(robot, sessions.get(robot.name)) for robot in known]


@router.get("/{robot}/camera.png")
async def camera(robot: str, service: Running) -> Response:
    """What the robot saw last."""
    frame = service.fleet.camera(robot)
    if frame is None:
        raise NotFound(f"robot {robot!r} has sent no picture")
    png = await asyncio.to_thread(encode_png, frame)
    return Response(png, media_type="image/png", headers={"Cache-Control": "no-store"})


@router.post("/{robot}/{verb}", status_code=202)
async def command(robot: str, verb: Verb, service: Running) -> CommandView:
    """Tell a connected robot to do something."""
    return CommandView(robot=robot, verb=verb, id=service.fleet.command(robot, verb))


def encode_png(frame: NDArray[np.uint8]) -> bytes:
    """A picture (H, W, 1 or 3) as PNG."""
    picture = Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _view(robot: Robot, session: Session | None) -> RobotView:
    about = {
        "name": robot.name,
        "experiment": robot.experiment,
        "connected": session is not None,
        "control_hz": robot.control_hz,
        "task": robot.task,
        "client": robot.client,
    }
    if session is None:
        return RobotView.model_validate(about)
    live = {"experiment": session.experiment, "has_camera": session.has_camera}
    if session.heartbeat is not None:
        beat = asdict(session.heartbeat)
        beat.pop("tick")
        live |= beat
    return RobotView.model_validate(about | live)
