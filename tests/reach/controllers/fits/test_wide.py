"""The grid bound against tanh for polynomials of every size; broken twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach.controllers.fits import wide
from reach.controllers.fits.frame import frame


def excess(module, lower: float, upper: float, p: np.ndarray) -> float:
    """The largest violation found of low <= p - tanh <= high (in floats, so only above 1e-13 it means something)."""
    m, w = frame(lower, upper)
    low, high = module.grid_error(lower, upper, m, w, p, len(p) - 1)
    z = np.clip(np.r_[m + w * np.linspace(-1, 1, 20001), np.linspace(-4, 4, 2001)], lower, upper)
    e = np.polynomial.polynomial.polyval((z - m) / w, p) - np.tanh(z)
    return float(max(e.max() - high, low - e.min()))


@given(st.floats(-40, 40), st.floats(0.5, 300), st.lists(st.floats(-2, 2), min_size=2, max_size=9))
def test_hunt(m, w, p):
    assert excess(wide, m - w, m + w, np.array(p)) <= 1e-13 * (1 + np.abs(p).sum())


@pytest.mark.parametrize("scale", [1e5, 1e80, 1e300])
def test_far(scale):
    assert excess(wide, -scale, scale, np.array([0.0, 1.0, 0.0, -0.3])) <= 1e-12
    assert excess(wide, 0.5 * scale, scale, np.array([1.0, 0.1])) <= 1e-12


def test_polynomials_that_overflow_say_nothing():
    assert wide.grid_error(-1.0, 1.0, 0.0, 1.0, np.array([0.0, 1e200]), 1) == (-np.inf, np.inf)
    assert wide.grid_error(-1.0, 1.0, 0.0, 1.0, np.array([0.0, np.nan]), 1) == (-np.inf, np.inf)


BROKEN = {
    "no curvature of tanh": [("both = own + h * h / 8.0 * bend(fl, f) * (1.0 + 1e-13)", "both = own")],
    "no curvature of p": [("own = step * step / 8.0 * (max(s, sl) + flat + step * step / 8.0 * four) * (1.0 + 1e-13)", "own = 0.0")],
    "half of a cell forgotten": [("for c in range(1, FINE + 1)", "for c in range(1, FINE // 2)"), ("loose = 0.01", "loose = 0.0")],
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_twins_are_caught(name, broken):
    twin = broken(wide, *BROKEN[name])
    fits = [(-9.0, 9.0, [0.0, 1.2, 0.0, -0.3]), (-5.0, 5.0, [0.01, 0.3]), (-6.0, 6.0, [0.0, 5.0, 0.0, -20.0, 0.0, 16.0]), (-4.0, 5.0, [0.0, 0.0, 1.0])]
    fits += [(-1.0, 1.0, [0.0, s]) for s in np.linspace(0.63, 0.7, 15)]
    assert max(excess(twin, a, b, np.array(p)) for a, b, p in fits) > 1e-9


def bend_misses(module) -> bool:
    rng = np.random.default_rng(0)
    for a, b in np.sort(np.r_[rng.uniform(-1, 1, (300, 2)), [[0.57, 0.58], [-0.58, -0.57], [1.0, 1.0], [-1.0, 1.0], [0.3, 0.5773502691896257]]], axis=1):
        t = np.linspace(a, b, 300)
        if module.bend(a, b) < (2 * np.abs(t) * (1 - t * t)).max():
            return True
    return False


def test_curvature_of_tanh(broken):
    assert not bend_misses(wide)
    assert bend_misses(broken(wide, ("        return _TOP\n", "        return 0.0\n")))
    assert bend_misses(broken(wide, ("max(abs(a) * (1.0 - a * a), abs(b) * (1.0 - b * b))", "abs(a) * (1.0 - a * a)")))
