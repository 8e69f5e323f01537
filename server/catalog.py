"""Prints what agents there are, or checks a configuration.

`python -m server.catalog list|validate` is a process of its own, because agents load torch and the
server must not. `validate` reads `{"agent": name, "preset": name or null, "config": {...}}` from
stdin.
"""

from __future__ import annotations

import difflib
import inspect
import json
import sys
from collections.abc import Collection

from pydantic import ValidationError
from pydantic_core import ErrorDetails, to_jsonable_python

from agents.errors import UnknownAgent
from agents.registry import AGENTS, agent_class
from robot_client.schema import Json


def list_agents() -> Json:
    """`{"agents": [{"name", "doc", "presets", "preset_configs", "schema", "accepts", "error"}]}`.

    `error` says why there is no schema.
    """
    return {"agents": [_describe(name) for name in sorted(AGENTS)]}


def validate(agent: str, preset: str | None, config: Json) -> Json:
    """`{"config": filled in, "problems": [{"field", "expected", "got"}]}`."""
    try:
        config_type = agent_class(agent).config_type
    except UnknownAgent:
        problem = _problem("agent", f"one of {', '.join(sorted(AGENTS))}", _unknown(agent, AGENTS))
        return {"config": None, "problems": [problem]}
    if preset is not None and preset not in config_type.presets:
        expected = f"one of {sorted(config_type.presets)}, or none"
        return {"config": None, "problems": [_problem("preset", expected, preset)]}
    try:
        filled = config_type.model_validate({**config_type.presets.get(preset or "", {}), **config})
    except ValidationError as error:
        known = _fields(config_type.model_json_schema())
        problems = [_explained(each, agent, known) for each in error.errors(include_url=False)]
        return {"config": None, "problems": problems}
    return {"config": filled.model_dump(mode="json"), "problems": []}


def _explained(error: ErrorDetails, agent: str, known: Collection[str]) -> Json:
    field = ".".join(("config", *map(str, error["loc"])))
    if error["type"] == "extra_forbidden":
        name = str(error["loc"][-1])
        return _problem(field, f"a setting of {agent}", f"no such field: {_unknown(name, known)}")
    expected = error["msg"].removeprefix("Input should be ")
    return _problem(field, expected, repr(error["input"])[:200])


def _fields(schema: Json) -> set[str]:
    """The names of all settings, those within others among them."""
    parts = [schema, *schema.get("$defs", {}).values()]
    return {name for part in parts for name in part.get("properties", {})}


def _unknown(name: str, known: Collection[str]) -> str:
    """A name that is not known, and the one that may have been meant."""
    close = difflib.get_close_matches(name, known, n=1)
    return repr(name) + (f"; did you mean {close[0]!r}?" if close else "")


def _describe(name: str) -> Json:
    try:
        found = agent_class(name)
    except ImportError as error:
        about: Json = {"name": name, "doc": "", "presets": [], "preset_configs": {}}
        return about | {"schema": None, "accepts": [], "error": str(error)}
    return {
        "name": name,
        "doc": inspect.getdoc(found) or "",
        "presets": sorted(found.config_type.presets),
        "preset_configs": to_jsonable_python(found.config_type.presets),
        "schema": found.config_type.model_json_schema(),
        "accepts": list(found.accepts),
        "error": None,
    }


def _problem(field: str, expected: str, got: str) -> Json:
    return {"field": field, "expected": expected, "got": got}


def main() -> None:
    """Answer one question on stdout, as JSON."""
    if sys.argv[1:] == ["list"]:
        answer = list_agents()
    elif sys.argv[1:] == ["validate"]:
        question = json.load(sys.stdin)
        answer = validate(question["agent"], question["preset"], question["config"])
    else:
        raise SystemExit("usage: python -m server.catalog list|validate")
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
