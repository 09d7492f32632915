"""Centering against batch statistics computed by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import certify
from certify.train.blocks import Centering


@given(rest=st.lists(st.integers(1, 3), max_size=3), batch=st.integers(1, 4), momentum=st.floats(0.01, 1.0), bias=st.booleans())
def test_both_modes(rest, batch, momentum, bias):
    layer = Centering(3, momentum, bias).double()
    if bias:
        with torch.no_grad():
            layer.bias.normal_()
    shift = layer.bias if bias else torch.zeros(3, dtype=torch.float64)
    x = 5 + torch.randn(batch, 3, *rest, dtype=torch.float64)
    mean = x.transpose(0, 1).flatten(1).mean(1)
    shape = (-1, *(1,) * len(rest))
    assert torch.allclose(layer(x), x + (shift - mean).reshape(shape))
    assert torch.allclose(layer.running_mean, momentum * mean)
    assert torch.allclose(layer.eval()(x), x + (shift - momentum * mean).reshape(shape))
    assert torch.allclose(layer.running_mean, momentum * mean), "evaluation must not learn"


def test_the_running_mean_converges():
    layer, generator = Centering(2), torch.Generator().manual_seed(0)
    for _ in range(200):
        layer(torch.tensor([3.0, -1.0]) + 0.1 * torch.randn(64, 2, generator=generator))
    assert torch.allclose(layer.running_mean, torch.tensor([3.0, -1.0]), atol=0.02)


def test_training_is_a_projection_of_the_batch():
    """1-Lipschitz on whole batches: the matrix of the centred batch has singular values 0 and 1."""
    layer = Centering(2, bias=False).double()
    matrix = torch.autograd.functional.jacobian(layer, torch.randn(3, 2, 2, dtype=torch.float64)).reshape(12, 12)
    values = torch.linalg.svdvals(matrix)
    assert torch.allclose(values, values.round(), atol=1e-12) and values[0] <= 1 + 1e-12
    assert torch.allclose(matrix @ matrix, matrix, atol=1e-12)


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 2, 2)])
def test_the_constant_is_exactly_one(shape):
    layer = Centering(3).eval()
    layer.running_mean.normal_()
    certificate = certify.lipschitz(layer, shape)
    assert certificate.upper == 1.0 and certificate.lower >= 1 - 1e-6


class Dividing(Centering):
    """A batch norm without a floor: not 1-Lipschitz."""

    def forward(self, x):
        return super().forward(x) * 2 / (1 + x.std())


def test_a_division_is_caught():
    x = torch.randn(5, 3, dtype=torch.float64) * 0.1
    layer = Dividing(3).double().eval()
    quotient = (layer(x) - layer(x + 1e-3)).norm() / (1e-3 * torch.ones_like(x)).norm()
    assert quotient > 1
