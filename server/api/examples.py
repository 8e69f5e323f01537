"""An example of everything that the API takes and answers, put into the OpenAPI document.

One row per schema. Lists and pages of a schema are made of its row; what has no schema of its own
has a row by its operation. The tests check that no row is missing and that each fits its schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

Json = dict[str, Any]
_REF, _PAGE, _TYPE = "#/components/schemas/", "Page_", "application/json"
_EXPERIMENT, _ROBOT, _KEY = "5f0c1a2b", "ball-1", "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
_AT, _SHA256 = 1767261600.0, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_EPISODE = "WyJiYWxsLTEiLCAiYSIsIDEyXQ"
_OBSERVED: Json = {
    "type": "dict",
    "spaces": {"position": {"type": "box", "shape": [2], "dtype": "float32", "low": -1, "high": 1}},
}
_ACTION: Json = {"type": "box", "shape": [2], "dtype": "float32", "low": -1, "high": 1}
_ENROLLED: Json = {
    "robot": _ROBOT,
    "key": _KEY,
    "valid": True,
    "added_at": _AT,
    "added_by": "ann",
    "until": None,
    "revoked_by": None,
    "used_at": _AT,
}
_TOKEN: Json = {
    "id": "1c0ffee2",
    "name": "bob",
    "role": "viewer",
    "added_at": _AT,
    "added_by": "ann",
    "used_at": None,
    "revoked_at": None,
    "revoked_by": None,
}
_TELEOP: Json = {
    "robot": _ROBOT,
    "holder": "ann",
    "since": _AT,
    "driver": "ann",
    "safety": "fresh",
    "reason": "ann drives",
    "control_hz": 20.0,
    "action_space": _ACTION,
    "keys": {"w": "+ action 0", "s": "- action 0", "a": "+ action 1", "d": "- action 1"},
}
_COMMAND: Json = {"robot": _ROBOT, "verb": "pause", "id": 17}

_RETURNS = {
    "episodes": 10,
    "mean": 173.5,
    "low": 160.2,
    "high": 186.8,
    "lower": 166.0,
    "upper": 181.0,
}
_SIDE: Json = {
    "experiment": _EXPERIMENT,
    "version": 2,
    "nbytes": 30000,
    "returns": None,
    "evaluation": _RETURNS,
}
EXAMPLES: dict[str, Json] = {
    "AgentView": {
        "name": "dreamer",
        "doc": "DreamerV3: learns a world model, and its policy in dreams of it.",
        "presets": ["laptop"],
        "config_schema": {"type": "object", "properties": {"horizon": {"type": "integer"}}},
        "accepts": ["continuous", "discrete", "vectors", "images"],
        "error": None,
    },
    "Assignment": {"experiment": _EXPERIMENT},
    "AuditView": {
        "id": 204,
        "time": _AT,
        "who": "ann",
        "method": "POST",
        "operation": "command_robot",
        "parameters": {"robot": _ROBOT, "verb": "pause"},
        "outcome": "done",
        "status": 202,
        "address": "127.0.0.1",
    },
    "CallerView": {"name": "ann", "role": "operator"},
    "Canary": {"version": 7},
    "CheckpointView": {
        "number": 12000,
        "nbytes": 48123904,
        "saved_at": _AT,
        "aside": False,
        "kept": True,
    },
    "CommandView": _COMMAND,
    "Dataset": {
        "name": "demos",
        "format": "lerobot",
        "created_at": _AT,
        "observation_space": _OBSERVED,
        "action_space": _ACTION,
        "control_hz": 20.0,
        "episodes": 5,
        "rows": 92,
        "robots": [_ROBOT],
        "tasks": ["roll"],
        "lossy": [],
        "notes": [],
        "sha256": _SHA256,
    },
    "EpisodeMark": {"outcome": "success"},
    "EpisodeView": {
        "id": _EPISODE,
        "robot": _ROBOT,
        "task": "roll",
        "epoch": "a",
        "episode": 12,
        "steps": 200,
        "total_reward": 173.5,
        "policy_first": 6,
        "policy_last": 7,
        "source": "policy",
        "is_terminal": False,
        "ending": "cut short",
        "ended_at": _AT,
        "evaluation": None,
        "fair": True,
        "safety_events": 0,
        "moved_by_limits": 0.01,
        "outcome": "success",
        "discarded": False,
        "human_steps": 12,
        "interventions": 1,
    },
    "Compression": {"config": {"widths": [32, 32]}, "robots": [_ROBOT], "updates": 5000},
    "CompressionView": {
        "teachers": [_SIDE | {"nbytes": 1500000, "version": 7}],
        "student": _SIDE,
        "share": 0.02,
    },
    "EvaluationView": {
        "id": 3,
        "experiment": _EXPERIMENT,
        "version": 7,
        "robots": [_ROBOT],
        "episodes": 2,
        "replay": False,
        "scheduled": False,
        "checkpoint": 12000,
        "state": "done",
        "reason": "173.5 over 2 episodes, 95 % between 154.4 and 192.6",
        "created_at": _AT,
        "ended_at": _AT,
        "played": 2,
        "returns": [172.0, 175.0],
        "mean": 173.5,
        "lower": 154.4,
        "upper": 192.6,
    },
    "EventView": {
        "experiment": _EXPERIMENT,
        "robot": _ROBOT,
        "kind": "safety_stop",
        "text": "no observation for 0.5 s",
        "time": _AT,
    },
    "ExperimentChange": {"notes": "with the new gripper"},
    "ExperimentView": {
        "id": _EXPERIMENT,
        "name": "ball",
        "notes": "",
        "agent": "dreamer",
        "config": {"horizon": 15},
        "robots": [_ROBOT],
        "settings": {"train_ratio": 64.0, "min_rows": 1000, "seed": 0},
        "rows": 20480,
        "state": "running",
        "reason": "",
        "observation_space": _OBSERVED,
        "action_space": _ACTION,
        "created_at": _AT,
        "updated_at": _AT,
        "learner": {
            "state": "running",
            "reason": "",
            "tail": "",
            "updates": 12000,
            "restarts": 0,
            "pid": 4711,
            "waits": "",
        },
        "policy_version": 7,
        "policy_offered": 7,
        "evaluation": {"every_rows": 5000, "episodes": 5},
        "rollout": {"automatic": True, "canaries": [_ROBOT], "episodes": 10},
        "allowed": ["pause", "stop"],
        "demonstrations": {"demos": _SHA256},
    },
    "HealthView": {"status": "ok", "version": "0.1.0", "experiments": 1, "robots": 2},
    "JobView": {
        "id": "0a1b2c3d",
        "kind": "export",
        "name": _EXPERIMENT,
        "state": "running",
        "done": 3,
        "total": 5,
        "result": None,
        "error": "",
    },
    "KeyView": _ENROLLED,
    "KeysView": {"server": _KEY, "robots": [_ENROLLED]},
    "Login": {"token": "df_1c0ffee2_" + "x" * 43},
    "MetricsView": {
        "experiment": _EXPERIMENT,
        "latest": {"loss": 0.5},
        "series": {
            "loss": {
                "time": [_AT],
                "rows": [4000],
                "updates": [12000],
                "value": [0.5],
                "low": [0.4],
                "high": [0.7],
            }
        },
    },
    "NewExperiment": {
        "name": "ball",
        "agent": "dreamer",
        "preset": "laptop",
        "robots": [_ROBOT],
        "demonstrations": ["demos"],
    },
    "NewExport": {"experiment": _EXPERIMENT, "format": "lerobot", "episodes": "0-9,12"},
    "NewKey": {"key": _KEY},
    "NewToken": {"role": "viewer"},
    "NewEvaluation": {"episodes": 5, "replay": False},
    "NewTokenView": _TOKEN | {"token": "df_1c0ffee2_" + "x" * 43},
    "OrderView": _COMMAND | {"done": True, "error": ""},
    "PolicyView": {
        "version": 7,
        "updates": 12000,
        "created_at": _AT,
        "kind": "actor",
        "nbytes": 6291456,
        "available": True,
        "offered": True,
        "robots": [],
        "returns": _RETURNS,
        "evaluation": _RETURNS,
        "best": True,
    },
    "ReadyView": {"status": "ready"},
    "ReplayAuditView": {"rows": 20480, "chunks": 640, "streams": 2, "problems": []},
    "ReplayView": {
        "rows": 20480,
        "chunks": 640,
        "discarded_episodes": 1,
        "nbytes": 52428800,
        "streams": [
            {"robot": _ROBOT, "epoch": "a", "next_seq": 20480, "episode": 101, "ended": True}
        ],
    },
    "Revocation": {"key": None},
    "LeaseView": _TELEOP | {"secret": "dGhlIGtleSBvZiB0aGUgcm9ib3Q", "lease_s": 10.0},
    "RobotView": {
        "state": "connected",
        "name": _ROBOT,
        "experiment": _EXPERIMENT,
        "assigned": None,
        "connected": True,
        "control_hz": 20.0,
        "task": {"name": "roll", "episode_steps": 200},
        "client": "dreamfleet-robot 0.1.0",
        "seen_at": _AT,
        "silent_s": 0.1,
        "epoch": "a",
        "session_rows": 4096,
        "policy_version": 7,
        "policy_offered": 7,
        "policy_age_s": 1.5,
        "safety": "fresh",
        "reason": "",
        "backlog_rows": 3,
        "loop_hz": 19.9,
        "missed_ticks": 0,
        "latency": 0.004,
        "episode": 12,
        "surprise": 0.5,
        "evaluation": None,
        "has_camera": True,
        "driver": "",
    },
    "RolloutView": {
        "newest": 9,
        "offered": 7,
        "pinned": 7,
        "canaries": {"ball-2": 9},
        "best": 7,
        "trial": None,
    },
    "Rotation": {"key": _KEY, "overlap_s": 86400.0},
    "SignalsView": {
        "rows": 201,
        "row": [0, 200],
        "columns": {"reward": [0.0, 1.0], "action": [[0.1, -0.2], [0.0, 0.0]]},
        "cameras": ["camera"],
    },
    "TeleopView": _TELEOP,
    "TokenView": _TOKEN,
}
BY_OPERATION: dict[str, Any] = {
    "list_exports": ["0a1b2c3d"],
    "list_metric_names": [
        "episode_return",
        "evaluation_return",
        "human_share",
        "interventions",
        "loss",
    ],
    "list_reports": ["open_loop"],
}


def describe_examples(app: FastAPI) -> None:
    """Add the examples to the application's OpenAPI document."""
    generate = app.openapi

    def openapi() -> Json:
        document = generate()
        for operation, content in _contents(document):
            name = operation["operationId"]
            example = BY_OPERATION.get(name, _example(content["schema"]))
            if example is not None and "examples" not in content:
                content["example"] = example
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it


def _contents(document: Json) -> Iterator[tuple[Json, Json]]:
    """Every JSON body and every JSON answer that is no problem, with its operation."""
    for item in document["paths"].values():
        for operation in item.values():
            found = [a for status, a in operation["responses"].items() if status.startswith("2")]
            found += [operation["requestBody"]] if "requestBody" in operation else []
            for one in found:
                if _TYPE in one.get("content", {}):
                    yield operation, one["content"][_TYPE]


def _example(schema: Json) -> Any:
    """Of a schema, a list of one, or a page of one; None where there is no row."""
    if schema.get("type") == "array":
        item = _example(schema["items"])
        return None if item is None else [item]
    name = schema.get("$ref", "").removeprefix(_REF)
    if name.startswith(_PAGE):
        item = EXAMPLES.get(name.removeprefix(_PAGE).removesuffix("_"))
        return None if item is None else {"items": [item], "total": 1, "offset": 0, "limit": 100}
    return EXAMPLES.get(name)
