"""World Models (Ha and Schmidhuber 2018, "Recurrent world models facilitate policy evolution").

Four phases, one after the other: the robots act at random; V learns to code single pictures; M
learns what comes next, on V's codes; C, a linear controller that sees both, is evolved by CMA-ES
(an evolution strategy; the lecture says genetic algorithm), on the robots or within M alone.
Robots go on acting at random until C is evolved, and then by its candidates; see
`agents.dream.population` for how these come to the robots. Evaluations are of the distribution's
mean, not of the luckiest candidate, as the paper's retests of the best would have it.

What differs from the paper and its code: M always learns rewards and ends too (there Doom's learns
ends, CarRacing's neither), and its state is blank at an episode's start instead of a flag saying
so. M learns from windows whose pictures are coded anew with each batch, not from whole episodes of
stored codes; where a window begins within an episode, its first rows only warm the state up. The
codes are drawn from V's distribution in training and acting alike, as in the code. C has outputs
as the robot's actions are, each with a bias; for Take Cover the paper's has one, without a bias,
whose sign is the move (1,088 numbers). The lecture lets any of these agents learn in its dreams, if
it foretells the reward; the paper dreams of Take Cover only, whose reward is to be alive, so that
M must foretell the end. CarRacing's C was evolved on the real tracks there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from pydantic import Field, field_validator, model_validator
from torch import nn

from agents.agent import Acting, Agent, AgentConfig, Learned, Tensors, Trials
from agents.blocks.actions import ActionCodec
from agents.blocks.adam import FusedAdam
from agents.blocks.evolution import Evolution
from agents.blocks.state import (
    check_pattern,
    chosen,
    flat_state,
    load_flat_state,
    restore_generator,
    twin,
)
from agents.dream.controller import Controller, Sees
from agents.dream.dreaming import Dreamt, dream
from agents.dream.learning import Warmth, memory_loss
from agents.dream.mdn_rnn import MDNRNN
from agents.dream.pictures import films, shown
from agents.dream.policy import CANDIDATE, Collection, DreamPolicy
from agents.dream.population import RANDOM, Contest, Population
from agents.dream.senses import Seen, Senses
from agents.dream.starts import Starts
from agents.dream.vae import VAE
from agents.errors import UnsupportedSpace
from robot_client.schema import IS_FIRST, ActionSpace

MAX_PARAMETERS = 4096  # of C: CMA-ES keeps and decomposes a matrix of its square
PHASES = ("collect", "vision", "memory", "control")
_TRIALS = 64  # episodes that are told at once
_DREAMS, _DREAM_STEPS = 4, 64  # in the report


class WorldModelsConfig(AgentConfig):
    """Defaults are CarRacing's, but for how much is learned from how much: `memory_updates`."""

    presets = {  # noqa: RUF012 - a ClassVar of the base
        "laptop": {
            "latent": 8,
            "units": 64,
            "components": 3,
            "batch_size": 16,
            "batch_length": 32,
            "collect_episodes": 100,
            "collection": "held",
            "hold": 1,
            "vision_learning_rate": 1e-3,
            "vision_updates": 1500,
            "memory_updates": 1000,
            "population": 24,
            "episodes": 4,
            "spread": 0.1,
            "evolve": "dream",
        },
        "take-cover": {
            "latent": 64,
            "units": 512,
            "sees": "zhc",
            "collection": "held",
            "evolve": "dream",
            "temperature": 1.15,
            "dream_steps": 525,
        },
    }

    keys: str = Field(".*", description="Regular expression: the observations it sees.")
    batch_size: int = Field(16, ge=1, description="Windows per update.")
    batch_length: int = Field(128, ge=2, description="Rows per window.")
    collect_episodes: int = Field(10_000, ge=0, description="At random, before V learns.")
    collection: Collection = Field(
        "controllers",
        description="Random episodes: by a controller drawn for each, or by actions held.",
    )
    spread: float = Field(0.01, gt=0, description="Of the parameters of random controllers.")
    hold: int = Field(10, ge=1, description="Steps that a random action is held at most.")
    latent: int = Field(32, ge=1, description="Numbers that V codes a picture with.")
    frames: int = Field(100, ge=1, description="Pictures of a batch that V learns from.")
    free: float = Field(0.5, ge=0, description="Nats per latent number that cost nothing more.")
    vision_learning_rate: float = Field(1e-4, gt=0, description="Of V.")
    vision_updates: int = Field(20_000, ge=0, description="Of V, before M learns.")
    units: int = Field(256, ge=1, description="Of M's LSTM.")
    components: int = Field(5, ge=1, description="Of the mixture for each number.")
    memory_learning_rate: float = Field(1e-3, gt=0, description="Of M.")
    memory_updates: int = Field(
        4000, ge=0, description="Of M, before C is evolved; 0 leaves it untrained, to compare."
    )
    clip: float = Field(1.0, gt=0, description="Largest number in M's gradient.")
    burn_in: int = Field(
        16, ge=0, description="Rows of a window within an episode that M is not judged by."
    )
    done_weight: float = Field(10.0, gt=0, description="Of rows that end an episode, in M's loss.")
    sees: Sees = Field("zh", description="C: the code z, M's output h, its cell c.")
    hidden: int = Field(0, ge=0, description="C: tanh units between, 40 in the paper; 0: linear.")
    population: int = Field(64, ge=4, description="Candidates of a generation.")
    episodes: int = Field(16, ge=1, description="That each candidate is judged by.")
    deviation: float = Field(0.1, gt=0, description="Of the first candidates' parameters.")
    evolve: Literal["robots", "dream"] = Field(
        "robots", description="Where candidates are tried: for real, or in M alone."
    )
    temperature: float = Field(1.0, gt=0, description="Of dreams: more is less certain.")
    dream_steps: int = Field(1000, ge=1, description="Longest dream.")

    @field_validator("keys")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        return check_pattern(pattern)

    @model_validator(mode="after")
    def _goes_together(self) -> WorldModelsConfig:
        if self.evolve == "dream" and not self.memory_updates:
            raise ValueError("memory_updates: expected some where C is evolved in dreams, got 0")
        if self.burn_in >= self.batch_length:
            most = self.batch_length - 1
            raise ValueError(f"burn_in: expected at most {most} of a window, got {self.burn_in}")
        return self


