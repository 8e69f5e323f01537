"""Distral (Teh et al. 2017, "Distral: robust multitask reinforcement learning").

Robots of one experiment whose tasks have different names learn a policy p_i of each task, and a
policy p_0 of all. What is maximised is, for all tasks together, the discounted sum of

    r + alpha / beta log p_0(a|s) - 1 / beta log p_i(a|s).

The first term draws a task's policy to the shared one, which is drawn to all of them: what one task
has learned, others try first. This is the soft Q-learning form (section 2.1), off policy: robots
act when they can, and old rows go on teaching. The paper's larger runs have the policy-gradient
form (section 2.2), which needs fresh rows of every task.

Both architectures of the paper are here. With two columns a task's policy is p_0^alpha exp(beta
Q_i), normalised: that is the paper's softmax(alpha h + beta f_i), whose own column f_i is the
task's value and whose other column is the shared policy itself, so that a task moves as soon as the
shared policy does. With one column it is a network of its own, softmax(f_i), drawn to
p_0^alpha exp(beta Q_i).

A policy that is random earns (1 - alpha) / beta times its entropy at every step. Where steps cost
less than that, wandering for ever is worth more than arriving. So what shares nothing, the control,
is not alpha 0 but `floor` 1: the shared policy stays uniform, and all else is as it was.

Instead of networks there can be tables, as in the paper's grid world: a value for each cell, task
and action, and a shared policy for each cell and last action.

What differs from the paper: the shared policy follows KL(p_i || p_0) in replayed states instead of
the actions that were taken there, which are an older policy's; states are not weighted by
discount**t; and the shared policy is mixed with a little of the uniform one, because with alpha 1
an action that it has given up would be lost to all tasks for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from gymnasium import spaces
from pydantic import Field
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everyone uses

from agents.agent import Acting, Actor, Tensors
from agents.blocks.adam import FusedAdam
from agents.blocks.cells import Cells
from agents.blocks.explore import DiscreteExplorer
from agents.blocks.lookup import Descent, Lookup, shares
from agents.blocks.nets import RELU, Dense
from agents.blocks.observe import Features, part
from agents.blocks.off_policy import OffPolicyAgent, OffPolicyConfig, Widths, step
from agents.blocks.policies import Categorical, categorical, told
from agents.blocks.stacks import Members, stack
from agents.blocks.task_book import TaskBook
from agents.blocks.values import distance
from agents.errors import UnsupportedSpace
from robot_client.bundle import NoiseSpec, Signature, TensorSpec
from robot_client.schema import ACTION, EXTRA_PREFIX, TASK_NUMBERS, ActionSpace

_TASK, _PREVIOUS = "task", "previous"


class DistralConfig(OffPolicyConfig):
    """Defaults are the paper's as far as they are known: alpha 0.5 and beta 5 of its grid world."""

    presets = {  # noqa: RUF012 - a ClassVar of the base
        "laptop": {"widths": (64, 64), "shared_widths": (64,), "target_rate": 0.02},
        "table": {
            "tables": True,
            "learning_rate": 0.5,
            "shared_learning_rate": 0.5,
            "target_rate": 1.0,
            "discount": 0.95,
            "alpha": 1.0,
        },
    }

    n_step: int = Field(1, ge=1, le=1, description="What a policy costs is counted step by step.")
    tasks: int = Field(8, ge=1, le=256, description="Most tasks that it learns; others are shown.")
    columns: Literal["one", "two"] = Field(
        "two", description="A task's policy: from the shared one and its own value, or all its own."
    )
    alpha: float = Field(
        0.5, ge=0, le=1, description="Pull of the shared policy; the less, the more entropy earns."
    )
    beta: float = Field(5.0, gt=0, description="Nats of a policy that are worth a return of 1.")
    previous: bool = Field(True, description="Whether the shared policy sees the last action too.")
    floor: float = Field(
        0.02, ge=0, le=1, description="Share of the shared policy that is uniform; 1 shares none."
    )
    widths: Widths = Field((256, 256), description="Hidden layers of each task's networks.")
    shared_widths: Widths = Field((256,), description="Hidden layers of the shared policy.")
    tables: bool = Field(False, description="Tables of cells instead of networks.")
    bins: int = Field(8, ge=1, le=2**16, description="Of tables: cells that a number is cut into.")
    limit: float = Field(3.0, gt=0, description="Of tables: bound of numbers that have none.")
    learning_rate: float = Field(1e-3, gt=0, description="Of the tasks' networks or tables.")
    shared_learning_rate: float = Field(1e-3, gt=0, description="Of the shared policy.")


