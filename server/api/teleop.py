"""Driving a robot from afar: the lease of it, and the socket on which a person's input comes.

PUT lends the robot to one person, whose input then comes on the socket 10 to 30 times per second,
each answered with how the robot is. Without input the lease ends after ten seconds, and the robot
holds much sooner, by its own clock.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import HTTPConnection

from robot_client.clock import SystemClock
from robot_client.errors import DreamfleetError
from robot_client.robot import Action, as_action
from robot_client.schema import ActionSpace, space_from_json
from robot_client.teleops.mapping import Hands, key_table, to_action
from server.api.callers import Gatekeeper, Who
from server.api.deps import Running
from server.api.gate import address_of, token_of
from server.api.params import RobotName
from server.api.problems import problems
from server.api.schemas import View
from server.errors import Forbidden, Invalid
from server.service import Service
from server.teleop import LEASE_S, Helm, Lease

router = APIRouter(prefix="/robots/{robot}/teleop", tags=["robots"])

_CHECK_S = 1.0  # between looks whether the caller's token is still good
_MOST = 1000  # numbers of an action, or keys
_POLICY_VIOLATION = 1008


class TeleopView(View):
    """Who has the lease of a robot, who drives it, and what its actions are."""

    robot: str
    holder: str | None = Field(description="Who has the lease; null when nobody has.")
    since: float | None = Field(description="Since when, in seconds since 1970.")
    driver: str = Field(description="Who drives, as the robot says; empty when nobody does.")
    safety: str | None
    reason: str | None
    control_hz: float
    action_space: dict[str, Any]
    keys: dict[str, str] = Field(description="What each key does when `keys` are sent.")


class LeaseView(TeleopView):
    """A lease that has been taken. `secret` is shown to its holder only, and this once."""

    secret: str
    lease_s: float = Field(description="Seconds without input after which the lease is over.")


class PersonInput(BaseModel):
    """What a person wants at one moment.

    Either an `action`, or `axes` (-1 to 1, one per number of the action) and the `keys` held.
    `sent` is in seconds of a clock of theirs that does not jump: input that comes late is not
    heeded.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    secret: str = Field(max_length=100)
    sent: float = Field(allow_inf_nan=False)
    engaged: bool
    wish: Literal["act", "hold"] = "act"
    action: Annotated[list[float], Field(max_length=_MOST)] | int | None = None
    axes: list[float] = Field(default=[], max_length=_MOST)
    keys: list[Annotated[str, Field(max_length=20)]] = Field(default=[], max_length=_MOST)


class PersonAnswer(View):
    """How the robot is; `sent` is that of the input which is answered."""

    sent: float
    driver: str
    safety: str | None
    reason: str | None
    action: list[float] | int | None = Field(description="What was passed on to the robot.")


def _helm(connection: HTTPConnection, service: Running) -> Helm:
    """Made at the first call: nothing of it outlives the application."""
    state = connection.app.state
    if not hasattr(state, "helm"):
        state.helm = Helm(service.fleet, SystemClock())
    found: Helm = state.helm
    return found


Steering = Annotated[Helm, Depends(_helm)]


@router.get("", responses=problems(404))
async def get_teleop(robot: RobotName, service: Running, helm: Steering) -> TeleopView:
    """Who drives a robot, or may."""
    return TeleopView.model_validate(_about(service, helm, robot))


@router.put("", responses=problems(404, 409))
async def take_teleop(
    robot: RobotName,
    service: Running,
    helm: Steering,
    caller: Who,
    instead: Annotated[
        bool,
        Query(description="Take it from the caller's own other window, if they have it there."),
    ] = False,
) -> LeaseView:
    """Borrow a robot to drive it: one person at a time. 409 says who has it.

    The robot goes on with its policy until input comes that is `engaged`.
    """
    service.experiments.roster.get(robot)
    lease = helm.take(robot, caller.name, instead)
    about = _about(service, helm, robot)
    return LeaseView.model_validate(about | {"secret": lease.secret, "lease_s": LEASE_S})


