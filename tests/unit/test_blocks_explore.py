"""Exploration enters as noise, is in the weights, and ends where it is told to."""

from __future__ import annotations

import numpy as np
import torch

from agents.blocks.explore import BoxExplorer, DiscreteExplorer


def uniform(rows: int, width: int) -> torch.Tensor:
    return torch.rand(rows, width, generator=torch.Generator().manual_seed(0))


def test_all_choices_are_random_before_the_first_update_and_then_as_many_as_scheduled() -> None:
    explorer, greedy = DiscreteExplorer(4, 0.8, 0.1, 100), torch.full((20_000,), 2)
    inputs = {"in_noise_explore": uniform(20_000, 2)}
    found = explorer(greedy, inputs)["out_action"]
    counts = np.bincount(found.numpy(), minlength=4) / 20_000
    np.testing.assert_allclose(counts, 0.25, atol=0.015)
    for updates, share in ((1, 0.793), (50, 0.45), (100, 0.1), (500, 0.1)):
        explorer.update(torch.tensor(updates))
        other = explorer(greedy, inputs)["out_action"] != 2
        assert abs(other.float().mean() - share * 3 / 4) < 0.015


def test_without_noise_the_mode_is_taken_even_at_the_very_start() -> None:
    greedy = torch.tensor([3, 0])
    nothing = {"in_noise_explore": torch.zeros(2, 2)}
    assert DiscreteExplorer(4, 1.0, 0.1, 9)(greedy, nothing)["out_action"].tolist() == [3, 0]
    action = torch.tensor([[0.3, -0.9]])
    for kind in ("normal", "ou"):
        explorer = BoxExplorer(2, 0.0, 0.0, 1, kind, 0.5)
        inputs = {
            "in_noise_explore": torch.zeros(1, 3),
            "in_noise_action": torch.zeros(1, 2),
            "in_carry_drift": torch.zeros(1, 2),
            "in_is_first": torch.tensor([False]),
        }
        assert torch.equal(explorer(action, inputs)[0], action)


def test_noise_has_its_deviation_and_stays_within_the_bounds() -> None:
    explorer = BoxExplorer(1, 0.0, 0.0, 1, "normal", 0.2)
    explorer.update(torch.tensor(1))
    noise = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0))
    inputs = {"in_noise_explore": uniform(20_000, 2), "in_noise_action": noise}
    found, carry = explorer(torch.zeros(20_000, 1), inputs)
    assert carry == {}
    assert abs(found.std() - 0.2) < 0.01
    assert explorer(torch.ones(20_000, 1), inputs)[0].max() == 1


def test_drifting_noise_is_an_ornstein_uhlenbeck_process_that_begins_at_zero() -> None:
    explorer = BoxExplorer(1, 0.0, 0.0, 1, "ou", 0.2, pull=0.15)
    explorer.update(torch.tensor(1))
    inputs = {"in_noise_explore": torch.zeros(1, 2), "in_carry_drift": torch.full((1, 1), 0.4)}
    inputs |= {"in_noise_action": torch.ones(1, 1), "in_is_first": torch.tensor([False])}
    action, carry = explorer(torch.zeros(1, 1), inputs)
    torch.testing.assert_close(carry["out_carry_drift"], torch.tensor([[0.85 * 0.4 + 0.2]]))
    torch.testing.assert_close(action, carry["out_carry_drift"])
    fresh = explorer(torch.zeros(1, 1), inputs | {"in_is_first": torch.tensor([True])})
    torch.testing.assert_close(fresh[1]["out_carry_drift"], torch.tensor([[0.2]]))
