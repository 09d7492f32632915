"""Transition matrices of time-varying systems against exponentials in ball arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach.proof.transition import transition

flint = pytest.importorskip("flint")


def exponential(a: np.ndarray):
    return flint.arb_mat(a.tolist()).exp()


@given(st.integers(1, 4), st.sampled_from([1e-6, 0.1, 1.0, 3.0]), st.sampled_from([0.0, 1e-9, 0.05, 0.3]), st.integers(0, 10**6))
def test_switching_systems_are_enclosed(n, size, spread, seed):
    """A(t) piecewise constant with random members of the interval matrix: the product of exponentials is inside."""
    flint.ctx.prec = 200
    rng = np.random.default_rng(seed)
    a, r = rng.normal(size=(n, n)) * size / n, np.full((n, n), spread * size)
    found = transition(a[None], r[None])
    pieces = int(rng.integers(1, 5))
    shares = rng.dirichlet(np.ones(pieces))
    whole = flint.arb_mat(np.eye(n).tolist())
    for share in shares:
        member = flint.arb_mat((a + r * (1 - 1e-9) * rng.choice([-1.0, 1.0, 0.0], (n, n))).tolist())
        whole = (member * (flint.arb(float(share)) / flint.arb(float(shares.sum())) * (1 - flint.arb(2) ** -40))).exp() * whole
    for i in range(n):
        for j in range(n):
            away = abs(whole[i, j] - flint.arb(float(found.middle[0, i, j])))
            assert not bool(away > flint.arb(float(found.radius[0, i, j])) + flint.arb(2) ** -30), (i, j)
            assert not bool(abs(whole[i, j]) > flint.arb(float(found.majorant[0, i, j])))


@given(st.integers(1, 4), st.floats(0.01, 5.0), st.integers(0, 10**6))
def test_constant_matrices_are_sharp_and_enclosed(n, size, seed):
    flint.ctx.prec = 200
    a = np.random.default_rng(seed).normal(size=(n, n))
    a *= size / np.abs(a).sum(1).max()
    found, truth, top = transition(a[None], np.zeros((1, n, n))), exponential(a), exponential(np.abs(a))
    for i in range(n):
        for j in range(n):
            assert bool(abs(truth[i, j] - flint.arb(float(found.middle[0, i, j]))) <= flint.arb(float(found.radius[0, i, j])))
            assert bool(top[i, j] <= flint.arb(float(found.majorant[0, i, j])))
    assert found.radius.max() < 1e-11


def test_a_matrix_that_is_too_large_proves_nothing():
    with np.errstate(all="ignore"):
        found = transition(np.full((1, 2, 2), 100.0), np.zeros((1, 2, 2)))
    assert not np.isfinite(found.radius).any() and not np.isfinite(found.majorant).any()


def test_each_matrix_of_a_batch_has_its_own_end():
    a = np.stack([np.eye(2) * 1e-8, np.eye(2) * 4.0])
    found = transition(a, np.zeros_like(a))
    assert found.radius[0].max() < 1e-14 and np.isfinite(found.radius[1]).all()
