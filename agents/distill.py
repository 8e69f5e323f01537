"""Policy distillation (Rusu et al. 2016, "Policy distillation"): a student learns to act as its
teachers do, in what they have seen.

The student may be as small as one likes, and sees observations only: it takes the place of a large
network, of one that is costly to run, or of a planner. Teachers are policies of other experiments,
which say of every replayed row what they would do; see `agents.agent.Taught`.

All three losses of the paper are here, of a teacher's values q and a student's scores z:

    nll   -log softmax(z)[argmax q], its best action alone
    mse   |q - z|^2, summed over the actions
    kl    KL(softmax(q / temperature) || softmax(z))

The temperature of the last one sharpens, unlike in classification: values of actions differ little,
and how little depends on the task, so that each teacher may have its own.
With `mse` the student's scores count in deviations of all values that its teachers have said: the
steps of Adam are as small for a hundred as for a hundredth, and would take too long to come so far.
What acts is the average of the newest thousand students, and before those are there, of the newest
tenth: values of actions differ less than each update moves them.
A teacher that has a policy instead of values is taken at its word, without temperature. For numbers
as actions both have a normal distribution, squashed by tanh, and the losses are -log p(a) of its
best action a, the squared error of the means in -1..1, and the KL of the normal distributions. A
teacher that only says what it would do counts as certain of it: a deterministic policy, a planner,
or numbers within bounds that are not tanh's (A3C and the later Dreamers).

Teachers of several tasks may want other things in the same place. The paper's student then has an
output for each task behind a common trunk (`heads`), and its policy is told the robot's task. All
have the spaces of the student; the paper's games differ in their buttons too.

The lecture prints KL(student || teacher), which seeks one of several good actions. The paper, and
our default, weighs by the teacher; the option `direction` has the other one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from gymnasium import spaces
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import nn

from agents.agent import Acting, Actor, Agent, AgentConfig, Learned, Taught, Tensors
from agents.blocks.actions import ActionCodec
from agents.blocks.adam import FusedAdam
from agents.blocks.explore import BoxExplorer, DiscreteExplorer
from agents.blocks.nets import RELU, Dense
from agents.blocks.normalize import Units, slow_copy
from agents.blocks.observe import Features, part
from agents.blocks.off_policy import Widths, step
from agents.blocks.policies import TanhNormal, told
from agents.blocks.stacks import stack
from agents.blocks.state import check_pattern, chosen, flat_state, load_flat_state
from agents.blocks.task_book import TaskList
from agents.ddpg import bounded_codec
from robot_client.bundle import Signature
from robot_client.schema import ActionSpace

_LOG_STD = (-5.0, 2.0)  # limits of the logarithm of the student's deviation, before tanh
_RATE, _NEWEST = 1e-3, 10  # of the average: least share of an update; of t of them, 10 / t
_EDGE = 1 - 1e-4  # the farthest action that a teacher's mean is taken back from, through tanh


class TeacherRef(BaseModel):
    """A version of another experiment's policy; it is copied when the experiment is created."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: str = Field(max_length=80, description="Its id.")
    version: int = Field(ge=0, description="Of its policy.")
    task: str = Field("", max_length=200, description="Whose rows it judges; none: all others.")
    temperature: float | None = Field(
        None, gt=0, description="Divides its values; none: as the student's config says."
    )


class DistillConfig(AgentConfig):
    """The loss and its temperature are the paper's; the size is what one wants."""

    teachers: tuple[TeacherRef, ...] = Field(
        (), description="Whom it learns from; lockstep runs find them in their folder instead."
    )
    rows: int = Field(50_000, ge=100, description="Newest rows of each teacher that are copied.")
    heads: Literal["one", "each"] = Field(
        "one", description="each: an output for the task of each teacher, as the paper's student."
    )
    keys: str = Field(".*", description="Regular expression: the observations it sees.")
    loss: Literal["kl", "mse", "nll"] = Field("kl", description="What is made small.")
    temperature: float = Field(0.01, gt=0, description="Divides a teacher's values; less sharpens.")
    direction: Literal["teacher", "student"] = Field(
        "teacher", description="Who weighs the KL: KL(teacher || student) is the paper's."
    )
    spread: float = Field(
        0.1, gt=0, description="Deviation, before tanh, of a teacher that says none."
    )
    widths: Widths = Field((64, 64), description="Hidden layers of the student.")
    batch_size: int = Field(64, ge=1, description="Rows per update.")
    learning_rate: float = Field(1e-3, gt=0, description="Of Adam, in the place of RMSProp.")
    random_share: float = Field(0.0, ge=0, le=1, description="Of its own actions.")

    @field_validator("teachers")
    @classmethod
    def _apart(cls, teachers: tuple[TeacherRef, ...]) -> tuple[TeacherRef, ...]:
        if len({teacher.task for teacher in teachers}) < len(teachers):
            raise ValueError("each teacher needs a task of its own: rows are judged by one only")
        return teachers

    @model_validator(mode="after")
    def _has_tasks(self) -> DistillConfig:
        if self.heads == "each" and len(self.teachers) < 2:
            raise ValueError(f"heads: each needs two teachers or more, got {len(self.teachers)}")
        return self

    @field_validator("keys")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        return check_pattern(pattern)


