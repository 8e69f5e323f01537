"""Distillation by hand: its losses, what teachers say, and a student that comes to agree."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.blocks.policies import TanhNormal
from agents.blocks.task_book import TaskList
from agents.distill import Distill, DistillConfig, choice_loss, normal_kl, number_loss
from agents.registry import agent_class
from robot_client.clock import SystemClock
from robot_client.schema import space_hash, task_code
from server.errors import Conflict, Invalid
from server.lockstep import run
from server.publisher import Publisher
from server.teachers import FOLDER, copy_teacher
from server.teaching import Teacher
from tests.unit.fork import Fork
from tests.unit.policies import ACTIONS, OBSERVED, Bundle, bundle

VALUES, SCORES = torch.tensor([[0.01, 0.02]]), torch.tensor([[1.0, 3.0]])
SHARP, PLAIN = torch.tensor([[0.01]]), torch.tensor([[1.0]])


def config(**changes: object) -> DistillConfig:
    return DistillConfig.model_validate(changes)


def test_the_likelihood_of_the_best_action() -> None:
    found = choice_loss(SCORES, VALUES, SHARP, config(loss="nll"))
    assert found.tolist() == pytest.approx([math.log(1 + math.exp(-2))])


def test_the_squared_error_of_the_values() -> None:
    found = choice_loss(SCORES, VALUES, SHARP, config(loss="mse"))
    assert found.tolist() == pytest.approx([0.99**2 + 2.98**2])


@pytest.mark.parametrize(("temperature", "gap"), [(SHARP, 1.0), (PLAIN, 0.01)])
@pytest.mark.parametrize("direction", ["teacher", "student"])
def test_a_small_temperature_sharpens(
    temperature: torch.Tensor, gap: float, direction: str
) -> None:
    p = np.array([1.0, math.exp(gap)]) / (1 + math.exp(gap))  # of the teacher
    s = np.array([1.0, math.exp(2)]) / (1 + math.exp(2))  # of the student
    first, second = (p, s) if direction == "teacher" else (s, p)
    expected = float((first * np.log(first / second)).sum())
    found = choice_loss(SCORES, VALUES, temperature, config(direction=direction))
    assert found.tolist() == pytest.approx([expected], rel=1e-4)


def test_normal_distributions_by_hand() -> None:
    one = TanhNormal(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 2.0]]))
    other = TanhNormal(torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0, 2.0]]))
    # log(2 / 1) + (1 + 1) / (2 * 4) - 1 / 2 of the first number, nothing of the second
    expected = math.log(2) + 0.25 - 0.5
    assert normal_kl(one, other).tolist() == pytest.approx([expected])
    assert number_loss(other, one, config()).tolist() == pytest.approx([expected])
    back = -math.log(2) + (4 + 1) / 2 - 0.5
    assert number_loss(other, one, config(direction="student")).tolist() == pytest.approx([back])
    squared = number_loss(other, one, config(loss="mse"))
    assert squared.tolist() == pytest.approx([math.tanh(1) ** 2])
    likely = number_loss(other, one, config(loss="nll"))
    assert likely.tolist() == pytest.approx([-float(other.log_prob(one.mode()))], rel=1e-4)


def test_tanh_leaves_the_divergence_as_it_is() -> None:
    torch.manual_seed(0)
    one = TanhNormal(torch.tensor([0.3]), torch.tensor([0.5]))
    other = TanhNormal(torch.tensor([-0.2]), torch.tensor([0.8]))
    action = one.sample(torch.randn(200_000, 1))
    sampled = (one.log_prob(action) - other.log_prob(action)).mean()
    assert float(normal_kl(one, other)) == pytest.approx(float(sampled), abs=0.01)


def saved(home: Path, sold: Bundle) -> dict[str, object]:
    (home / "blobs").mkdir(parents=True)
    for digest, data in sold.blobs.items():
        (home / "blobs" / digest).write_bytes(data)
    return sold.manifest.to_json()


def test_a_teacher_follows_an_episode_with_its_memory_and_the_actions_executed(
    tmp_path: Path,
) -> None:
    sold = bundle()
    copy_teacher(tmp_path / "0", tmp_path / "home", saved(tmp_path / "home", sold), "walk")
    teacher = Teacher(tmp_path / "0", OBSERVED, ACTIONS)
    assert teacher.task == "walk"
    rng = np.random.default_rng(0)
    columns = {
        "vector": rng.standard_normal((5, 3)).astype(np.float32),
        "action": rng.uniform(-1, 1, (5, 2)).astype(np.float32),
        "is_first": np.array([True, False, False, False, False]),
    }
    policy = teacher.policy("walk")
    early, carry = teacher.judge(policy, policy.init(), {k: v[:2] for k, v in columns.items()}, rng)
    late, _ = teacher.judge(policy, carry, {k: v[2:] for k, v in columns.items()}, rng)
    own = sold.policy()
    state, expected = own.init(), []
    for k in range(5):
        obs = {"vector": columns["vector"][k]}
        action, state, _ = own.step(state, obs, k == 0, np.random.default_rng(0), explore=False)
        expected.append(action)
        state = replace(state, prev_action=columns["action"][k])
    found = [row["action"] for row in early + late]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert not early[0]["valued"]  # it says no more than what it would do


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_what_an_actor_prefers_is_taken_at_its_word(tmp_path: Path) -> None:
    """Its chances, and not its choice alone; and nothing sharpens them."""
    robot, a3c = Fork(), agent_class("a3c")
    torch.manual_seed(0)
    made = a3c.config_type.model_validate({"widths": (8,)})
    actor = a3c(robot.observation_space, robot.action_space, made, torch.device("cpu"))
    parts = (actor.acting(), robot.observation_space, robot.action_space, SystemClock())
    manifest = Publisher(tmp_path, "e1", "a3c", *parts).publish(0).to_json()
    copy_teacher(tmp_path / "0", tmp_path, manifest, "")
    teacher = Teacher(tmp_path / "0", robot.observation_space, robot.action_space)
    rows = {"square": np.arange(3), "action": np.zeros(3, np.int64), "is_first": np.eye(3)[0] > 0}
    policy = teacher.policy("")
    said, _ = teacher.judge(policy, policy.init(), rows, np.random.default_rng(0))
    with torch.no_grad():
        raw, _ = actor.net.judge(actor.net.see({"square": torch.arange(3)}))
    np.testing.assert_allclose([s["scores"] for s in said], raw.log_softmax(-1), rtol=1e-4)
    assert not any(s["valued"] for s in said)


def test_teachers_of_other_spaces_and_lost_ones_are_refused(tmp_path: Path) -> None:
    manifest = saved(tmp_path / "home", bundle())
    copy_teacher(tmp_path / "0", tmp_path / "home", manifest, "")
    with pytest.raises(Invalid, match=r"teachers.0.action_space"):
        Teacher(tmp_path / "0", OBSERVED, spaces.Discrete(2))
    next((tmp_path / "home" / "blobs").iterdir()).unlink()
    with pytest.raises(Conflict, match="lost its files"):
        copy_teacher(tmp_path / "1", tmp_path / "home", manifest, "")


def distilled(
    folder: Path, robots: tuple[str, ...] = ("tests.unit.fork:Fork",), **changes: object
) -> list[dict[str, float]]:
    """Metrics of a lockstep run with the teachers in its folder."""
    run(
        "distill",
        robots=robots,
        steps=200,
        config={"batch_size": 16, "widths": (8,), "learning_rate": 1e-2, **changes},
        directory=folder,
        train_ratio=48.0,
        min_rows=32,
        max_debt=100,
        device="cpu",
        eval_episodes=0,
    )
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [record for line in lines if "agreement" in (record := json.loads(line))]


@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_a_student_of_any_loss_comes_to_agree_with_its_teacher(tmp_path: Path) -> None:
    robot, home = Fork(), tmp_path / "home"
    torch.manual_seed(1)
    dqn = agent_class("dqn")
    made = dqn.config_type.model_validate({"widths": (32,)})
    teacher = dqn(robot.observation_space, robot.action_space, made, torch.device("cpu"))
    parts = (teacher.acting(), robot.observation_space, robot.action_space, SystemClock())
    manifest = Publisher(home, "e1", "dqn", *parts).publish(0).to_json()
    assert manifest["action_space"] == space_hash(robot.action_space)
    for loss in ("kl", "mse", "nll"):
        folder = tmp_path / loss
        copy_teacher(folder / FOLDER / "0", home, manifest, "")
        records = distilled(folder, loss=loss)
        assert records[-1]["agreement"] > 0.97, loss
        assert records[-1]["loss"] < records[0]["loss"], loss


def two_teachers(heads: str, loss: str = "kl", **changes: object) -> Distill:
    left, right = ({"experiment": task, "version": 0, "task": task} for task in ("left", "right"))
    robot = Fork()
    given = {"teachers": (left, {**right, **changes}), "heads": heads, "widths": (8,)}
    torch.manual_seed(0)
    full = config(**given, loss=loss, learning_rate=1e-2)
    return Distill(robot.observation_space, robot.action_space, full, torch.device("cpu"))


def lessons(scale: float = 1.0) -> dict[str, torch.Tensor]:
    """Of every square, twice: the teacher of `left` wants action 0 there, that of `right` 2."""
    square = torch.arange(7).repeat(2)
    wanted = torch.tensor([0, 2]).repeat_interleave(7)
    codes = np.stack([task_code("left"), task_code("right")]).repeat(7, 0)
    return {
        "square": square,
        "teacher/action": wanted,
        "teacher/scores": scale * torch.nn.functional.one_hot(wanted, 3).float(),
        "teacher/valued": torch.ones(14, dtype=torch.bool),
        "teacher/task": torch.from_numpy(codes),
    }


@pytest.mark.parametrize(("heads", "low", "high"), [("one", 0.4, 0.6), ("each", 1.0, 1.0)])
def test_tasks_that_want_other_things_need_a_head_each(heads: str, low: float, high: float) -> None:
    agent = two_teachers(heads)
    for _ in range(60):
        metrics = agent.train(lessons()).metrics
    assert low <= float(metrics["agreement"]) <= high


@pytest.mark.parametrize(("middle", "scale"), [(0.0, 0.01), (50.0, 1.0), (-2000.0, 300.0)])
def test_values_of_any_size_are_learned_as_fast(middle: float, scale: float) -> None:
    agent, lesson = two_teachers("each", "mse"), lessons(scale)
    lesson["teacher/scores"] += middle
    for _ in range(200):
        metrics = agent.train(lesson).metrics
    assert float(metrics["agreement"]) == 1
    inputs = {"in_square": lesson["square"], "in_task_code": lesson["teacher/task"]}
    inputs["in_noise_explore"] = torch.zeros(14, 2)
    said = agent.acting().graphs["policy"](inputs)["out_q"]
    torch.testing.assert_close(said, lesson["teacher/scores"], atol=0.1 * scale, rtol=0)


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_a_student_with_heads_is_told_its_task_on_the_robot(tmp_path: Path) -> None:
    robot, agent = Fork(), two_teachers("each")
    for _ in range(60):
        agent.train(lessons())
    parts = (agent.acting(), robot.observation_space, robot.action_space, SystemClock())
    manifest = Publisher(tmp_path, "e1", "distill", *parts).publish(0)
    copy_teacher(tmp_path / "0", tmp_path, manifest.to_json(), "")
    sold = Teacher(tmp_path / "0", robot.observation_space, robot.action_space)
    rng = np.random.default_rng(0)
    chosen = {}
    for task in ("left", "right", "another"):
        policy = sold.policy(task)
        obs = {"square": np.int64(3)}
        chosen[task] = int(policy.step(policy.init(), obs, True, rng, explore=False)[0])
    assert chosen == {"left": 0, "right": 2, "another": 0}  # the first, as no teacher has no task


@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_the_rows_of_each_task_are_judged_by_its_teacher_and_learned_by_its_head(
    tmp_path: Path,
) -> None:
    robot, dqn, names = Fork(), agent_class("dqn"), ("left", "right")
    made = dqn.config_type.model_validate({"widths": (32,)})
    for number, task in enumerate(names):
        torch.manual_seed(number)
        teacher = dqn(robot.observation_space, robot.action_space, made, torch.device("cpu"))
        parts = (teacher.acting(), robot.observation_space, robot.action_space, SystemClock())
        home = tmp_path / task
        manifest = Publisher(home, task, "dqn", *parts).publish(0).to_json()
        for heads in ("one", "each"):
            copy_teacher(tmp_path / heads / FOLDER / str(number), home, manifest, task)
    robots = tuple(f'tests.unit.fork:Fork {{"way": "{way}"}}' for way in names)
    told = [{"experiment": task, "version": 0, "task": task} for task in names]
    last = {
        heads: distilled(tmp_path / heads, robots, heads=heads, teachers=told)[-1]["agreement"]
        for heads in ("one", "each")
    }
    assert last["one"] < 0.9 < 0.97 < last["each"], last


def test_each_teacher_has_its_temperature() -> None:
    agent = two_teachers("each", temperature=5.0)
    lesson = lessons(scale=0.1)
    raw = agent.student(lesson, agent.tasks(lesson["teacher/task"])).detach()
    sharp = torch.tensor([0.01, 5.0]).repeat_interleave(7)[:, None]
    expected = choice_loss(raw, lesson["teacher/scores"], sharp, agent.config).mean()
    assert float(agent.train(lesson).metrics["loss"]) == pytest.approx(float(expected))


def test_tasks_count_as_the_sampler_says() -> None:
    def of(names: list[str], task: str) -> int:
        return int(TaskList(names)(torch.from_numpy(task_code(task)[None])).argmax())

    assert [of(["a", "", "b"], task) for task in ("a", "b", "c", "")] == [0, 2, 1, 1]
    assert [of(["a", "b"], task) for task in ("a", "b", "c", "")] == [0, 1, 0, 0]


def test_heads_without_teachers_are_refused() -> None:
    with pytest.raises(ValueError, match="two teachers or more, got 0"):
        config(heads="each")


def test_without_a_teacher_there_is_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="compress"):
        distilled(tmp_path / "alone")
