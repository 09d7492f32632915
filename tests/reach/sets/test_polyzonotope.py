"""The set that reachability carries: boxes as sets, finer ranges against exact values, what is not finite, f = 0 and m = 0."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.polynomials import coefficients, rings
from strategies.sets import between, ends
from truth.polynomials import point, value

from certify.core.errors import CertifyError, InputError
from reach.sets.polyzonotope import PolynomialZonotope, range_of, row_sums
from reach.sets.ring import ring

SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS)
def test_boxes_as_sets(seed: int):
    """from_box holds the whole box, for every order and choice of free variables: corners and points between."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 4))
    lower, upper = ends(rng, n)
    free = None if rng.random() < 0.5 else np.flatnonzero((upper > lower) & (rng.random(n) < 0.5))
    z = PolynomialZonotope.from_box(lower, upper, int(rng.integers(0, 4)), free)
    for _ in range(4):
        x = [between(rng, l, u) for l, u in zip(lower, upper)]
        for i, (v, row, g) in enumerate(zip(x, z.coefficients, z.generators)):  # each coordinate has one symbol of its own, or is a point
            own = np.flatnonzero(row[1:]).tolist()
            spread = sum(abs(Fraction(float(c))) for c in row[1:]) + sum(abs(Fraction(float(c))) for c in g)
            assert len(own) + np.count_nonzero(g) <= 1 and abs(v - Fraction(float(row[0]))) <= spread, (i, seed)


@pytest.mark.parametrize("x", [0.0, 5e-324, 1.5e-323, -5e-324, 0.1, 1e300])
def test_points_are_sets_too(x: float):
    z = PolynomialZonotope.from_box([x], [x], 2)
    box = z.box()
    assert z.ring.variables == 0 and z.generators.shape == (1, 0) and box.lower[0] <= x <= box.upper[0] and float(z.coefficients[0, 0]) == x


def range_holds(ranges, r, row, pieces, s) -> bool:
    lo, hi = ranges(r, row[None], pieces)
    return bool(lo[0] <= hi[0]) and Fraction(float(lo[0])) <= value(r, row, s) <= Fraction(float(hi[0]))


@given(seed=SEEDS)
def test_finer_ranges(seed: int):
    rng = np.random.default_rng(seed)
    for _ in range(3):
        r = rings(rng, 3, 5, 40)
        row = coefficients(rng, r.size)
        for pieces in (None, 1, 2, 3):
            assert range_holds(range_of, r, row, pieces, point(r, rng)), (seed, pieces)


def test_finer_ranges_of_subnormal_coefficients():
    rng = np.random.default_rng(0)
    r = ring(2, 4)
    for _ in range(50):
        row = np.round(rng.standard_normal(r.size) * 20) * 5e-324
        for s in ([1, 1], [-1, 1], [1, -1], [-1, -1]):
            assert range_holds(range_of, r, row, 8, [Fraction(v) for v in s])


def test_what_is_not_finite_is_never_lost():
    """A NaN or infinite entry gives infinite ends, a NaN bound, or an error; never a finite box."""
    r = ring(1, 2)
    for c, e in (([[0.0] * 3], [[math.nan]]), ([[0.0] * 3], [[math.inf, -1.0]]), ([[0.0, math.nan, 0.0]], [[1.0]]), ([[math.inf, 0.0, 0.0]], [[1.0]])):
        try:
            z = PolynomialZonotope(r, np.array(c), np.array(e))
            box = z.box()
        except CertifyError:
            continue
        assert box.lower[0] == -math.inf or box.upper[0] == math.inf
    assert not (row_sums(np.array([[math.nan, 1.0], [math.inf, 1.0]])) < math.inf).any()


def test_a_set_that_overflows_is_not_bounded():
    z = PolynomialZonotope(ring(1, 2), np.array([[1e200, 1e200, 0.0]]), np.array([[1e200, -1e200]]))
    with np.errstate(all="ignore"):
        try:
            image = z.affine([[1e200]])
            box = image.box()
            assert box.upper[0] == math.inf and not image.support([1.0]) < math.inf
        except CertifyError:
            pass
        assert z.support([1e200]) == math.inf
        both = PolynomialZonotope(ring(1, 1), np.array([[1e200, 1.0], [1e200, 1.0]]), np.zeros((2, 0)))
        assert both.support([1e200, -1e200]) == math.inf  # an upper bound, not NaN


def test_samples_without_variables():
    z = PolynomialZonotope.from_box([0.5, 1.0], [0.5, 1.0], 3)
    assert z.sample(5).tolist() == [[0.5, 1.0]] * 5 and z.sample(0).shape == (0, 2)
    assert PolynomialZonotope.from_box([], [], 2).sample(3).shape == (3, 0)


def test_time_ranges_over_zero_to_one():
    """A piece of a tube is such a set: tau is its last variable."""
    z = PolynomialZonotope(ring(1, 1, True), np.array([[0.0, 1.0]]), np.zeros((1, 0)))
    x = z.sample(50)
    assert x.min() == 0.0 and x.max() == 1.0 and -1e-9 <= z.box().lower[0] <= 0.0 and z.box().upper[0] >= 1.0


@pytest.mark.parametrize(("lower", "upper"), [([0.0], [math.inf]), ([1.0], [0.0]), ([math.nan], [1.0])])
def test_unusable_boxes(lower, upper):
    with pytest.raises(InputError):
        PolynomialZonotope.from_box(lower, upper, 2)
