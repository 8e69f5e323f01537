"""What drivers of hardware share: SDKs by name, waiting that can be broken off, tidy release."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from robot_client.clock import Clock
from robot_client.errors import RobotError

POLL_S = 0.02


def load_sdk(module: str, package: str) -> Any:
    """A module of a device's SDK. Raises RobotError that names the package to install."""
    try:
        return import_module(module)
    except ImportError as error:
        raise RobotError(f"{module}: {error}; it comes with: pip install {package}") from error


def load_function(spec: str) -> Callable[..., Any]:
    """The function that `module:function` names. Raises RobotError if there is none."""
    module, _, name = spec.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RobotError(f"{spec}: expected module:function: {error}") from error
    if not callable(found):
        raise RobotError(f"{spec}: expected module:function, got {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def wait_until(done: Callable[[], bool], clock: Clock, limit_s: float, what: str) -> None:
    """Ask again and again until it is done; `done` may raise to break off.

    Raises:
        RobotError: it took longer than `limit_s`.
    """
    late = clock.monotonic() + limit_s
    while not done():
        now = clock.monotonic()
        if now > late:
            raise RobotError(f"{what}: not done within {limit_s:.1f} s")
        clock.sleep_until(now + POLL_S)


def release(device: str, parts: Iterable[Callable[[], object]]) -> None:
    """Call all, whatever the others raise. Raises RobotError with what went wrong."""
    problems = []
    for part in parts:
        try:
            part()
        except Exception as error:  # noqa: BLE001 - drivers raise anything; the others must go too
            problems.append(f"{type(error).__name__}: {error}")
    if problems:
        raise RobotError(f"{device}: not released cleanly: {'; '.join(problems)}")
