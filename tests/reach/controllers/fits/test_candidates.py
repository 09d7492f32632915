"""Candidates are what their names say (accuracy only: their errors are proved by others)."""

from __future__ import annotations

import numpy as np

from reach.controllers.fits import candidates

T = np.linspace(-1, 1, 41)


def poly(rows, t=T):
    return np.polynomial.polynomial.polyval(t, np.asarray(rows).T)


def test_bernstein_reproduces_lines_and_lifts_convex_functions():
    line = candidates.bernstein(lambda t: np.stack([2 * t - 1, np.abs(t)], axis=1), 6)
    assert np.abs(poly(line)[0] - (2 * T - 1)).max() < 1e-14 and (poly(line)[1] >= np.abs(T) - 1e-14).all()


def test_taylor_of_tanh():
    rows = candidates.taylor(np.tanh(np.array([0.0, 0.4])), np.array([1.0, 0.01]), 7)
    assert np.allclose(rows[0], [0, 1, 0, -1 / 3, 0, 2 / 15, 0, -17 / 315])
    assert np.abs(poly(rows)[1] - np.tanh(0.4 + 0.01 * T)).max() < 1e-15


def test_chebyshev_and_minimax_reproduce_polynomials():
    def values(t):
        return np.stack([t**3 - 0.5 * t, 1 + t**2], axis=1)

    for method in (candidates.chebyshev, candidates.minimax):
        assert np.abs(poly(method(values, 3)) - values(T).T).max() < 1e-12


def test_rows_that_are_not_finite_become_constants():
    rows = candidates.candidate("chebyshev", lambda t: np.stack([np.where(t == 0, 7.0, np.inf), t], axis=1), 2)
    assert rows[0].tolist() == [7.0, 0.0, 0.0] and np.isfinite(rows).all()
