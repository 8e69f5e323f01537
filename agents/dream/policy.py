"""What acts on a robot: V's encoder, M's LSTM and C; neither V's decoder nor M's heads.

At each step: encode what is seen as z; act on z and on h *from before z*; then h takes in z and the
action. The last comes here at the beginning of the next step, when it is known what the robot
really did.
"""

from __future__ import annotations

import math
from typing import Literal

import torch

from agents.agent import Actor, Tensors
from agents.blocks.actions import ActionCodec
from agents.blocks.observe import part
from agents.dream.controller import Controller
from agents.dream.mdn_rnn import LSTM, Memory
from agents.dream.population import RANDOM, Population
from agents.dream.senses import Senses
from robot_client.bundle import NoiseSpec, Signature, TensorSpec

# How to act before there is anything to go by: each episode by a controller with parameters drawn
# anew (CarRacing), or by random actions, each held for some steps (Take Cover).
Collection = Literal["controllers", "held"]
CANDIDATE = "candidate"  # extra: who acts in the episode, see `population`


class DreamPolicy(Actor):
    """One control step.

    Args:
        senses, lstm, population, codec: the agent's.
        controller: acts by the vector of the population that the robot has drawn.
        collection: see above.
        spread: of the parameters of random controllers, which are Cauchy.
        hold: most steps that a random action is held.
    """

    def __init__(
        self,
        senses: Senses,
        lstm: LSTM,
        population: Population,
        codec: ActionCodec,
        controller: Controller,
        collection: Collection,
        spread: float,
        hold: int,
    ) -> None:
        super().__init__()
        self.senses, self.lstm, self.population, self.codec = senses, lstm, population, codec
        self.controller, self.collection = controller, collection
        self.spread, self.hold = spread, hold
        numbers = {"h": lstm.units, "c": lstm.units, "vector": controller.parameters}
        numbers |= {"senses": senses.encoder.mean.out_features + senses.seen.width, CANDIDATE: 1}
        wild = controller.parameters
        if collection == "held":
            numbers |= {"held": codec.width, "left": 1}
            wild = 1 + codec.width
        self.signature = Signature(
            carry={name: TensorSpec("float32", (n,)) for name, n in numbers.items()},
            noise={
                "z": NoiseSpec((senses.encoder.mean.out_features,), "normal", acts=False),
                "who": NoiseSpec((), "uniform", acts=True),
                "wild": NoiseSpec((wild,), "uniform", acts=True),
            },
            extras={CANDIDATE: TensorSpec("float32", (1,))},
        )

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        first, carry = inputs["in_is_first"][:, None], part(inputs, "in_carry_")
        done = self.codec.encode(inputs["in_prev_action"])
        memory = self.lstm(torch.cat([carry["senses"], done], -1), Memory(carry["h"], carry["c"]))
        memory = Memory(*(torch.where(first, 0.0, state) for state in memory))
        senses = self.senses(part(inputs, "in_"), inputs["in_noise_z"])
        vector, name = self._who(inputs)
        vector = torch.where(first, vector, carry["vector"])
        name = torch.where(first, name[:, None], carry[CANDIDATE])
        raw, kept = self._raw(inputs, vector, name, senses, memory)
        action = self.codec.decode(raw)
        kept |= {"h": memory.h, "c": memory.c, "senses": senses, "vector": vector}
        found = {f"out_carry_{key}": tensor for key, tensor in kept.items()}
        return found | {
            "out_action": action,
            f"out_carry_{CANDIDATE}": name,
            f"out_extra_{CANDIDATE}": name.clone(),
        }

    def _who(self, inputs: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
        vector, name = self.population.draw(inputs["in_noise_who"])
        if self.collection == "controllers":
            uniform = inputs["in_noise_wild"]
            wild = self.spread * (math.pi * (uniform - 0.5).clamp(-0.4999, 0.4999)).tan()
            vector = torch.where((name == RANDOM)[:, None], wild, vector)
        return vector, name

    def _raw(
        self,
        inputs: Tensors,
        vector: torch.Tensor,
        name: torch.Tensor,
        senses: torch.Tensor,
        memory: Memory,
    ) -> tuple[torch.Tensor, Tensors]:
        """The action in the model's scale, or logits, and what of the carry goes with it."""
        raw = self.controller(vector, senses, memory)
        raw = raw if self.codec.discrete else raw.tanh()
        if self.collection == "controllers":
            return raw, {}
        carry, uniform = part(inputs, "in_carry_"), inputs["in_noise_wild"]
        anew = inputs["in_is_first"][:, None] | (carry["left"] < 0.5)
        held = torch.where(anew, 2 * uniform[:, 1:] - 1, carry["held"])
        left = torch.where(anew, 1 + (uniform[:, :1] * self.hold).floor(), carry["left"]) - 1
        return torch.where(name == RANDOM, held, raw), {"held": held, "left": left}
