"""Dyna-Q (Sutton 1990, "Integrated architectures for learning, planning, and reacting"; Sutton and
Barto, "Reinforcement learning", 2nd edition, sections 8.2 to 8.4), on tables.

Each real transition changes the value of its action, and what the model says of it; then the same
update is made `steps` times of what the model says of pairs that were seen before. Dyna-Q+ adds to
imagined rewards what is due for not having tried a pair for long. Prioritised sweeping (Moore and
Atkeson 1993) goes where the values are most wrong, and from there backwards, instead of anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from pydantic import Field, field_validator, model_validator
from torch import nn

from agents.agent import Acting, Actor, Agent, AgentConfig, Arrivals, Learned, Tensors, Transitions
from agents.blocks.cells import Cells
from agents.blocks.explore import DiscreteExplorer
from agents.blocks.observe import part
from agents.blocks.state import (
    check_pattern,
    chosen,
    flat_state,
    load_flat_state,
    restore_generator,
)
from agents.blocks.tables import TableModel
from agents.errors import UnsupportedSpace
from robot_client.bundle import NoiseSpec, Signature
from robot_client.schema import ACTION, ActionSpace

MAX_PAIRS = 2**22


class DynaQConfig(AgentConfig):
    """Defaults are those of the book's maze (example 8.1), with 5 planning steps."""

    presets = {  # noqa: RUF012 - a ClassVar of the base
        "plus": {"learning_rate": 1.0, "steps": 10, "bonus": 1e-4},
        "sweeping": {"learning_rate": 0.5, "sweep": 1e-4},
    }

    keys: str = Field(".*", description="Regular expression: the observations it sees.")
    bins: int = Field(8, ge=1, le=2**16, description="Cells that each number is cut into.")
    limit: float = Field(3.0, gt=0, description="Bound of numbers that have none of their own.")
    learning_rate: float = Field(0.1, gt=0, le=1, description="Share of an error that is mended.")
    discount: float = Field(0.95, ge=0, le=1, description="Per step.")
    random_share: float = Field(0.1, ge=0, le=1, description="Of the actions.")
    steps: int = Field(5, ge=0, description="Planning updates per real transition.")
    outcomes: int = Field(
        1, ge=1, le=256, description="The model keeps of each pair; 1: the last, deterministic."
    )
    bonus: float = Field(
        0.0, ge=0, description="Dyna-Q+: imagined reward per root of the steps since the last try."
    )
    sweep: float = Field(
        0.0, ge=0, description="Least error that sweeping mends, in units of return; 0: anywhere."
    )
    replayed: bool = Field(
        False, description="Learn from replayed transitions: of use with 0 steps, to compare."
    )
    batch_size: int = Field(1, ge=1, description="Transitions per update, one after the other.")

    @field_validator("keys")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        return check_pattern(pattern)

    @model_validator(mode="after")
    def _goes_together(self) -> DynaQConfig:
        if self.bonus and self.sweep:
            raise ValueError("bonus: expected 0 with sweep, whose order it would not go into")
        if self.replayed and self.steps:
            raise ValueError("steps: expected 0 with replayed, which is there to do without them")
        return self


