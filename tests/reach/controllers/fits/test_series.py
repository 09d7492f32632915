"""The interpolant of tanh against mpmath: remainder, rounding, and the range of a polynomial; broken twins."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf

from reach.controllers.fits import chebyshev, series, smooth
from reach.controllers.fits.chebyshev import NUMBER, POINTS, SAMPLED, SAMPLES, TO_CHEBYSHEV, TO_POWER, WEIGHTS


def test_tables_are_rounded_cosines():
    for i, n in enumerate(NUMBER):
        for j in range(n):
            assert float(mpmath.cospi(mpf(2 * j + 1) / (2 * n))) == POINTS[i, j]
            for k in range(0, n, 3):
                truth = mpmath.cospi(mpf(k * (2 * j + 1)) / (2 * n)) * (2 if k else 1) / n
                assert abs(WEIGHTS[i, j, k] - truth) <= abs(truth) * 2.0**-53
    for k in range(0, 32, 5):
        assert all(SAMPLED[k, i] == float(mpmath.cospi(mpf(k * i) / SAMPLES)) for i in range(SAMPLES + 1))
    assert (TO_POWER @ TO_CHEBYSHEV == np.eye(9)).all() and (TO_CHEBYSHEV.sum(0) == 1).all() and TO_CHEBYSHEV.min() == 0
    assert len(chebyshev.cosines(3)) == 13


@given(st.floats(-6, 6), st.floats(1e-9, 4.5), st.integers(1, 8))
def test_interpolant_remainder_and_rounding(m, w, degree):
    """|sum c_k T_k - tanh(m + w t)| <= remainder + noise."""
    i, remainder = series.choose(m, w, degree)
    c, d = np.zeros(32), np.zeros(32)
    noise = series.expand(m, w, i, 1.0, c, d)
    with mpmath.workdps(40):
        for t in np.cos(np.linspace(0, np.pi, 23) + 0.01):
            angle = mpmath.acos(mpf(float(t)))
            p = mpmath.fsum(mpf(float(c[k])) * mpmath.cos(k * angle) for k in range(NUMBER[i]))
            assert abs(p - mpmath.tanh(mpf(m) + mpf(w) * mpf(float(t)))) <= remainder + noise


def test_remainder_is_close_to_the_truth():
    """Within a factor of 400: a proof with a wrong exponent would be far off."""
    for w in (0.5, 1.0, 2.0, 4.0):
        i, remainder = series.choose(0.0, w, 4)
        c, d = np.zeros(32), np.zeros(32)
        series.expand(0.0, w, i, 1.0, c, d)
        t = np.linspace(-1, 1, 2001)
        truth = np.abs(np.polynomial.chebyshev.chebval(t, c[: NUMBER[i]]) - np.tanh(w * t)).max()
        assert truth <= remainder <= 400 * truth


def polynomial_excess(module, e: np.ndarray) -> float:
    low, high = module.polynomial_range(e, len(e), np.zeros(SAMPLES + 1))
    t = np.cos(np.linspace(0, np.pi, 40001))
    v = np.polynomial.chebyshev.chebval(t, e)
    return max(float(v.max()) - high, low - float(v.min()))


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=32))
def test_range_of_a_polynomial(e):
    assert polynomial_excess(series, np.array(e)) <= 1e-13 * len(e)


def test_range_without_the_gap_is_caught(broken):
    twin = broken(series, ("_GAP * bend + (n + 2)", "(n + 2)"))
    rng = np.random.default_rng(0)
    assert max(polynomial_excess(twin, rng.normal(size=24)) for _ in range(5)) > 1e-4


def tanh_excess(module, lower: float, upper: float, degree: int) -> float:
    """The largest |p - tanh| found less the claimed error, in exact arithmetic, over the error."""
    p = np.zeros((1, degree + 1))
    centre, radius, p, error, _, _ = module.sigmoid_type_fits(np.array([lower]), np.array([upper]), p, False, False, True)
    z = np.clip(centre[0] + radius[0] * np.r_[np.cos(np.linspace(0, np.pi, 601)), np.linspace(-1, 1, 600)], lower, upper)
    e = np.polynomial.polynomial.polyval((z - centre[0]) / radius[0], p[0]) - np.tanh(z)
    worst = mpf(0)
    with mpmath.workdps(40):
        for x in z[np.argsort(-np.abs(e))[:6]]:
            t, s = (Fraction(float(x)) - Fraction(float(centre[0]))) / Fraction(float(radius[0])), Fraction(0)
            for a in p[0][::-1]:
                s = s * t + Fraction(float(a))
            worst = max(worst, abs(mpf(s.numerator) / s.denominator - mpmath.tanh(mpf(float(x)))))
        return float((worst - error[0]) / error[0])


RANGES = [(-1.0, 1.0), (-0.3, 0.2), (0.0, 1.0), (-2.0, 3.0), (-4.0, 4.5), (0.5, 0.5 + 1e-7), (2.0, 9.0), (-30.0, 3.0), (-1e3, 2e3), (0.1, 0.1 + 1e-13)]


@pytest.mark.parametrize(("lower", "upper"), RANGES)
def test_tanh(lower, upper):
    assert max(tanh_excess(smooth, lower, upper, d) for d in (1, 3, 4, 6, 8)) <= 0


def test_a_forgotten_remainder_is_caught(broken):
    """With very few points the interpolant is poor: honest with its remainder, false without."""
    few = broken(series, ("                small = 2e-4 * bound * power\n", "                small = 1e9\n"))
    honest, false = broken(smooth), broken(smooth, ("+ remainder + UNIT", "+ UNIT"))
    for twin in (honest, false):
        twin.choose = few.choose
    cases = [(-1.0, 3.0, 6), (-2.0, 2.5, 5), (-4.0, 4.0, 6)]
    assert all(tanh_excess(honest, *case) <= 0 for case in cases) and any(tanh_excess(false, *case) > 0 for case in cases)


def test_forgotten_rounding_is_caught(broken):
    """On a range of width 1e-7 or 1e-13 rounding is all the error there is."""
    exact_values = ("    return 8.0 * (TANH_ERROR * most + slope * point) + n * (n + 4.0)", "    return 0.0 * n * (n + 4.0)")
    blind = broken(series, exact_values, (" + UNIT * abs(c[0]) + TINY", " + 0.0"), ("    noise += (degree + 4) * UNIT * size + TINY", "    noise += 0.0"))
    careless = broken(smooth, ("+ remainder + UNIT * (abs(p[0]) + abs(middle))", "+ remainder"))
    careless.expand, careless.interpolation_error = blind.expand, blind.interpolation_error
    assert max(tanh_excess(careless, a, a + 1e-7, 4) for a in (0.3, 0.5, 0.7, 1.1, 1.3)) > 0
