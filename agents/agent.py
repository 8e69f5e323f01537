"""What an agent is: the whole interface between an algorithm and the service, on one page.

An agent is plain torch: no files, threads, network, clock or global random state. It receives
batches shaped by its own `demand`, learns, shows what it knows, and yields the graphs that are
exported to the robots: to act by itself, to plan, or both. The recurrent state of what acts is
explicit (`carry`), never hidden.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from gymnasium import spaces
from pydantic import BaseModel, ConfigDict

from robot_client.bundle import Kind, Planning, Signature
from robot_client.schema import ActionSpace, Task

Tensors = dict[str, torch.Tensor]
# Kinds of actions and of observations; goals: `desired_goal` and `achieved_goal` are observed.
Accepted = Literal["continuous", "discrete", "vectors", "images", "goals"]


class AgentConfig(BaseModel):
    """Base of all configurations: frozen, documented field by field, unknown keys refused.

    The defaults are those of the agent's paper. `presets` are named alternatives, such as `laptop`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}


@dataclass(frozen=True)
class Sequences:
    """Windows of T consecutive rows, B at a time. The batch holds, besides the row's columns
    (B, T, ...), `prev_action` (B, ...) executed before the first row, and
    `context/<name>` (B, ...) for each name of `context`: what was stored under `policy/<name>` with
    the row before the window. Where no row goes before, or it has no context, `is_first` is set.
    A window that reaches its episode's end early goes on with another episode's rows; `is_first`
    marks where, and `is_last` is set before it: no information crosses."""

    batch: int
    length: int
    context: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trials(Sequences):
    """Windows; and with them what whole episodes came to, each told once, at most `trials` at a
    time and in the order in which they ended: `trial/return` (E,), `trial/steps` (E,), which is 0
    where no more have ended, and `trial/<name>` (E, ...), the extras of their first row.

    Told are episodes in which a policy acted from the first row to the last, exploring, and that
    nobody ended before their time."""

    trials: int = 64


@dataclass(frozen=True)
class Transitions:
    """B rows with their n-step successors: columns (B, ...) of the row, and `policy/<name>` as the
    policy's extras were, zeros where none acted; `next/<obs>` n rows on (or at the episode's end),
    `return` the discounted sum of the rewards between, `discount` the factor of the value of the
    successor: discount**n, or 0 where it is terminal. With a `priority` above 0 a row is drawn in
    proportion to that power of what `Learned` last said of it, and `chance` (B,) is by how much
    that was likelier than drawing uniformly."""

    batch: int
    n_step: int = 1
    discount: float = 0.99
    priority: float = 0.0


@dataclass(frozen=True)
class GoalTransitions(Transitions):
    """Transitions of a task with goals, a share of them with the goal put in afterwards that was
    achieved somewhere later in the episode, at its end, or anywhere in it: `<desired>` and
    `next/<desired>` are replaced, and the task's reward and end are those of the new goal."""

    relabelled: float = 0.8
    strategy: Literal["future", "final", "episode"] = "future"


@dataclass(frozen=True)
class Arrivals(Transitions):
    """Transitions as they come: each is served once, oldest first, and none is replayed."""


@dataclass(frozen=True)
class Taught(Transitions):
    """Transitions of which a teacher has said what it would do there. `teacher/action` (B, ...) is
    its likeliest action, and `teacher/valued` (B,) tells what else it said (see
    `robot_client.bundle`). Of choices, `teacher/scores` (B, n) are then values, or 1 for its action
    alone, and else logits; of numbers, `teacher/mean` and `teacher/std` (B, A) are then its own.
    `teacher/task` (B, TASK_NUMBERS) is the code of the teacher's task, zeros where it has none."""


@dataclass(frozen=True)
class OnPolicy:
    """Rollouts of T rows of a robot, oldest first, of at most `max_lag` versions of age, with
    `policy/<name>` (B, T, ...) as the policy's extras were. Each row is served once, but for the
    last `overlap` of a rollout, with which the robot's next one begins: what happened between two
    rows is known only where both are."""

    batch: int
    length: int
    max_lag: int
    overlap: int = 0


@dataclass(frozen=True)
class Nothing:
    """The agent learns nothing from data."""


Demand = Sequences | Transitions | OnPolicy | Nothing


@dataclass(frozen=True)
class Learned:
    """What one update yields. Everything stays on the device.

    Args:
        metrics: scalars.
        context: (B, T, ...) recomputed `context/<name>` of the rows of the batch, to be stored.
        priority: (B,) how much there is to learn from each row, at least 0, if that is demanded.
    """

    metrics: Tensors
    context: Tensors = field(default_factory=dict)
    priority: torch.Tensor | None = None


class Graph(torch.nn.Module):
    """A pure function of named tensors; see `robot_client.bundle` for names and shapes.

    `forward` takes and returns dicts keyed like the graph's inputs and outputs. Batch axis first.
    """

    def forward(self, inputs: Tensors) -> Tensors:
        """One control step, or one imagined step."""
        raise NotImplementedError


class Actor(Graph):
    """The graph `policy` together with its signature."""

    signature: Signature


@dataclass(frozen=True)
class Acting:
    """Everything that acts for an agent on a robot.

    Graphs that share a module hold it under the same attribute name: it then travels once.

    Args:
        signature: of the graphs `policy` and `filter`.
        graphs: by name: `policy`, or `filter` and `imagine`, or all; `propose` and `value` if any.
        planning: for the graphs that plan; goes with them.
        kind: how a robot acts unless it is told otherwise.
    """

    signature: Signature
    graphs: Mapping[str, Graph]
    planning: Planning | None = None
    kind: Kind = "actor"


class Agent(ABC):
    """A learning algorithm. Construct with (observation_space, action_space, config, device)."""

    config_type: ClassVar[type[AgentConfig]]
    accepts: ClassVar[tuple[Accepted, ...]] = ("continuous", "discrete", "vectors", "images")
    demand: Demand
    device: torch.device
    task: Task | None = None  # what the robots are to do, set before anything is asked of the agent

    @abstractmethod
    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: ActionSpace,
        config: AgentConfig,
        device: torch.device,
    ) -> None:
        """Build the networks. Raises errors.UnsupportedSpace when the spaces do not fit."""

    @abstractmethod
    def acting(self) -> Acting:
        """What acts. Shares the agent's parameters: it acts as the agent has learned so far."""

    @abstractmethod
    def train(self, batch: Tensors) -> Learned:
        """One update on one batch of `demand`."""

    def report(self, batch: Tensors) -> dict[str, torch.Tensor]:
        """Pictures of what the agent knows: name -> video (T, H, W, C) uint8, or curves (T, K)."""
        return {}

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on as if nothing had happened: flat name -> tensor."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`; raises KeyError or ValueError when names or shapes differ."""