class SharedNetwork(nn.Module):
    """Observations (B, ...) and one-hot last actions (B, n or 0) -> (B, n) logits."""

    def __init__(self, seen: spaces.Dict, last: int, n: int, widths: Widths) -> None:
        super().__init__()
        self.features = Features(seen)
        width = self.features.width + last
        self.trunk = stack(width, widths)
        inner = [width, *widths][-1]
        self.logits = Dense(inner, n, norm=False, act=False, outscale=0.0, style=RELU)

    def forward(self, obs: Tensors, previous: torch.Tensor) -> torch.Tensor:
        """(B, n)."""
        found: torch.Tensor = self.logits(self.trunk(torch.cat([self.features(obs), previous], -1)))
        return found


class SharedPolicy(nn.Module):
    """Observations (B, ...) and last actions (B, n) -> (B, n) log-probabilities, for all tasks."""

    def __init__(self, seen: spaces.Dict, n: int, config: DistralConfig) -> None:
        super().__init__()
        self.floor, self.last = config.floor, n if config.previous else 0
        self.logits: Lookup | SharedNetwork
        if config.tables:
            self.logits = Lookup(Cells(seen, config.bins, config.limit), self.last, n)
        else:
            self.logits = SharedNetwork(seen, self.last, n, config.shared_widths)

    def forward(self, obs: Tensors, previous: torch.Tensor) -> torch.Tensor:
        """`previous` is one-hot; zeros where nothing has been done yet."""
        logits = self.logits(obs, previous[:, : self.last])
        return categorical(logits, self.floor).log_probs

    def shares(self, obs: Tensors, previous: torch.Tensor) -> torch.Tensor:
        """(B,) how much rows count, see `row_shares`."""
        return row_shares(self.logits, obs, previous[:, : self.last])


class TaskColumns(nn.Module):
    """Observations (B, ...) and one-hot tasks (B, K) -> (B, n) numbers, of a network of each task.

    All tasks see through the same eyes. Of no task, the numbers are 0.
    """

    def __init__(self, seen: spaces.Dict, n: int, tasks: int, widths: Widths) -> None:
        super().__init__()
        self.features = Features(seen)
        self.members = Members(tasks, self.features.width, widths, n)
        nn.init.zeros_(self.members.weights[-1])

    def forward(self, obs: Tensors, task: torch.Tensor) -> torch.Tensor:
        """(B, n)."""
        found: torch.Tensor = self.members(self.features(obs))
        return (found * task.T[..., None]).sum(0)


def task_columns(seen: spaces.Dict, n: int, config: DistralConfig) -> Lookup | TaskColumns:
    """Numbers (B, n) of observations and one-hot tasks, from a table or from networks."""
    if config.tables:
        return Lookup(Cells(seen, config.bins, config.limit), config.tasks, n)
    return TaskColumns(seen, n, config.tasks, config.widths)


def row_shares(
    net: nn.Module, obs: Tensors, choice: torch.Tensor, action: torch.Tensor | None = None
) -> torch.Tensor:
    """(B,) how much the rows of a batch count in a loss: for a network as in their mean, for a
    table so that each place that is learned about, of an action (B,) or of all, has its own mean.
    """
    if not isinstance(net, Lookup):
        return torch.full_like(choice[:, 0], 1 / len(choice))
    place = net.place(obs, choice)
    return shares(place if action is None else place * net.rows.shape[-1] + action.long())


