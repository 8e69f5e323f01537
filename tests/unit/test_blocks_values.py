"""Distributions of returns against golden cases and by hand."""

from __future__ import annotations

import pytest
import torch

from agents.blocks.values import Atoms, Number, Target
from tests.oracle_cases import cases, close, load, tensors

FILE = "8_other_algorithms"


@pytest.mark.parametrize("case", cases(FILE, "c51"))
def test_projection_loss_and_mean_are_the_golden_ones(case: str) -> None:
    inputs, outputs, _ = load(FILE, case)
    x = tensors(inputs)
    low, high, atoms = float(x["vmin"]), float(x["vmax"]), x["logits"].shape[-1]
    head = Atoms(atoms, low, high)
    head.support = torch.linspace(low, high, atoms, dtype=torch.float64)
    discount = x["discount"] * (~x["terminal"]).double()
    projected = head.project(torch.softmax(x["next_logits"], -1), x["reward"], discount)
    close(projected, outputs["target"])
    close(head.pred(x["logits"]), outputs["q"])
    close(head.pred(x["next_logits"]), outputs["source_q"])
    loss, _ = head.loss(x["logits"], Target(x["reward"], discount, x["next_logits"]))
    close(loss, outputs["loss"])
    close((projected * head.support).sum(-1), outputs["target_mean"])


def test_no_mass_is_lost_on_an_atom_or_beyond_the_ends() -> None:
    head = Atoms(5, -2.0, 2.0)
    probs = torch.tensor([[0.1, 0.2, 0.3, 0.2, 0.2]]).repeat(4, 1)
    reward, discount = torch.tensor([0.0, 1.0, 9.0, 0.5]), torch.tensor([1.0, 1.0, 1.0, 0.0])
    found = head.project(probs, reward, discount)
    expected = torch.tensor(
        [
            [0.1, 0.2, 0.3, 0.2, 0.2],
            [0.0, 0.1, 0.2, 0.3, 0.4],  # each moves on by one atom, the last two meet
            [0.0, 0.0, 0.0, 0.0, 1.0],
            [0.0, 0.0, 0.5, 0.5, 0.0],
        ]
    )
    torch.testing.assert_close(found, expected)


def test_what_is_predicted_as_it_will_be_has_no_priority() -> None:
    head = Atoms(5, -2.0, 2.0)
    raw = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    same = Target(torch.zeros(3), torch.ones(3), raw)
    torch.testing.assert_close(head.loss(raw, same)[1], torch.zeros(3), atol=1e-6, rtol=0)
    assert (head.loss(raw + torch.eye(5)[:3] * 3, same)[1] > 0.1).all()


def test_a_number_is_squared_or_beyond_one_linear() -> None:
    raw = torch.tensor([[1.0], [5.0]], requires_grad=True)
    target = Target(
        torch.tensor([1.0, 1.0]), torch.tensor([0.5, 0.0]), torch.tensor([[1.0], [7.0]])
    )
    loss, error = Number().loss(raw, target)
    assert loss.tolist() == [0.125, 8.0]
    assert error.tolist() == [0.5, 4.0]
    loss, error = Number(huber=True).loss(raw, target)
    assert loss.tolist() == [0.125, 3.5]
    loss.sum().backward()
    assert raw.grad is not None
    assert raw.grad[:, 0].tolist() == [-0.5, 1.0]
