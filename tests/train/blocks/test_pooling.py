"""Pools against their matrices: orthonormal rows, gradients at zero, and pools with a wrong factor."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from train.slopes import defect, jacobian, largest_quotient, numeric_jacobian

from certify.train.blocks import L2NormPool2d, ScaledAvgPool2d

sides = st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)).filter(lambda t: min(t[1:]) >= t[0])


def wrong(pool: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether the Jacobian's rows are not orthonormal, or a quotient above 1 exists."""
    x = torch.randn((1, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 3
    return not (defect(numeric_jacobian(pool, x)) <= 1e-7 and largest_quotient(pool, shape) <= 1 + 1e-12)


@given(side=sides, kind=st.sampled_from([ScaledAvgPool2d, L2NormPool2d]))
def test_rows_are_orthonormal(side, kind):
    k, height, width = side
    pool, x = kind(k), torch.randn(1, 2, height, width, dtype=torch.float64)
    assert defect(jacobian(pool, x)) <= 1e-12 and not wrong(pool, (2, height, width))
    assert pool(x).shape == (1, 2, height // k, width // k)


def test_values():
    x = torch.arange(1.0, 17.0).reshape(1, 1, 4, 4)
    windows = x.unfold(2, 2, 2).unfold(3, 2, 2)
    assert torch.allclose(ScaledAvgPool2d(2)(x), windows.mean((4, 5)) * 2)
    assert torch.allclose(L2NormPool2d(2)(x), windows.square().sum((4, 5)).sqrt())


def test_zero_windows_have_gradient_zero():
    x = torch.zeros(1, 1, 4, 4, requires_grad=True)
    L2NormPool2d(2)(x).sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_tiny_entries_keep_their_norm():
    assert L2NormPool2d(2)(torch.full((1, 1, 2, 2), 1e-18)).item() == pytest.approx(2e-18, rel=1e-6)


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(2),
        nn.AvgPool2d(2, divisor_override=1),
        nn.AvgPool2d(2, stride=1, divisor_override=2),
        nn.LPPool2d(1.0, 2),
        nn.MaxPool2d(2, stride=1),
        nn.LPPool2d(2.0, 2, stride=1),
    ],
    ids=str,
)
def test_broken_pools_are_caught(pool):
    assert wrong(pool, (1, 6, 6))
