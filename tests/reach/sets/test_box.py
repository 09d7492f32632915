"""Boxes: exact covers with bit-identical faces, unbounded ends, exact supports."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.core.errors import InputError
from certify.core.regions import Box
from reach.sets.box import BoxSet, grid, hull, inside, split
from reach.sets.zonotope import Zonotope

PAIRS = st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=4)


def box_of(pairs) -> Box:
    return Box([min(p) for p in pairs], [max(p) for p in pairs])


@given(pairs=PAIRS, which=st.integers(0, 3))
def test_splits_cover_exactly(pairs, which: int):
    box, i = box_of(pairs), which % len(pairs)
    lower, upper = box.lower[i], box.upper[i]
    if not np.nextafter(lower, math.inf) < upper:
        with pytest.raises(InputError):
            split(box, i)
        return
    a, b = split(box, i)
    assert a.upper[i].tobytes() == b.lower[i].tobytes() and lower < a.upper[i] < upper
    assert a.lower.tobytes() == box.lower.tobytes() and b.upper.tobytes() == box.upper.tobytes()
    others = [j for j in range(len(pairs)) if j != i]
    assert a.upper[others].tobytes() == box.upper[others].tobytes() and b.lower[others].tobytes() == box.lower[others].tobytes()
    joined = hull([a, b])
    assert inside(box, joined) and inside(joined, box) and inside(a, box) and not inside(box, a)


@given(pairs=PAIRS, parts=st.lists(st.integers(1, 3), min_size=4, max_size=4))
def test_grids_cover_exactly(pairs, parts):
    box, parts = box_of(pairs), parts[: len(pairs)]
    try:
        cells = grid(box, parts)
    except InputError:
        assert any(p > 1 and u - l < 1e-307 or p > 1 and np.nextafter(np.nextafter(l, math.inf), math.inf) >= u for p, l, u in zip(parts, box.lower, box.upper))
        return
    assert len(cells) == math.prod(parts) and inside(hull(cells), box) and inside(box, hull(cells))
    for i in range(len(parts)):  # along each dimension: consecutive intervals that share their face
        ends = sorted({(float(c.lower[i]), float(c.upper[i])) for c in cells})
        assert all(x[1] == y[0] for x, y in zip(ends, ends[1:])) and len(ends) == (parts[i] if box.lower[i] < box.upper[i] else 1)


@pytest.mark.parametrize("cut", [0.0, 1.0, -1.0, math.nan, math.inf])
def test_cuts_outside_are_refused(cut: float):
    with pytest.raises(InputError):
        split(Box([0.0], [1.0]), 0, cut)
    for dimension in (-1, 1):
        with pytest.raises(InputError):
            split(Box([0.0], [1.0]), dimension)


def test_unbounded_boxes():
    s = BoxSet(Box([-math.inf, 0.0], [1.0, math.inf]))
    assert s.support([1.0, 0.0]) == 1.0 and s.support([1.0, -1.0]) == 1.0 and s.support([-1.0, 0.0]) == math.inf
    image = s.affine([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]], [1.0, 0.0, 3.0]).box()
    assert image.lower[0] == -math.inf and 2.0 <= image.upper[0] <= 2.0 + 1e-9 and image.upper[1] == math.inf and abs(image.lower[1]) < 1e-300
    assert image.lower[2] == image.upper[2] == 3.0 or (image.lower[2] <= 3.0 <= image.upper[2])
    x = s.sample(50)
    assert all(s.region.contains(row) for row in x)
    a, b = split(s.region, 1)
    assert a.upper[1] == b.lower[1] and math.isfinite(a.upper[1])
    with pytest.raises(InputError):
        grid(s.region, [2, 2])
    for lower, upper in (([math.inf], [math.inf]), ([-math.inf], [-math.inf]), ([[0.0]], [[1.0]])):
        with pytest.raises(InputError):
            BoxSet(Box(lower, upper))


@given(pairs=PAIRS, seed=st.integers(0, 2**31))
def test_samples_are_members_exactly_and_supports_tight(pairs, seed: int):
    s, rng = BoxSet(box_of(pairs)), np.random.default_rng(seed)
    assert all(s.region.contains(x) for x in s.sample(30, seed))
    c = rng.integers(-2, 3, len(pairs)).astype(float)
    truth = sum((Fraction(v) * Fraction(float(u if v > 0 else l)) for v, l, u in zip(c.tolist(), s.region.lower, s.region.upper)), Fraction(0))
    bound = s.support(c)
    assert truth <= bound and (math.isinf(bound) or bound == 0 or Fraction(np.nextafter(bound, -math.inf)) <= truth)


def test_points_stay_points():
    """Zero widths, also the smallest subnormal: no generator, no width."""
    for x in (0.0, 5e-324, 1.5e-323, 0.1, 1e300):
        z = Zonotope.from_box(Box([x], [x]))
        assert z.columns == 0 and z.box().lower[0] == z.box().upper[0] == x


def test_empty_dimension_list():
    assert BoxSet(Box([], [])).support([]) == 0.0 and len(grid(Box([], []), [])) == 1 and BoxSet(Box([], [])).sample(3).shape == (3, 0)
    with pytest.raises(InputError):
        hull([])
