"""The exchange finds polynomials that are known to be best."""

from __future__ import annotations

import numpy as np
import pytest

from reach.controllers.fits.remez import alternation, exchange, extrema, powers, solve

T = np.cos(np.pi * np.arange(401) / 400)


def best(f: np.ndarray, degree: int) -> tuple[np.ndarray, float]:
    out = np.zeros(degree + 1)
    exchange(powers(T, degree), f, extrema(degree + 2, len(T)), 20, 1.0001, out)
    return out, float(np.abs(out @ powers(T, degree) - f).max())


@pytest.mark.parametrize("degree", range(1, 9))
def test_the_next_power(degree):
    """The best error of t^(d+1) is 2^-d. [Chebyshev]"""
    assert abs(best(T ** (degree + 1), degree)[1] * 2.0**degree - 1) < 1e-3


@pytest.mark.parametrize(("degree", "level"), [(1, 0.25), (2, 0.0625), (3, 0.0625)])
def test_the_hinge(degree, level):
    assert abs(best(np.maximum(T, 0.0), degree)[1] / level - 1) < 2e-3


def test_polynomials_are_found_and_nothing_is_worse_than_the_start():
    p, error = best(1.0 - 2.0 * T + T**3, 3)
    assert error < 1e-14 and np.allclose(p, [1, -2, 0, 1])
    start = np.array([0.5, 0.0])
    exchange(powers(T, 1), np.full(len(T), 0.5), extrema(3, len(T)), 5, 1.01, start)
    assert start.tolist() == [0.5, 0.0]


def test_solve_pivots():
    a = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, -1.0], [3.0, 1.0, 0.0]])
    x = np.array([1.0, -2.0, 0.5])
    b = a @ x
    solve(a.copy(), b)
    assert np.abs(b - x).max() < 1e-14


def test_alternation_keeps_the_larger_ends():
    e, out = np.array([0.1, 0.5, -2.0, -1.0, 3.0, -0.2, 4.0]), np.zeros(4, np.int64)
    assert alternation(e, out) and out.tolist() == [2, 4, 5, 6]
    assert not alternation(np.ones(5), out)
