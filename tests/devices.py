"""Comparisons that hold on any device: to the bit on a CPU, nearly so on a GPU.

A GPU adds in an order of its own: two trainings of one seed differ in the last digits there.
"""

import numpy as np
import torch

ON_CPU = not torch.cuda.is_available()
_NEARLY = 1e-2


def read_weights(model) -> dict[str, torch.Tensor]:
    """A copy of every weight, on the CPU wherever the model is."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def is_same(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two trainings of one seed came to the same weights."""
    found, expected = found.detach().cpu(), expected.detach().cpu()
    if ON_CPU or not found.is_floating_point():
        return torch.equal(found, expected)
    return torch.allclose(found, expected, rtol=_NEARLY, atol=_NEARLY * expected.abs().max())


def check_same(found, expected) -> None:
    """Two measurements of one seed, as arrays."""
    if ON_CPU:
        np.testing.assert_array_equal(found, expected)
    else:
        scale = np.nanmax(np.abs(expected))
        np.testing.assert_allclose(found, expected, rtol=_NEARLY, atol=_NEARLY * scale)


def are_same(found, expected) -> bool:
    """Whether two models of one seed have the same weights."""
    mine, other = read_weights(found), read_weights(expected)
    return mine.keys() == other.keys() and all(is_same(mine[name], other[name]) for name in mine)


def check_same_edits(found, expected) -> None:
    """Two cuts after trainings of one seed: the same tokens, on a CPU the same values too."""
    if ON_CPU:
        assert found == expected
    else:
        assert [edit.token_id for edit in found] == [edit.token_id for edit in expected]