class Student(nn.Module):
    """Observations (B, ...), and one-hot tasks (B, K) if it has K > 1 heads -> (B, outputs)."""

    def __init__(self, seen: spaces.Dict, outputs: int, widths: Widths, heads: int = 1) -> None:
        super().__init__()
        self.heads, self.outputs = heads, outputs
        self.features = Features(seen)
        self.trunk = stack(self.features.width, widths)
        last = [self.features.width, *widths][-1]
        self.out = Dense(last, heads * outputs, norm=False, act=False, style=RELU)

    def forward(self, obs: Tensors, task: torch.Tensor | None) -> torch.Tensor:
        """Scores of choices, or means and raw deviations."""
        raw: torch.Tensor = self.out(self.trunk(self.features(obs)))
        if self.heads == 1:
            return raw
        assert task is not None, "which head"
        return (raw.reshape(-1, self.heads, self.outputs) * task[..., None]).sum(1)


def squashed(raw: torch.Tensor) -> TanhNormal:
    """(B, 2 A) of a student -> its distribution of actions (B, A) in -1..1."""
    mean, spread = raw.chunk(2, -1)
    low, high = _LOG_STD
    return TanhNormal(mean, torch.exp(low + 0.5 * (high - low) * (torch.tanh(spread) + 1)))


def choice_loss(
    scores: torch.Tensor, values: torch.Tensor, temperature: torch.Tensor, config: DistillConfig
) -> torch.Tensor:
    """(B,) loss of a student's scores (B, n) by a teacher's values (B, n); temperature (B, 1)."""
    if config.loss == "mse":
        return (values - scores).square().sum(-1)
    student = torch.log_softmax(scores, -1)
    if config.loss == "nll":
        return -student.gather(-1, values.argmax(-1, keepdim=True))[:, 0]
    teacher = torch.log_softmax(values / temperature, -1)
    first, second = (teacher, student) if config.direction == "teacher" else (student, teacher)
    return (first.exp() * (first - second)).sum(-1)


def normal_kl(first: TanhNormal, second: TanhNormal) -> torch.Tensor:
    """(B,) KL(first || second), summed over the numbers. tanh changes both alike: it is that of
    the normal distributions before it."""
    ratio = (first.std / second.std).square()
    apart = ((first.mean - second.mean) / second.std).square()
    return 0.5 * (ratio + apart - 1 - ratio.log()).sum(-1)


def number_loss(student: TanhNormal, teacher: TanhNormal, config: DistillConfig) -> torch.Tensor:
    """(B,) loss of a student's distribution by a teacher's."""
    if config.loss == "mse":
        return (student.mode() - teacher.mode()).square().sum(-1)
    if config.loss == "nll":
        return -student.log_prob(teacher.mode().clamp(-_EDGE, _EDGE))
    pair = (teacher, student) if config.direction == "teacher" else (student, teacher)
    return normal_kl(*pair)


