"""Heads against the singular values and row norms of their matrices in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from train.slopes import defect

from certify.train.blocks import OrthogonalLinear, UnitNormLinear

SLACK = {torch.float32: 5e-6, torch.float64: 1e-14}
dtypes = st.sampled_from(list(SLACK))
sizes = st.integers(1, 12)


@given(rows=sizes, columns=sizes, dtype=dtypes, exponent=st.integers(-8, 8), seed=st.integers(0, 99))
def test_orthonormal_rows_at_every_scale(rows, columns, dtype, exponent, seed):
    layer = OrthogonalLinear(columns, rows, dtype=dtype)
    with torch.no_grad():
        original = layer.parametrizations.weight.original
        original.copy_(10.0**exponent * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)))
    weight = layer.weight.detach().double()
    assert layer.weight.dtype == dtype
    assert defect(weight if rows <= columns else weight.T) <= SLACK[dtype]
    assert torch.linalg.matrix_norm(weight, 2) <= 1 + SLACK[dtype]


@given(rows=sizes, columns=sizes, dtype=dtypes, exponent=st.integers(-25, 18), seed=st.integers(0, 99))
def test_unit_rows_at_every_scale(rows, columns, dtype, exponent, seed):
    layer = UnitNormLinear(columns, rows, dtype=dtype)
    with torch.no_grad():
        original = layer.parametrizations.weight.original
        original.copy_(10.0**exponent * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)))
    weight = layer.weight.detach().double()
    assert torch.allclose(weight.norm(dim=1), torch.ones(rows, dtype=torch.float64), atol=SLACK[dtype])
    assert torch.allclose(weight * original.double().norm(dim=1, keepdim=True), original.double(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", [OrthogonalLinear, UnitNormLinear])
@pytest.mark.parametrize(("rows", "columns"), [(3, 7), (5, 5), (7, 3), (1, 4)])
def test_gradients(kind, rows, columns):
    """By finite differences through the parametrization."""
    layer = kind(columns, rows).double()
    part = layer.parametrizations.weight[0]
    assert torch.autograd.gradcheck(part, (torch.randn(rows, columns, dtype=torch.float64, requires_grad=True),))


def test_training_keeps_the_rows():
    layer, x, y = OrthogonalLinear(8, 3), torch.randn(32, 8), torch.randint(3, (32,))
    optimizer = torch.optim.Adam(layer.parameters(), 0.1)
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(10 * layer(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and defect(layer.weight.detach().double()) <= SLACK[torch.float32]


def test_zero_rows_stay_zero_without_nan():
    layer = UnitNormLinear(3, 2)
    with torch.no_grad():
        layer.parametrizations.weight.original[0] = 0
    layer(torch.ones(1, 3)).sum().backward()
    assert torch.equal(layer.weight[0], torch.zeros(3)) and layer.parametrizations.weight.original.grad.isfinite().all()
