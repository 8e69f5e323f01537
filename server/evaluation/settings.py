"""What an experiment says of its evaluations and of its roll-out; both may change while it runs."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

_NO_NUL = r"^[^\x00]*$"  # PostgreSQL takes no others
Robots = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=200, pattern=_NO_NUL)], ...],
    Field(strict=False, max_length=100),
]


class _Settings(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class EvaluationSettings(_Settings):
    """How often the policy is evaluated by itself: as soon as any of the periods has passed since
    the last time. Without a period, only on demand."""

    every_rows: int | None = Field(default=None, ge=1, le=2**53, description="Rows stored.")
    every_minutes: float | None = Field(default=None, gt=0, le=1e6, description="Minutes.")
    every_versions: int | None = Field(default=None, ge=1, le=2**53, description="Versions.")
    episodes: int = Field(default=5, ge=1, le=1000, description="Episodes each time.")
    robots: Robots = Field(default=(), description="Who plays them; none: a robot that is there.")
    replay: bool = Field(default=True, description="Whether their rows are learned from.")


class RolloutSettings(_Settings):
    """The rule by which new versions reach the robots; see `server.evaluation.rule`."""

    automatic: bool = Field(
        default=False, description="Try a version on canaries, promote it, or roll it back."
    )
    canaries: Robots = Field(
        default=(), description="Who tries a version first; none: the first robot that is there."
    )
    episodes: int = Field(
        default=10, ge=2, le=1000, description="Episodes of a version before it is promoted."
    )
    min_episodes: int = Field(
        default=5, ge=2, le=1000, description="Episodes of each side before anything is decided."
    )
    false_alarms: float = Field(
        default=0.05, gt=0, le=0.5, description="Share of equal versions that are rolled back."
    )
    tolerance: float = Field(
        default=0.0, ge=0, le=1e9, description="By how much a mean return may be lower."
    )

    @model_validator(mode="after")
    def _promoted_on_evidence(self) -> RolloutSettings:
        if self.episodes < self.min_episodes:
            raise ValueError("episodes: expected at least min_episodes")
        return self
