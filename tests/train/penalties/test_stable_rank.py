"""StableRank against the singular values."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from train.penalties.truth import LAYERS, derivative, fresh

from certify.train.penalties import StableRank
from certify.train.penalties.matrix import reshaped


def converged(layer: nn.Module) -> torch.Tensor:
    penalty = StableRank(steps=150)
    penalty(layer)
    return penalty(layer)


@pytest.mark.parametrize("name", LAYERS)
def test_ratio_of_singular_values(name: str):
    layer, _ = fresh(name)
    s = torch.linalg.svdvals(reshaped(layer).detach())
    value = converged(layer).item()
    assert value == pytest.approx((s.square().sum() / s[0] ** 2).item(), rel=1e-4) and 1 - 1e-9 <= value <= len(s) * (1 + 1e-4)


@pytest.mark.parametrize("name", ["linear wide", "linear tall", "conv2d", "transposed 1d"])
def test_gradient_against_the_svd(name: str):
    """2 W / s^2 - 2 |W|_F^2 / s^3 u v', orthogonal to W since the ratio does not change with scale."""
    layer, _ = fresh(name)
    matrix = reshaped(layer).detach()
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    expected = 2 * matrix / s[0] ** 2 - 2 * matrix.square().sum() / s[0] ** 3 * torch.outer(u[:, 0], v[0])
    (gradient,) = torch.autograd.grad(converged(layer), layer.weight)
    found = gradient.transpose(0, 1).flatten(1) if isinstance(layer, nn.ConvTranspose1d) else gradient.flatten(1)
    assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))
    assert abs((gradient * layer.weight).sum().item()) < 1e-8
    direction = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert (gradient * direction).sum().item() == pytest.approx(derivative(lambda: converged(layer), layer.weight, direction), rel=1e-3)


def test_orthogonal_and_rank_one_matrices_are_the_ends():
    layer = nn.Linear(6, 4).double()
    nn.init.orthogonal_(layer.weight)
    assert converged(layer).item() == pytest.approx(4.0, rel=1e-9)
    with torch.no_grad():
        layer.weight.copy_(torch.outer(torch.arange(1.0, 5.0), torch.arange(1.0, 7.0)))
    assert converged(layer).item() == pytest.approx(1.0, rel=1e-9)