class DynaQ(Agent):
    """Learns a table of values from what happens, and from what a table of that says would."""

    config_type = DynaQConfig
    accepts = ("discrete", "vectors")

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: ActionSpace,
        config: AgentConfig,
        device: torch.device,
    ) -> None:
        assert isinstance(config, DynaQConfig), type(config)
        if not isinstance(action_space, spaces.Discrete):
            raise UnsupportedSpace("action_space", "Discrete", action_space)
        self.config, self.actions = config, int(action_space.n)
        self.device = torch.device("cpu")  # a GPU would take longer over a single number
        self.cells = Cells(chosen(observation_space, config.keys), config.bins, config.limit)
        pairs = self.cells.n * self.actions
        if pairs > MAX_PAIRS:
            raise UnsupportedSpace("observation", f"at most {MAX_PAIRS} pairs", f"{pairs} of them")
        kind = Transitions if config.replayed else Arrivals
        self.demand = kind(config.batch_size, discount=config.discount)
        self.model = TableModel(pairs, config.outcomes)
        self.table = Table(self.cells.n, self.actions)
        share = config.random_share
        self.explorer = DiscreteExplorer(self.actions, share, share, 1)
        self._generator = torch.Generator().manual_seed(torch.initial_seed() % 2**63)

    def acting(self) -> Acting:
        """The best action of the table."""
        policy = TablePolicy(self.cells, self.table, self.explorer)
        return Acting(policy.signature, {"policy": policy})

    def train(self, batch: Tensors) -> Learned:
        """Updates from each of (B,) transitions in turn, and as many more as are to be planned."""
        pairs = self.cells(batch) * self.actions + batch[ACTION]
        columns = (pairs, batch["return"], self.cells(part(batch, "next/")), batch["discount"])
        errors = [self._live(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]
        self.explorer.update(torch.tensor(self.model.time))
        metrics = {"error": float(np.mean(np.abs(errors))), "known": float(self.model.size)}
        found = {name: torch.tensor(value) for name, value in metrics.items()}
        return Learned({**found, "random_share": self.explorer.share.clone()})

    def state_dict(self) -> dict[str, Any]:
        """The tables, exploration and random state."""
        return {**flat_state(self._kept()), "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        load_flat_state(self._kept(), state)
        restore_generator(self._generator, state["generator"].cpu())

    def _kept(self) -> dict[str, Any]:
        return {"table": self.table, "model": self.model, "explorer": self.explorer}

    def _live(self, pair: int, reward: float, following: int, discount: float) -> float:
        """One real transition; the error of its value."""
        table = self.table
        error = reward + discount * float(table.best[following]) - float(table.flat[pair])
        self.model.learn(pair, reward, following, discount)
        if self.config.sweep:
            self._queue(pair)
            self._sweep()
            return error
        table.move(pair, self.config.learning_rate * error)
        if self.config.bonus:
            self._assume(pair)
        self._plan()
        return error

    def _plan(self) -> None:
        """Update pairs drawn uniformly from the known ones (Tabular Dyna-Q, step f)."""
        steps, model, table = self.config.steps, self.model, self.table
        for index in torch.randint(model.size, (steps,), generator=self._generator).tolist():
            pair = model.pair(index)
            overdue = (model.time - int(model.tried[pair])) ** 0.5
            target = model.expected(pair, table.best) + self.config.bonus * overdue
            table.move(pair, self.config.learning_rate * (target - float(table.flat[pair])))

    def _assume(self, pair: int) -> None:
        """Whatever was not tried in a state leads back to it (the book's footnote on Dyna-Q+)."""
        state = pair // self.actions
        for other in range(state * self.actions, (state + 1) * self.actions):
            self.model.assume(other, state, self.config.discount)

    def _queue(self, pair: int) -> None:
        """Remember how wrong the value of a pair is, if that is worth it."""
        table = self.table
        error = abs(self.model.expected(pair, table.best) - float(table.flat[pair]))
        table.urgency[pair] = error if error > self.config.sweep else 0.0

    def _sweep(self) -> None:
        """Mend the most urgent pairs, and look at those that lead to them."""
        table, model = self.table, self.model
        for _ in range(max(self.config.steps, 1)):
            pair = int(table.urgency.argmax())
            if not table.urgency[pair]:
                return
            error = model.expected(pair, table.best) - float(table.flat[pair])
            table.move(pair, self.config.learning_rate * error)
            self._queue(pair)
            for other in model.before(pair // self.actions):
                self._queue(other)


class Table(nn.Module):
    """Values of S states and A actions; `best` (S,) is kept with them."""

    values: torch.Tensor

    def __init__(self, states: int, actions: int) -> None:
        super().__init__()
        self.actions = actions
        self.register_buffer("values", torch.zeros(states, actions))
        best, urgency = torch.zeros(states), torch.zeros(states * actions)
        self.register_buffer("_best", best)
        self.register_buffer("_urgency", urgency)
        # Arrays that share the buffers' memory.
        self.rows, self.best, self.urgency = self.values.numpy(), best.numpy(), urgency.numpy()
        self.flat = self.rows.reshape(-1)

    def move(self, pair: int, change: float) -> None:
        """Add to the value of a pair."""
        self.flat[pair] += change
        state = pair // self.actions
        self.best[state] = self.rows[state].max()


class TablePolicy(Actor):
    """One control step: the best action, any of them if there are several."""

    values: torch.Tensor

    def __init__(self, cells: Cells, table: Table, explorer: DiscreteExplorer) -> None:
        super().__init__()
        self.cells, self.explorer = cells, explorer
        self.register_buffer("values", table.values)
        ties = NoiseSpec((table.actions,), "uniform", acts=True)
        self.signature = Signature(noise={**explorer.noise, "ties": ties})

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        values = self.values[self.cells(part(inputs, "in_"))]
        best = values == values.amax(-1, keepdim=True)
        choice = torch.where(best, inputs["in_noise_ties"], -1.0).argmax(-1)
        return {**self.explorer(choice, inputs), "out_q": values}