class WorldModels(Agent):
    """Learns to see, then to foretell, then evolves who acts on that (World Models)."""

    config_type = WorldModelsConfig
    accepts = ("continuous", "discrete", "images")

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: ActionSpace,
        config: AgentConfig,
        device: torch.device,
    ) -> None:
        assert isinstance(config, WorldModelsConfig), type(config)
        self.config, self.device = config, device
        self.demand = Trials(config.batch_size, config.batch_length, trials=_TRIALS)
        self.seen = Seen(chosen(observation_space, config.keys))
        self.codec = ActionCodec(action_space).to(device)
        width = config.latent + self.seen.width
        actions = self.codec.width
        self.controller = Controller(width, config.units, actions, config.sees, config.hidden)
        if self.controller.parameters > MAX_PARAMETERS:
            remedy = "fewer units, hidden or latent, sees = z, or keys that leave some out"
            expected = f"a controller of at most {MAX_PARAMETERS} parameters ({remedy})"
            got = f"{self.controller.parameters} for {actions} numbers of an action"
            raise UnsupportedSpace("action_space", expected, got)
        self.vae = VAE(self.seen.side, sum(self.seen.channels), config.latent).to(device)
        self.senses = Senses(self.seen, self.vae.encoder)
        self.model = MDNRNN(width, actions, config.units, config.components).to(device)
        self.starts = Starts(width).to(device)
        self.population = Population(config.population, self.controller.parameters).to(device)
        self._learners = {
            "vision": FusedAdam(self.vae.parameters(), config.vision_learning_rate),
            "memory": FusedAdam(self.model.parameters(), config.memory_learning_rate),
        }
        seed = torch.initial_seed() % 2**63
        blank = np.zeros(self.controller.parameters)
        evolution = Evolution(blank, config.deviation, config.population, seed)
        self.contest = Contest(evolution, self.population, config.episodes)
        self._generator = torch.Generator(device).manual_seed(seed)
        self._done = {"collect": 0, "vision": 0, "memory": 0}

    @property
    def phase(self) -> str:
        """One of `PHASES`: the first of which not enough has been done."""
        config = self.config
        wanted = (config.collect_episodes, config.vision_updates, config.memory_updates)
        unfinished = (p for p, n in zip(PHASES, wanted, strict=False) if self._done[p] < n)
        return next(unfinished, "control")

    def acting(self) -> Acting:
        """Encoder, LSTM and the whole population."""
        config = self.config
        policy = DreamPolicy(
            self.senses,
            self.model.lstm,
            self.population,
            self.codec,
            self.controller,
            config.collection,
            config.spread,
            config.hold,
        )
        return Acting(policy.signature, {"policy": policy})

    def train(self, batch: Tensors) -> Learned:
        """One update of what its phase is about; in dreams, one generation of C."""
        phase = self.phase
        metrics = {"phase": torch.tensor(float(PHASES.index(phase)))}
        self._hear(batch, phase)
        if phase == "vision":
            metrics |= self._learn_to_see(batch)
        elif phase == "memory":
            metrics |= self._learn_to_foretell(batch)
        elif phase == "control":
            metrics |= self._evolve(batch)
        if phase in ("vision", "memory"):
            self._done[phase] += 1
        self.population.collecting.fill_(float(self.phase != "control"))
        metrics |= {"collected": torch.tensor(float(self._done["collect"]))}
        return Learned({name: value.to(self.device) for name, value in metrics.items()})

    def report(self, batch: Tensors) -> dict[str, torch.Tensor]:
        """Windows beside what V makes of them, and what M dreams under C.

        What is learned does not depend on it.
        """
        mean, chance = self.population.vectors[:1], twin(self._generator)
        with torch.no_grad():
            obs = {key: batch[key][:_DREAMS] for key in self.seen.pictures}
            pixels = self.seen.pixels(obs)
            code, _ = self.vae.encoder(pixels.flatten(0, 1))
            drawn = self.vae.decoder(code).reshape(pixels.shape)
            dreamt = self.dream(mean, _DREAMS, _DREAM_STEPS, chance).senses
            dreams = self.vae.decoder(dreamt[..., : self.config.latent].flatten(0, 1))
            pictures = dreams.reshape(*dreamt.shape[:2], *pixels.shape[2:])
        first = self.seen.channels[0]
        return {"seen": films([pixels, drawn], first), "dreamt": shown(pictures, first)}

    def dream(
        self, vectors: torch.Tensor, episodes: int, steps: int, chance: torch.Generator
    ) -> Dreamt:
        """Episodes in M, so many for each of the controllers (P, n), from starts that were seen."""
        starts = self.starts.draw(episodes, chance)
        return dream(
            self.model,
            self.controller,
            self.codec,
            vectors,
            starts,
            steps,
            self.config.temperature,
            chance,
        )

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers, evolution, counters and random state."""
        own = {"done": torch.tensor(list(self._done.values()))}
        own |= {"generator": self._generator.get_state()}
        return flat_state(self._kept()) | own

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        load_flat_state(self._kept(), state)
        self._done = dict(zip(self._done, state["done"].tolist(), strict=True))
        self.population.collecting.fill_(float(self.phase != "control"))
        restore_generator(self._generator, state["generator"].cpu())

    def _kept(self) -> dict[str, Any]:
        modules = {"vae": self.vae, "model": self.model, "starts": self.starts}
        return {**modules, **self._learners, "contest": self.contest}

    def _hear(self, batch: Tensors, phase: str) -> None:
        """Of episodes that have ended."""
        told = batch["trial/steps"] > 0
        names = batch[f"trial/{CANDIDATE}"][:, 0][told].tolist()
        self._done["collect"] += names.count(RANDOM)
        if phase == "control" and self.config.evolve == "robots":
            self.contest.credit(names, batch["trial/return"][told].tolist())

    def _learn_to_see(self, batch: Tensors) -> Tensors:
        pixels = self.seen.pixels(batch).flatten(0, 1)
        order = torch.randperm(len(pixels), generator=self._generator, device=self.device)
        pixels = pixels[order[: self.config.frames]]
        losses = self.vae.loss(pixels, self._normal(len(pixels)), self.config.free)
        self._step("vision", losses["total"], self.vae)
        return {f"vision/{name}": loss.detach() for name, loss in losses.items()}

    def _learn_to_foretell(self, batch: Tensors) -> Tensors:
        senses = self._sense(batch)
        warmth = Warmth(self.config.burn_in, self.config.done_weight)
        losses = memory_loss(self.model, self.codec, batch, senses, warmth)
        self._step("memory", losses["total"], self.model, self.config.clip)
        return {f"memory/{name}": loss.detach() for name, loss in losses.items()}

    def _evolve(self, batch: Tensors) -> Tensors:
        if self.config.evolve == "dream":
            self._sense(batch)  # for the starts that are in it
            vectors = self.population.vectors[1:]
            episodes, steps = self.config.episodes, self.config.dream_steps
            dreamt = self.dream(vectors, episodes, steps, self._generator)
            scores = dreamt.returns.reshape(len(vectors), -1).mean(-1)
            self.contest.tell(scores.double().cpu().numpy())
        mean, best = self.contest.told
        evolution = self.contest.evolution
        numbers = {"generation": evolution.generation, "deviation": evolution.deviation}
        found = {f"control/{name}": torch.tensor(float(n)) for name, n in numbers.items()}
        return found | {"control/mean": mean.float(), "control/best": best.float()}

    @torch.no_grad()
    def _sense(self, batch: Tensors) -> torch.Tensor:
        """(B, T, S) what the pictures of a batch are coded with, drawn anew, and the rest."""
        lead = batch[IS_FIRST].shape
        keys = [*self.seen.pictures, *(self.seen.others.keys if self.seen.others else [])]
        obs = {key: batch[key].flatten(0, 1) for key in keys}
        senses: torch.Tensor = self.senses(obs, self._normal(lead.numel()))
        found = senses.reshape(*lead, -1)
        self.starts.add(found, batch[IS_FIRST])
        return found

    def _normal(self, rows: int) -> torch.Tensor:
        shape = (rows, self.config.latent)
        return torch.randn(shape, generator=self._generator, device=self.device)

    def _step(
        self, name: str, loss: torch.Tensor, net: nn.Module, clip: float | None = None
    ) -> None:
        """One update; each number of the gradient is clipped for itself."""
        optimizer = self._learners[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if clip is not None:
            nn.utils.clip_grad_value_(net.parameters(), clip)
        optimizer.step()
