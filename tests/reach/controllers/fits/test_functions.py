"""exp and tanh of our own against mpmath: the proved error is never beaten, not even at half of it by much."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from reach.controllers.fits import functions

EDGES = [0.0, 5e-324, 1e-310, 1e-160, 1e-20, 1e-9, 0.1732, 0.17329, 0.3466, 0.34657359, 0.5, 1.0, 18.0, 19.99999, 20.0, 20.0000001, 349.9, 350.0, 700.0, 1e300]


def points(top: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    near = np.outer(np.arange(1, 40) * math.log(2) / 2, 1 + np.linspace(-1e-12, 1e-12, 5)).ravel()  # where the reduction changes its k
    every = np.r_[EDGES, rng.uniform(0, top, 1500), 10.0 ** rng.uniform(-18, math.log10(top), 1500), near, near / 2]
    return every[every <= top]


def tanh_misses(tanh) -> float:
    """The largest error in units of the claimed one."""
    worst = 0.0
    with mpmath.workdps(40):
        for x in points(1e300):
            y = tanh(float(x))
            assert tanh(-float(x)) == -y and abs(y) <= 1
            gap = abs(mpmath.tanh(mpf(float(x))) - y if x < 1e3 else 1 - mpf(y))
            worst = max(worst, float(gap / (functions.TANH_ERROR * mpf(y) + mpf(2) ** -1000)))
    return worst


def test_tanh():
    assert tanh_misses(functions.tanh) <= 0.5


def test_a_short_series_is_caught(broken):
    """Without the last terms of the series, or with a ln 2 of 42 bits, the error is seen."""
    assert tanh_misses(broken(functions, ("_C[11] + t * (_C[12] + t * _C[13])", "_C[11]")).tanh) > 1
    assert tanh_misses(broken(functions, ("(y + k * _LN2_HIGH) + k * _LN2_LOW", "y + k * _LN2_HIGH")).tanh) > 1


def test_exp_negative():
    with mpmath.workdps(40):
        for x in points(700.0):
            y, truth = functions.exp_negative(-float(x)), mpmath.exp(-mpf(float(x)))
            assert abs(truth - y) <= 0.5 * functions.EXP_ERROR * y


def test_slope_is_enclosed():
    with mpmath.workdps(40):
        for x in points(1e300):
            below, above = functions.tanh_slope(float(x))
            truth = 1 / mpmath.cosh(mpf(float(min(x, 1e4)))) ** 2
            assert below <= truth <= above and (above - below <= 1e-14 * above or x > 349)


def test_constants_are_what_the_proof_says():
    high = functions._LN2_HIGH
    assert high == round(high * 2**42) / 2**42 and all((high * k).hex() == (mpf(high) * k and float(mpf(high) * k)).hex() for k in (1, 511, 1010))
    with mpmath.workdps(60):
        assert abs(mpf(high) + mpf(functions._LN2_LOW) - mpmath.log(2)) < mpf(2) * mpf(10) ** -31
    assert len(functions._POWERS) > 1011 and functions._POWERS[1010] == 2.0**-1010


@pytest.mark.parametrize("x", [math.inf, 1e308])
def test_far_out(x):
    assert functions.tanh(x) == 1.0 and functions.tanh(-x) == -1.0
