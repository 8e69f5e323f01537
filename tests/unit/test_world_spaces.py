"""Actions on their way into the networks and out."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.blocks.actions import ActionCodec
from agents.errors import UnsupportedSpace

ARM = spaces.Box(
    np.array([0, -4, -np.inf, -np.inf], np.float32), np.array([2, 4, np.inf, 1], np.float32)
)


def test_bounded_numbers_fill_minus_one_to_one_and_others_stay():
    codec = ActionCodec(ARM)
    action = torch.tensor([[0.0, 4.0, 7.0, -3.0], [1.0, 0.0, -7.0, 0.5]])
    assert codec.encode(action).tolist() == [[-1, 1, 7, -3], [0, 0, -7, 0.5]]
    assert codec.decode(codec.encode(action)).tolist() == action.tolist()
    assert codec.width == 4


def test_numbers_are_clipped_on_the_way_out():
    wild = torch.tensor([[-5.0, 5.0, 5.0, 5.0]])
    assert ActionCodec(ARM).decode(wild).tolist() == [[0, 4, 5, 1]]


def test_discrete_actions_are_one_hot():
    codec = ActionCodec(spaces.Discrete(3))
    action = torch.tensor([[2, 0], [1, 1]])
    hot = codec.encode(action)
    assert hot.dtype == torch.float32
    assert hot[0].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert codec.decode(hot).tolist() == action.tolist()


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1, 1, (2, 2), np.float32),
        spaces.Box(-1, 1, (), np.float32),
        spaces.Box(-1, 1, (2,), np.float64),
        spaces.Box(1, 1, (2,), np.float32),
        spaces.MultiDiscrete([2, 2]),
    ],
    ids=repr,
)
def test_other_spaces_are_refused(space):
    with pytest.raises(UnsupportedSpace, match="action"):
        ActionCodec(space)
