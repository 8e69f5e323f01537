"""A claim: what a paper says, the runs that show it or do not, and what decides between them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import variance
from typing import Any, Protocol

from agents.registry import agent_class
from server.lockstep import preset, run

Values = Mapping[str, Sequence[float]]  # arm -> the value of each seed
Curve = list[tuple[float, float]]  # (steps, value)


@dataclass(frozen=True)
class Outcome:
    """What one run came to.

    Args:
        value: the number that the claim is about.
        curve: how it came to that, to be drawn.
        more: anything else to be kept, in JSON types.
    """

    value: float
    curve: Curve = field(default_factory=list)
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds here.

    Args:
        holds: in all that it says.
        why: one thinks so, in a few words and numbers.
        parts: of a claim that says several things, which of them hold.
    """

    holds: bool
    why: str
    parts: Mapping[str, bool] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.holds:
            return f"reproduced: {self.why}"
        parts = self.parts.values()
        some = f" but for {sum(parts)} of {len(parts)} parts" if any(parts) else ""
        return f"not reproduced{some}, because {self.why}"


class Arm(Protocol):
    """One way to learn, run with several seeds."""

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that its outcome depends on besides the code and the seed, in JSON types."""
        ...

    def run(self, seed: int) -> Outcome:
        """Learn, and measure."""
        ...


@dataclass(frozen=True)
class Lockstep:
    """An agent that learns in lockstep; its value is the mean return of an evaluation.

    Args:
        agent: registered name.
        robot: spec, such as `gym:Pendulum-v1`.
        steps: of the robot.
        updates_per_row: exact; `min_rows` are not caught up with.
        config: of the agent, over its preset.
        preset: named alternative of the agent; None: its paper's settings.
        options: of the robot.
        min_rows: before the first update; all actions before are random.
        episodes: of the evaluation.
    """

    agent: str
    robot: str
    steps: int
    updates_per_row: float = 1.0
    config: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    min_rows: int = 1000
    episodes: int = 10

    @property
    def settings(self) -> dict[str, Any]:
        """All fields."""
        return {"kind": "lockstep", **asdict(self)}

    def run(self, seed: int) -> Outcome:
        """Train and evaluate."""
        start = time.process_time()
        fields = preset(self.agent, self.preset) if self.preset else {}
        config = {**fields, **self.config}
        filled = agent_class(self.agent).config_type.model_validate(config)
        rows = getattr(filled, "batch_size", 1) * getattr(filled, "batch_length", 1)
        result = run(
            self.agent,
            self.robot,
            steps=self.steps,
            seed=seed,
            config=config,
            options=self.options,
            eval_episodes=self.episodes,
            train_ratio=self.updates_per_row * rows,
            min_rows=self.min_rows,
            max_debt=max(32, round(32 * self.updates_per_row)),
        )
        return Outcome(
            result["evaluation_mean"],
            result["curve"],
            {
                "evaluation": result["evaluation"],
                "last_rewards": result["last_rewards"],
                "updates": result["updates"],
                "seconds": result["seconds"],
                "cpu_seconds": round(time.process_time() - start, 1),
            },
        )


@dataclass(frozen=True)
class Script:
    """A run of another kind.

    Args:
        call: seed -> outcome.
        about: what the outcome depends on, in JSON types.
    """

    call: Callable[[int], Outcome]
    about: Mapping[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """The name of the function and what is said about it."""
        return {"kind": "script", "call": self.call.__name__, **self.about}

    def run(self, seed: int) -> Outcome:
        """Call it."""
        return self.call(seed)


@dataclass(frozen=True)
class Claim:
    """What is claimed.

    Args:
        says: the claim in a sentence.
        source: who makes it, and where.
        figure: the source's own number, in words; what it was measured on.
        value: what the numbers of the runs are.
        arms: by name.
        controls: names of the arms without what the claim says helps.
        judge: decides, from the values of all arms; asks for all that `says` says, and no less.
        seeds: that a verdict should rest on.
        chance: whether runs of an arm differ by their seed; where not, one is enough.
        beyond: what kept it from being run here, where something did.
        omits: what of the statement has no arm, and why.
        pictures: names of others than the curves', in `benchmarks/results`.
        axes: of the curves: what they go along, and what they show; empty: the value.
    """

    says: str
    source: str
    figure: str
    value: str
    arms: Mapping[str, Arm]
    controls: tuple[str, ...]
    judge: Callable[[Values], Verdict]
    seeds: tuple[int, ...] = (0, 1, 2)
    chance: bool = True
    beyond: str = ""
    omits: str = ""
    pictures: tuple[str, ...] = ()
    axes: tuple[str, str] = ("control steps", "")


def mean(values: Sequence[float]) -> float:
    """The mean of some numbers."""
    return sum(values) / len(values)


def reaches(arm: str, level: float, control: str) -> Callable[[Values], Verdict]:
    """Judges that every seed of an arm comes to a level, and that no seed of a control does."""

    def judge(values: Values) -> Verdict:
        worst, best = min(values[arm]), max(values[control])
        why = f"the worst seed has {worst:.3g}, the gate is {level:g}, {control} at best {best:.3g}"
        return Verdict(worst >= level > best, why)

    return judge


def in_parts(parts: Mapping[str, bool], figures: str) -> Verdict:
    """Judges a claim that says several things: each must hold, and each is named."""
    said = "; ".join(f"{part}: {'yes' if held else 'no'}" for part, held in parts.items())
    return Verdict(all(parts.values()), f"{said}; {figures}", parts)


def ranges(values: Values, digits: int = 0) -> str:
    """Every arm's mean, with its worst and best seed."""
    return ", ".join(
        f"{arm} {mean(v):.{digits}f} ({min(v):.{digits}f} to {max(v):.{digits}f})"
        for arm, v in values.items()
    )


def blur(some: Sequence[float], others: Sequence[float]) -> float:
    """How far two means may lie apart by chance: twice the standard error of their difference."""
    return 2 * math.sqrt(sum(variance(v) / len(v) for v in (some, others) if len(v) > 1))
