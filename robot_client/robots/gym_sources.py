"""Where gymnasium learns ids that are not its own: what must be imported before such an id is made.

A new source is one row of `SOURCES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from robot_client.errors import RobotError


@dataclass(frozen=True)
class Source:
    """A package that knows environments.

    Args:
        module: importing it must suffice, unless there is a function.
        function: of this module, called without arguments before each environment is made.
        extra: of this project's extras the one to install when the module is missing.
    """

    module: str
    function: str | None
    extra: str


SOURCES: dict[str, Source] = {  # by the beginning of the environment's id
    "dreamfleet/": Source("sim.envs", "register", "sim"),
    "dreamfleet/Push": Source("pybullet", None, "sim"),
    "dreamfleet/Reach": Source("pybullet", None, "sim"),
    "dm_control/": Source("sim.envs.dm_control", "register", "sim"),
    "ALE/": Source("ale_py", None, "envs"),
    "CarRacing-": Source("Box2D", None, "envs"),
    "Vizdoom": Source("vizdoom.gymnasium_wrapper", None, "envs"),
}


def register(env_id: str) -> None:
    """Let gymnasium know this id, if a source has it. An id of no source is left to gymnasium.

    Raises RobotError when the source's package is missing, with what to install.
    """
    for prefix, source in SOURCES.items():
        if env_id.startswith(prefix):
            _load(env_id, source)


def _load(env_id: str, source: Source) -> None:
    try:
        module = import_module(source.module)
    except ImportError as error:
        hint = f"pip install 'dreamfleet[{source.extra}]'"
        raise RobotError(f"gym:{env_id}: needs {source.module}: {error}; {hint}") from error
    if source.function is not None:
        getattr(module, source.function)()