class Minds(nn.Module):
    """Everything that makes policies: which tasks there are, the shared policy, the tasks' values,
    and their own policies where these are networks."""

    def __init__(self, seen: spaces.Dict, n: int, config: DistralConfig) -> None:
        super().__init__()
        self.alpha, self.beta = config.alpha, config.beta
        self.book = TaskBook(config.tasks)
        self.shared = SharedPolicy(seen, n, config)
        self.values = task_columns(seen, n, config)
        self.own = task_columns(seen, n, config) if config.columns == "one" else None

    def policy(self, obs: Tensors, task: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
        """(B, n) log-probabilities of what one does in one's task; the shared ones for none.

        `task` is (B, K) one-hot, `shared` (B, n) log-probabilities.
        """
        if self.own is not None:
            found = torch.log_softmax(self.own(obs, task), -1)
        else:
            found = drawn_policy(self.values(obs, task), shared, self.alpha, self.beta)
        return torch.where(task.sum(-1, keepdim=True) > 0, found, shared)


def drawn_policy(
    values: torch.Tensor, shared: torch.Tensor, alpha: float, beta: float
) -> torch.Tensor:
    """(..., n) log-probabilities of p_0^alpha exp(beta Q), normalised: two columns, added up.

    It is the policy that earns most under `soft_value`'s terms. `values` Q and `shared` log p_0 are
    (..., n).
    """
    return torch.log_softmax(alpha * shared + beta * values, -1)


def soft_value(
    values: torch.Tensor, policy: torch.Tensor, shared: torch.Tensor, alpha: float, beta: float
) -> torch.Tensor:
    """(...) what acting by log-probabilities `policy` is worth, with what that costs:
    sum_a p(a) (Q(a) + alpha / beta log p_0(a) - 1 / beta log p(a)). All arguments are (..., n).

    Of the `drawn_policy` that is 1 / beta log sum_a p_0(a)^alpha exp(beta Q(a)).
    """
    cost = (alpha * shared - policy) / beta
    return (policy.exp() * (values + cost)).sum(-1)


class Distral(OffPolicyAgent):
    """Learns several tasks at once, and what they have in common (Distral)."""

    config_type = DistralConfig
    accepts = ("discrete", "vectors", "images")
    config: DistralConfig
    explorer: DiscreteExplorer

    def _build(self, seen: spaces.Dict, action_space: ActionSpace) -> None:
        if not isinstance(action_space, spaces.Discrete):
            raise UnsupportedSpace("action_space", "Discrete", action_space)
        config, self._n = self.config, int(action_space.n)
        self.minds = Minds(seen, self._n, config).to(self.device)
        self.slow = self._follower(self.minds.values)
        self.explorer = DiscreteExplorer(
            self._n, config.random_first, config.random_last, config.random_updates
        ).to(self.device)
        minds, rate = self.minds, config.learning_rate
        self._optimizers = {"values": self._optimizer(minds.values, rate)}
        self._optimizers["shared"] = self._optimizer(minds.shared, config.shared_learning_rate)
        if minds.own is not None:
            self._optimizers["own"] = self._optimizer(minds.own, rate)

    def _optimizer(self, net: nn.Module, rate: float) -> Descent | FusedAdam:
        return Descent(net.parameters(), rate) if self.config.tables else self._adam(net, rate)

    def acting(self) -> Acting:
        """The policy of the robot's task; the shared one where the task is not known."""
        policy = TaskPolicy(self.minds, self._n, self.explorer)
        return Acting(policy.signature, {"policy": policy})

    @torch.no_grad()
    def target(self, batch: Tensors, task: torch.Tensor) -> torch.Tensor:
        """(B,) what the values of the batch's actions should be, in tasks (B, K)."""
        after, config = part(batch, "next/"), self.config
        shared = self.minds.shared(after, F.one_hot(batch[ACTION].long(), self._n).float())
        values = self.slow.net(after, task)
        if config.columns == "two":
            policy = drawn_policy(values, shared, config.alpha, config.beta)
        else:
            policy = self.minds.policy(after, task, shared)
        following = soft_value(values, policy, shared, config.alpha, config.beta)
        wanted: torch.Tensor = batch["return"] + batch["discount"] * following
        return wanted

    def _learn(self, batch: Tensors, weight: torch.Tensor) -> tuple[Tensors, torch.Tensor]:
        codes, minds = batch[EXTRA_PREFIX + _TASK], self.minds
        minds.book.take_in(codes)
        task = minds.book(codes)
        weight = weight * task.sum(-1)  # nothing is learned from rows of no known task
        metrics, errors = self._learn_values(batch, task, weight)
        previous = batch[EXTRA_PREFIX + _PREVIOUS]
        shared = minds.shared(batch, previous)
        if minds.own is not None:
            loss = self.own_loss(batch, task, shared.detach(), weight)
            metrics |= {"loss/own": loss.detach()}
            step(self._optimizers["own"], loss)
        with torch.no_grad():
            policy = minds.policy(batch, task, shared)
        weight = weight * minds.shared.shares(batch, previous)
        metrics |= self._learn_shared(policy, shared, weight)
        return metrics | minds.book.metrics(), errors * task.sum(-1)

    def own_loss(
        self, batch: Tensors, task: torch.Tensor, shared: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """() how far policies that are networks, one column, are from what would be best: the
        KL(p_i || p_0^alpha exp(beta Q_i) / Z), weighted by (B,)."""
        config, policy = self.config, self.minds.policy(batch, task, shared)
        best = drawn_policy(self.minds.values(batch, task), shared, config.alpha, config.beta)
        assert self.minds.own is not None
        weight = weight * row_shares(self.minds.own, batch, task)
        return (weight * (policy.exp() * (policy - best.detach())).sum(-1)).sum()

    def _learn_values(
        self, batch: Tensors, task: torch.Tensor, weight: torch.Tensor
    ) -> tuple[Tensors, torch.Tensor]:
        found = self.minds.values(batch, task).gather(-1, batch[ACTION].long()[:, None])[:, 0]
        losses, errors = distance(found, self.target(batch, task))
        share = row_shares(self.minds.values, batch, task, batch[ACTION])
        loss = (weight * share * losses).sum()
        norm = step(self._optimizers["values"], loss)
        self.slow.update(self.minds.values)
        value = found.detach().mean()
        return {"loss/values": loss.detach(), "value": value, "grad_norm/values": norm}, errors

    def _learn_shared(
        self, policy: torch.Tensor, shared: torch.Tensor, weight: torch.Tensor
    ) -> Tensors:
        """Draw the shared policy to those of the tasks, by the sum of KL(p_i || p_0), weighted by
        (B,)."""
        apart = (policy.exp() * (policy - shared)).sum(-1)
        loss = (weight * apart).sum()
        norm = step(self._optimizers["shared"], loss)
        entropy = -(policy.exp() * policy).sum(-1).mean()
        return {"loss/shared": loss.detach(), "entropy": entropy, "grad_norm/shared": norm}

    def _kept(self) -> Mapping[str, Any]:
        optimizers = {f"optimizer.{name}": o for name, o in self._optimizers.items()}
        return {"minds": self.minds, "slow": self.slow, **optimizers}


class TaskPolicy(Actor):
    """One control step. It writes down its task and the last action, which are learned from."""

    def __init__(self, minds: Minds, n: int, explorer: DiscreteExplorer) -> None:
        super().__init__()
        self.minds, self.n, self.explorer = minds, n, explorer
        noise = {"sample": NoiseSpec((n,), "gumbel", acts=True)}
        shapes = {_TASK: (TASK_NUMBERS,), _PREVIOUS: (n,)}
        extras = {name: TensorSpec("float32", shape) for name, shape in shapes.items()}
        self.signature = Signature(noise=explorer.noise | noise, extras=extras, task=True)

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        obs, code = part(inputs, "in_"), inputs["in_task_code"]
        goes_on = (~inputs["in_is_first"]).float()[:, None]
        previous = F.one_hot(inputs["in_prev_action"].long(), self.n).float() * goes_on
        task, shared = self.minds.book(code), self.minds.shared(obs, previous)
        policy = self.minds.policy(obs, task, shared)
        choice = (policy + inputs["in_noise_sample"]).argmax(-1)
        done = self.explorer(choice, inputs)
        # Not the inputs themselves: a graph's outputs are its own.
        written = {"out_extra_task": code + 0, "out_extra_previous": previous}
        return {**done, **written, **told(Categorical(policy))}
