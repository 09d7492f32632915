"""Polar factors by products: the norm never exceeds 1, whatever comes in; near the manifold the result is orthonormal."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from certify.train.parametrizations.retraction import newton_schulz, retracted


def norm(x: Tensor) -> float:
    assert torch.isfinite(x).all()
    return float(torch.linalg.matrix_norm(x.double(), 2).max())


@st.composite
def matrices(draw) -> Tensor:
    """A batch (2, m, n), m >= n: random, of any rank, near the manifold, or a multiple of an orthogonal matrix, at scales 1e-6 .. 1e6."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    n = draw(st.integers(1, 12))
    m = n + draw(st.integers(0, 12))
    x = torch.randn(2, m, n, generator=generator, dtype=torch.float64)
    kind = draw(st.sampled_from(("random", "rank", "near", "multiple", "one row")))
    if kind == "rank":
        rank = draw(st.integers(1, n))
        x = x[..., :rank] @ torch.randn(2, rank, n, generator=generator, dtype=torch.float64)
    elif kind in ("near", "multiple"):
        q = torch.linalg.qr(x)[0]
        x = q if kind == "multiple" else q + 0.1 * x / m**0.5
    elif kind == "one row":
        x[:, 1:] = 0
    x = x * 10.0 ** draw(st.integers(-6, 6))
    return x.float() if draw(st.booleans()) else x


@given(x=matrices(), steps=st.sampled_from((1, 2, 5, 20)))
def test_the_norm_never_exceeds_one(x: Tensor, steps: int):
    """Any number of steps. A squared singular matrix has eigenvalues below 0 by rounding; a multiple of an orthogonal one meets the bounds exactly."""
    slack = 1e-5 if x.dtype == torch.float32 else 1e-12
    assert norm(newton_schulz(x, steps)) <= 1 + slack
    assert norm(retracted(x)) <= 1 + slack


@given(seed=st.integers(0, 10**6), size=st.sampled_from((0.001, 0.1, 0.5)), scale=st.sampled_from((0.3, 1.0, 1.3, 40.0)))
def test_it_is_the_polar_factor(seed: int, size: float, scale: float):
    generator = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(3, 12, 7, generator=generator, dtype=torch.float64))[0]
    x = scale * (q + size * torch.randn(3, 12, 7, generator=generator, dtype=torch.float64) / 12**0.5)
    u, _, vh = torch.linalg.svd(x, full_matrices=False)
    assert torch.allclose(retracted(x), u @ vh, atol=1e-10)
    assert torch.allclose(newton_schulz(x, 30), u @ vh, atol=1e-10)


@pytest.mark.parametrize("make", [newton_schulz, lambda x, _: retracted(x)])
def test_corner_cases(make):
    assert not make(torch.zeros(1, 4, 3), 3).any()
    assert make(torch.zeros(2, 5, 0), 3).shape == (2, 5, 0)
    assert torch.allclose(make(-2 * torch.ones(1, 1, 1), 3), -torch.ones(1, 1, 1))
    assert torch.isnan(make(torch.full((1, 3, 2), float("nan")), 3)).all()
    four = torch.randn(2, 3, 5, 4)
    assert make(four, 3).shape == four.shape
    assert norm(make(1e-30 * torch.randn(1, 4, 3), 3)) <= 1 + 1e-6  # arrives, where a zero matrix would stay one


def test_few_steps_leave_small_singular_values():
    """What an unconverged iteration gives: contracted directions, never expanded ones."""
    x = torch.diag(torch.tensor([1.0, 1e-3, 1e-6], dtype=torch.float64))[None]
    values = newton_schulz(x, 3).diagonal(dim1=1, dim2=2)[0]
    assert 0.5 < values[0] <= 1 and values[1] < 0.01 and values[2] < 1e-5
    assert torch.allclose(retracted(x), torch.eye(3, dtype=torch.float64), atol=1e-9)