@router.delete("", responses=problems(404, 409))
async def release_teleop(
    robot: RobotName,
    service: Running,
    helm: Steering,
    caller: Who,
    secret: Annotated[str | None, Query(max_length=100, description="Of the lease.")] = None,
) -> TeleopView:
    """Give a robot back: to its policy, if it was driven. Idempotent.

    Without the secret, as from a window that is lost, its holder's name is enough.
    """
    service.experiments.roster.get(robot)
    if helm.holder(robot) is not None:
        helm.release(helm.check(robot, caller.name, secret))
    return TeleopView.model_validate(_about(service, helm, robot))


@router.websocket("/input")
async def drive_robot(
    socket: WebSocket,
    robot: str,
    service: Running,
    helm: Steering,
    caller: Who,
    guard: Gatekeeper,
) -> None:
    """Input of the holder, each a `PersonInput` as JSON, each answered with a `PersonAnswer`.

    The socket is closed with the reason when the lease, the token or the robot is lost, or the
    input is none. That alone hands nothing back: the robot takes it for silence.
    """
    await socket.accept()
    clock = SystemClock()
    checked = clock.monotonic()
    try:
        space = _space(service, robot)
        while True:
            given = PersonInput.model_validate_json(await socket.receive_text())
            if clock.monotonic() - checked > _CHECK_S:
                checked = clock.monotonic()
                if guard.caller(token_of(socket), address_of(socket)).role != "operator":
                    raise Forbidden("this takes an operator's token")
            lease = helm.check(robot, caller.name, given.secret)
            answer = _pass_on(service, helm, lease, space, given)
            await socket.send_text(answer.model_dump_json())
    except WebSocketDisconnect:
        return
    except (DreamfleetError, ValidationError, KeyError) as error:
        await socket.close(_POLICY_VIOLATION, _short(error))


def _pass_on(
    service: Service, helm: Helm, lease: Lease, space: ActionSpace, given: PersonInput
) -> PersonAnswer:
    action = _action(space, given) if given.engaged and given.wish == "act" else None
    helm.drive(lease, given.engaged, action, given.sent)
    about = {"sent": given.sent, "action": None if action is None else action.tolist()}
    return PersonAnswer.model_validate(about | _beat(service, lease.robot))


def _action(space: ActionSpace, given: PersonInput) -> Action | None:
    """Raises Invalid when it is none of the robot's."""
    if given.action is None:
        return to_action(space, Hands.of(tuple(given.axes), frozenset(given.keys)))
    try:
        action = as_action(space, given.action)
    except (TypeError, ValueError) as error:
        raise Invalid("action", f"one of {space}", given.action) from error
    if not all(math.isfinite(number) for number in action.ravel().tolist()):
        raise Invalid("action", "finite numbers", given.action)
    return action


def _space(service: Service, robot: str) -> ActionSpace:
    found = space_from_json(service.experiments.roster.get(robot).action_space)
    assert not isinstance(found, dict)
    return found  # type: ignore[return-value]  # the gateway admits no other


def _about(service: Service, helm: Helm, robot: str) -> dict[str, Any]:
    known, lease = service.experiments.roster.get(robot), helm.holder(robot)
    return {
        "robot": robot,
        "holder": lease.holder if lease else None,
        "since": lease.since if lease else None,
        "control_hz": known.control_hz,
        "action_space": known.action_space,
        "keys": key_table(_space(service, robot)),
        **_beat(service, robot),
    }


def _beat(service: Service, robot: str) -> dict[str, Any]:
    session = next((s for s in service.fleet.sessions() if s.robot == robot), None)
    beat = session.heartbeat if session else None
    if beat is None:
        return {"driver": "", "safety": None, "reason": None}
    return {"driver": beat.driver, "safety": beat.safety, "reason": beat.reason}


def _short(error: Exception) -> str:
    """As a closing frame takes it: at most 123 bytes."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        error = ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    return str(error).encode()[:120].decode(errors="ignore")
