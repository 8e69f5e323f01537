"""The states of an experiment, and what leads from one to another: the only place that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

State = Literal["created", "running", "paused", "stopped", "failed"]
Verb = Literal["start", "pause", "resume", "stop"]


class Transition(NamedTuple):
    """What a verb does: from which states, to which, and in words."""

    sources: frozenset[State]
    target: State
    meaning: str


def _from(*states: State) -> frozenset[State]:
    return frozenset(states)


TRANSITIONS: Mapping[Verb, Transition] = {
    "start": Transition(
        _from("created", "stopped", "failed"),
        "running",
        "Robots join, and the learner starts or goes on from its newest checkpoint.",
    ),
    "pause": Transition(_from("running"), "paused", "Robots stand still, the learner waits."),
    "resume": Transition(_from("paused"), "running", "Robots and learner go on."),
    "stop": Transition(
        _from("created", "running", "paused", "failed"),
        "stopped",
        "Robots stand still; the learner writes a checkpoint and ends.",
    ),
}
DELETABLE: frozenset[State] = _from("created", "stopped", "failed")  # no robot may join these
RESTORABLE = DELETABLE  # no learner works on these


def allowed(state: str) -> list[Verb]:
    """What changes an experiment in this state."""
    return [verb for verb, transition in TRANSITIONS.items() if state in transition.sources]


def as_markdown() -> str:
    """The table, for people."""
    lines = ["| verb | from | to | what happens |", "|---|---|---|---|"]
    for verb, (sources, target, meaning) in TRANSITIONS.items():
        lines.append(f"| {verb} | {', '.join(sorted(sources))} | {target} | {meaning} |")
    return "\n".join(
        [
            *lines,
            f"| delete | {', '.join(sorted(DELETABLE))} | gone | Rows, policies, checkpoints go. |",
            "| (the learner) | running | failed | It says that a restart cannot help. |",
            "",
            "A verb that has been obeyed already is fine. A learner that dies otherwise is started "
            "again, and the experiment stays `running`.",
        ]
    )
