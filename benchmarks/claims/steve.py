"""STEVE's chain: a model helps, a wrong one hurts, and their disagreement tells which."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from agents.blocks.expansion import horizon_values, steve
from benchmarks.claims.claim import Claim, Outcome, Values, Verdict, in_parts, mean, ranges

STATES = 100  # 0 to 99, from which it goes on to the end; a step earns -1, the last one 100
CRITICS, MODELS, HORIZON = 8, 8, 5
UPDATES, SHOWN = 1450, 50
WRONG = 0.1  # how often a wrong model jumps anywhere
ALIKE = 1.1  # times the error without a model, that counts as no worse


@dataclass(frozen=True)
class Chain:
    """Tables of values, each told by all for one random state per update.

    Args:
        horizon: steps of the model in a target.
        wrong: how often the model jumps anywhere.
        weighted: whether all horizons count, as far as they are agreed on, or the longest alone.
    """

    horizon: int
    wrong: float = 0.0
    weighted: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """All that there is."""
        return {"kind": "chain", "updates": UPDATES, **asdict(self)}

    def run(self, seed: int) -> Outcome:
        """The mean squared error of the mean table."""
        rng = torch.Generator().manual_seed(seed)
        values = torch.randint(STATES, (CRITICS, STATES + 1), generator=rng).double()
        values[:, STATES] = 0
        truth = torch.arange(1, STATES + 1).double()  # 100, less the steps before the last
        curve = []
        for update in range(1, UPDATES + 1):
            for critic in range(CRITICS):
                state = int(torch.randint(STATES, (), generator=rng))
                found = self._candidates(values, state, rng)
                values[critic, state] = steve(found)[0] if self.weighted else found[-1].mean()
            if update % SHOWN == 0:
                error = (values.mean(0)[:STATES] - truth).square().mean()
                curve.append((float(update), float(error)))
        return Outcome(curve[-1][1], curve)

    def _candidates(self, values: torch.Tensor, state: int, rng: torch.Generator) -> torch.Tensor:
        """(H + 1, models * critics): what the state is worth, by each horizon."""
        at = torch.full((MODELS,), state)
        rewards, going_on, following = [], [], []
        for step in range(self.horizon + 1):
            ended = at >= STATES
            earned = torch.where(at == STATES - 1, 100.0, -1.0).double()
            rewards.append(torch.where(ended, 0.0, earned))
            going_on.append((~ended).double())
            jumps = torch.rand(MODELS, generator=rng) < self.wrong
            anywhere = torch.randint(STATES + 1, (MODELS,), generator=rng)
            # The first step is the real one.
            jumps = jumps & ~ended & bool(step)
            at = torch.where(jumps, anywhere, (at + 1).clamp(max=STATES))
            following.append(values[:, at])
        reward, factor = (torch.stack(part)[:, None] for part in (rewards, going_on))
        return horizon_values(reward, factor, torch.stack(following)).flatten(1)


def judge(values: Values) -> Verdict:
    """A true model beats none, a wrong one is worse than none, and with weights it is not."""
    means = {arm: mean(found) for arm, found in values.items()}
    none = means["no model"]
    return in_parts(
        {
            "a true model helps": means["true model"] < none,
            "a wrong one hurts": means["wrong model"] > none,
            "weights save from it": means["weighted"] < ALIKE * none,
        },
        ranges(values),
    )


CLAIM = Claim(
    says="Following a model helps if it is right and hurts if it is wrong; weighing horizons by"
    " how well models and critics agree saves from a wrong one.",
    source="Buckman et al. 2018, section 4.1",
    figure="a picture: with a wrong model MVE ends above Q-learning, STEVE below",
    value=f"mean squared error of the values after {UPDATES} updates",
    axes=("updates", "mean squared error of the values"),
    arms={
        "weighted": Chain(HORIZON, WRONG, weighted=True),
        "no model": Chain(0),
        "true model": Chain(HORIZON),
        "wrong model": Chain(HORIZON, WRONG),
    },
    controls=("no model", "true model", "wrong model"),
    judge=judge,
)
