"""The table of ReLU fits, proved again in rational arithmetic: Bernstein coefficients of error[j] +- e on subdivided pieces."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from reach.controllers.fits import table
from reach.controllers.fits.table import HALF, relu_table

KNOTS = [1, 2, 77, 500, 1023, 1024, 1025, 1500, 2040, 2047]


def value(p, t) -> Fraction:
    s = Fraction(0)
    for c in p[::-1]:
        s = s * t + c
    return s


def bernstein(p: list[Fraction], a: Fraction, b: Fraction) -> list[Fraction]:
    """Bernstein coefficients on [a, b] of a polynomial in powers."""
    n = len(p) - 1
    q = [sum(p[j] * comb(j, i) * a ** (j - i) for j in range(i, n + 1)) * (b - a) ** i for i in range(n + 1)]
    return [sum(Fraction(comb(k, i), comb(n, i)) * q[i] for i in range(k + 1)) for k in range(n + 1)]


def nonnegative(c: list[Fraction], depth: int = 40) -> bool:
    """Whether the polynomial with these Bernstein coefficients is >= 0 on its interval: halves until all coefficients are. [de Casteljau]"""
    if min(c) >= 0:
        return True
    if min(c[0], c[-1]) < 0 or depth == 0:
        return False
    left, right, row = [c[0]], [c[-1]], c
    while len(row) > 1:
        row = [(x + y) / 2 for x, y in zip(row, row[1:])]
        left.append(row[0])
        right.append(row[-1])
    return nonnegative(left, depth - 1) and nonnegative(right[::-1], depth - 1)


def true_maximum(p: np.ndarray, knot: float) -> Fraction:
    """The largest |p(t) - max(t - knot, 0)| at the ends, the knot and the (float) critical points of both pieces: a lower end of the truth."""
    exact, most = [Fraction(float(c)) for c in p], Fraction(0)
    for a, b, slope in ((-1.0, knot, 0), (knot, 1.0, 1)):
        derivative = p[1:] * np.arange(1, len(p))
        derivative[0] -= slope
        roots = np.polynomial.polynomial.polyroots(derivative) if np.any(derivative[1:]) else np.array([])
        inside = roots.real[(np.abs(roots.imag) < 1e-8) & (roots.real > a) & (roots.real < b)]
        most = max([most, *(abs(value(exact, Fraction(float(t))) - slope * (Fraction(float(t)) - Fraction(knot))) for t in [a, b, *inside])])
    return most


@pytest.mark.parametrize("degree", [1, 2, 4, 6])
def test_errors_hold_in_rational_arithmetic(degree):
    found = relu_table(degree)
    for j in KNOTS[:: 1 + degree // 4]:
        knot, e = Fraction(float(found.knots[j])), Fraction(float(found.error[j]))
        p = [Fraction(float(c)) for c in found.coefficients[j]]
        for a, b, slope in ((Fraction(-1), knot, 0), (knot, Fraction(1), 1)):
            q = [c - slope * x for c, x in zip(p, [-knot, Fraction(1)] + [Fraction(0)] * degree)]
            for sign in (1, -1):
                assert nonnegative(bernstein([e * (i == 0) - sign * c for i, c in enumerate(q)], a, b)), (degree, j)


@pytest.mark.parametrize("degree", range(1, 9))
def test_errors_are_above_the_truth_and_close(degree):
    found = relu_table(degree)
    for j in range(3, 2 * HALF, 97):
        truth = true_maximum(found.coefficients[j], float(found.knots[j]))
        assert truth <= Fraction(float(found.error[j])) <= truth * (1 + Fraction(1, 10**4))


def test_figures_and_ends():
    """e(knot = 0) of methods/reach.md section 3."""
    for degree, level in ((1, 0.25), (3, 0.0625), (4, 0.0338), (6, 0.0230)):
        assert relu_table(degree).error[HALF] <= 1.002 * level
    found = relu_table(4)
    assert found.knots.tolist() == [j / HALF - 1 for j in range(2 * HALF + 1)]
    assert found.error[0] == found.error[-1] == 0.0 and found.coefficients[0].tolist() == [1, 1, 0, 0, 0] and not found.coefficients[-1].any()
    with pytest.raises(ValueError):
        found.error[3] = 0.0


def test_broken_proofs_are_caught(broken):
    """No gap between samples; the knot left out."""
    p, caught = relu_table(6).coefficients, 0
    blind = broken(table, ("return (h * h / 8.0 + 2e-16 * h + 1e-31) * second * (1.0 + 1e-13)", "return 0.0"))
    for j in (300, 700, 1000):
        knot = j / HALF - 1.0
        claimed = max(blind.piece_error(p[j], -1.0, knot, 0.0, knot), blind.piece_error(p[j], knot, 1.0, 1.0, knot))
        caught += Fraction(float(claimed)) < true_maximum(p[j], knot)
    assert caught
    lifted = np.array([0.3, 0.5])  # worst at the knot 0
    sides = max(table.piece_error(lifted, -1.0, -0.02, 0.0, 0.0), table.piece_error(lifted, 0.02, 1.0, 1.0, 0.0))
    assert Fraction(float(sides)) < true_maximum(lifted, 0.0) == Fraction(0.3)