class Distill(Agent):
    """Learns to act as other policies do, with a network as small as one likes (distillation)."""

    config_type = DistillConfig

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: ActionSpace,
        config: AgentConfig,
        device: torch.device,
    ) -> None:
        assert isinstance(config, DistillConfig), type(config)
        self.config, self.device = config, device
        self.demand = Taught(config.batch_size)
        seen, share = chosen(observation_space, config.keys), config.random_share
        self.codec = codec_of(action_space).to(device)
        width = self.codec.width
        outputs = width if self.codec.discrete else 2 * width
        self.tasks = TaskList([one.task for one in config.teachers] or [""]).to(device)
        own = [one.temperature or config.temperature for one in config.teachers]
        self._temperatures = torch.tensor(own or [config.temperature], device=device)[:, None]
        heads = len(config.teachers) if config.heads == "each" else 1
        self.student = Student(seen, outputs, config.widths, heads).to(device)
        self.average = slow_copy(self.student)
        self.units = Units(1).to(device)
        self._valued = self.codec.discrete and config.loss == "mse"
        kind = DiscreteExplorer if self.codec.discrete else BoxExplorer
        self.explorer = kind(width, share, share, 1).to(device)
        self._optimizer = FusedAdam(self.student.parameters(), config.learning_rate, math.inf, 1e-8)
        self._updates = torch.zeros((), dtype=torch.int64, device=device)

    def acting(self) -> Acting:
        """What the student thinks best."""
        units = self.units if self._valued else None
        policy = StudentPolicy(self.average, self.tasks, self.codec, self.explorer, units)
        return Acting(policy.signature, {"policy": policy})

    def train(self, batch: Tensors) -> Learned:
        """One update, from (B,) rows that teachers have judged."""
        task = self.tasks(batch["teacher/task"])
        raw = self.student(batch, task)
        temperature = task @ self._temperatures
        losses, agrees = (
            self._choices(raw, batch, temperature)
            if self.codec.discrete
            else self._numbers(raw, batch)
        )
        loss = losses.mean()
        norm = step(self._optimizer, loss)
        self._updates += 1
        self._take_in()
        self.explorer.update(self._updates)
        found = {"loss": loss.detach(), "agreement": agrees.mean(), "grad_norm": norm}
        return Learned(found)

    @torch.no_grad()
    def _take_in(self) -> None:
        rate = (_NEWEST / (self._updates + _NEWEST - 1)).clamp(min=_RATE)
        both = zip(self.average.parameters(), self.student.parameters(), strict=True)
        for average, newest in both:
            average.lerp_(newest, rate)

    def _choices(
        self, scores: torch.Tensor, batch: Tensors, temperature: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        values = batch["teacher/scores"]
        if self._valued:
            self.units.update(values.reshape(-1, 1))
            scores = self.units.restore(scores)
        sharpened = batch["teacher/valued"][:, None]
        temperature = torch.where(sharpened, temperature, 1.0)
        same = scores.detach().argmax(-1) == values.argmax(-1)
        return choice_loss(scores, values, temperature, self.config), same.float()

    def _numbers(self, raw: torch.Tensor, batch: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
        student, teacher = squashed(raw), self._teacher(batch)
        apart = (student.mode() - teacher.mode()).detach().abs().mean(-1) / 2
        return number_loss(student, teacher, self.config), 1 - apart

    def _teacher(self, batch: Tensors) -> TanhNormal:
        """What it said; a normal distribution around its action if it did not say more."""
        action = self.codec.encode(batch["teacher/action"]).clamp(-_EDGE, _EDGE)
        says, spread = batch["teacher/valued"][:, None], self.config.spread
        mean = torch.where(says, batch["teacher/mean"], torch.atanh(action))
        return TanhNormal(mean, torch.where(says, batch["teacher/std"], spread))

    def state_dict(self) -> dict[str, Any]:
        """The student, its optimiser and exploration, and the number of updates."""
        return {**flat_state(self._kept()), "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        load_flat_state(self._kept(), state)
        self._updates.copy_(state["updates"])

    def _kept(self) -> dict[str, Any]:
        kept = {"student": self.student, "average": self.average, "units": self.units}
        return {**kept, "optimizer": self._optimizer, "explorer": self.explorer}


def codec_of(action_space: ActionSpace) -> ActionCodec:
    """Of choices, or of bounded numbers. Raises UnsupportedSpace for any other space."""
    if isinstance(action_space, spaces.Discrete):
        return ActionCodec(action_space)
    return bounded_codec(action_space)


class StudentPolicy(Actor):
    """One control step. It says what it thinks of actions, so that it can be a teacher itself. With
    several heads it is told the robot's task."""

    def __init__(
        self,
        student: Student,
        tasks: TaskList,
        codec: ActionCodec,
        explorer: DiscreteExplorer | BoxExplorer,
        units: Units | None,
    ) -> None:
        super().__init__()
        self.student, self.codec, self.explorer, self.units = student, codec, explorer, units
        self.tasks = tasks if student.heads > 1 else None
        self.signature = Signature(noise=explorer.noise, task=student.heads > 1)

    def forward(self, inputs: Tensors) -> Tensors:
        """See `robot_client.bundle`."""
        task = None if self.tasks is None else self.tasks(inputs["in_task_code"])
        raw = self.student(part(inputs, "in_"), task)
        if isinstance(self.explorer, DiscreteExplorer):
            values = {"out_q": self.units.restore(raw)} if self.units else {"out_logits": raw}
            return {**self.explorer(raw.argmax(-1), inputs), **values}
        found = squashed(raw)
        action, _ = self.explorer(found.mode(), inputs)
        return {"out_action": self.codec.decode(action), **told(found)}
