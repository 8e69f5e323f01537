"""How a robot acts with a bundle: by its policy, or by planning in its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from robot_client.actor_policy import ActorPolicy, Graphs
from robot_client.bundle import Kind, Manifest, PlanSettings
from robot_client.clock import Clock, FreeRunningClock
from robot_client.errors import BundleError
from robot_client.planner_policy import PlannerPolicy
from robot_client.schema import ActionSpace

BUDGET_SHARE = 0.7  # of the control period; the rest is for sensors, safety and the row


class CannotAct(BundleError):
    """The bundle is good, but not for the way in which this robot is told to act."""


@dataclass(frozen=True)
class Act:
    """How to act.

    Args:
        kind: None takes the bundle's own.
        plan: fields of `PlanSettings` that replace the bundle's.
        budget_s: seconds for a planned action; None for as long as it takes.
        clock: of the budget.
        task: name of the robot's, for policies that tell tasks apart.
    """

    kind: Kind | None = None
    plan: Mapping[str, Any] = field(default_factory=dict)
    budget_s: float | None = None
    clock: Clock = field(default_factory=FreeRunningClock)
    task: str = ""

    def graphs(self, manifest: Manifest) -> tuple[str, ...]:
        """Names of the graphs that acting takes. Raises CannotAct when the bundle lacks one."""
        kind = self.kind or manifest.kind
        needed = ("policy",) if kind == "actor" else ("filter", "imagine")
        missing = [name for name in needed if name not in manifest.graphs]
        if missing or (kind == "planner" and manifest.planning is None):
            raise CannotAct(
                f"version {manifest.version} of {manifest.agent} cannot act as {kind}: it has the"
                f" graphs {sorted(manifest.graphs)}, and {', '.join(needed)} are needed"
            )
        if kind == "actor":
            return needed
        wanted = ("propose", "value") if self.settings(manifest).proposals else ("value",)
        return (*needed, *(name for name in wanted if name in manifest.graphs))

    def told(self, manifest: Manifest) -> str:
        """In words, what acts when this bundle does."""
        kind = self.kind or manifest.kind
        text = f"version {manifest.version} of {manifest.agent}, experiment {manifest.experiment}"
        if self.plan and kind == "actor":
            return f"{text}; it acts without planning, so --plan has no effect (--act planner)"
        return text

    def settings(self, manifest: Manifest) -> PlanSettings:
        """Those of a bundle that plans, as changed here. Raises CannotAct for a wrong field."""
        assert manifest.planning is not None
        try:
            return replace(manifest.planning.settings, **self.plan)
        except (TypeError, ValueError) as error:
            raise CannotAct(f"plan settings {dict(self.plan)}: {error}") from error

    def policy(
        self, manifest: Manifest, graphs: Graphs, action_space: ActionSpace
    ) -> ActorPolicy | PlannerPolicy:
        """A policy that runs `graphs`, which has those of `self.graphs`.

        Raises CannotAct.
        """
        names = self.graphs(manifest)
        if names == ("policy",):
            return ActorPolicy(manifest, graphs, action_space, self.task)
        settings = self.settings(manifest)
        try:
            return PlannerPolicy(
                *(manifest, graphs, names, action_space, settings, self.clock, self.budget_s),
                task=self.task,
            )
        except ValueError as error:
            raise CannotAct(str(error)) from error
