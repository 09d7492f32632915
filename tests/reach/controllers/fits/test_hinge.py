"""Table fits of max(z - knot, 0): exact rationals at the knot, the ends and the peaks; broken twins."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach.controllers.fits import hinge
from reach.controllers.fits.frame import frame
from reach.controllers.fits.table import HALF, relu_table


def excess(module, lower: float, upper: float, knot: float, degree: int) -> float:
    """The largest of |p - max(z - knot, 0)| - error found, in units of the radius: positive refutes the claim."""
    table, p = relu_table(degree), np.zeros(degree + 1)
    m, w = frame(lower, upper)
    error = module.hinge(lower, upper, m, w, knot, table.coefficients, table.error, p)
    z = np.clip(np.r_[lower, upper, knot, m + w * np.linspace(-1, 1, 2001)], lower, upper)
    e = np.polynomial.polynomial.polyval((z - m) / w, p) - np.maximum(z - knot, 0)
    near = np.concatenate([np.clip(z[i] + w * np.linspace(-1e-3, 1e-3, 201), lower, upper) for i in (e.argmax(), e.argmin())])
    fine = np.polynomial.polynomial.polyval((near - m) / w, p) - np.maximum(near - knot, 0)
    worst = Fraction(0)
    for x in {lower, upper, min(max(knot, lower), upper), near[fine.argmax()], near[fine.argmin()]}:
        t, s = (Fraction(float(x)) - Fraction(m)) / Fraction(w), Fraction(0)
        for c in p[::-1]:
            s = s * t + Fraction(float(c))
        worst = max(worst, abs(s - max(Fraction(float(x)) - Fraction(knot), Fraction(0))))
    return float((worst - Fraction(float(error))) / Fraction(w))


def between(degree: int, j: int, share: float) -> tuple[float, float]:
    """A range [-1 - kappa, 1 - kappa] whose knot 0 lies at that share between two knots of the table."""
    kappa = (j + share) / HALF - 1.0
    return -1.0 - kappa, 1.0 - kappa


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 6, 8])
def test_knots_of_the_table_and_between(degree):
    for j in (0, 1, 5, 300, 1023, 1024, 1800, 2046, 2047):
        for share in (0.0, 1e-15, 0.25, 0.5, 0.999999):
            lower, upper = between(degree, j, share)
            assert excess(hinge, lower, upper, 0.0, degree) <= 0


@given(st.floats(-50, 50), st.floats(0, 1), st.floats(1e-12, 1e6), st.integers(1, 8))
def test_hunt(knot, share, width, degree):
    assert excess(hinge, knot - share * width, knot + (1 - share) * width, knot, degree) <= 0


def test_linear_ranges():
    table, p = relu_table(3), np.zeros(4)
    assert hinge.hinge(-2.0, 0.5, -0.75, 1.25, 0.5, table.coefficients, table.error, p) == 0.0 and not p.any()
    assert hinge.hinge(0.0, 1.0, 0.5, 0.5, 0.0, table.coefficients, table.error, p) == 0.0 and p.tolist() == [0.5, 0.5, 0.0, 0.0]
    assert excess(hinge, 0.3, 0.7, 0.1, 3) <= 0


BROKEN = {
    "defect forgotten in the error": ("+ 0.5 * g + 6.0 * UNIT", "+ 6.0 * UNIT"),
    "defect subtracted twice": ("    p[0] -= 0.5 * g * w\n", "    p[0] -= g * w\n"),
    "the better of the two errors": ("(1.0 - l) * error[j] + l * error[j + 1]", "min(error[j], error[j + 1])"),
    "nearest knot": ("    l = x - j\n", "    l = float(x - j > 0.5)\n"),
    "sign of the knot": ("((knot - m) / w + 1.0)", "((m - knot) / w + 1.0)"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_twins_are_caught(name, broken):
    twin = broken(hinge, BROKEN[name])
    assert max(excess(twin, *between(degree, j, share), 0.0, degree) for degree in (1, 4) for j in (5, 700, 1024, 1500) for share in (0.4, 0.5)) > 0
