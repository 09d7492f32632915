"""Zonotopes: sums, Girard's reduction as an exact inclusion, refusals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.sets import BUILD, numbers

from certify.core.errors import InputError
from certify.core.regions import Box
from reach.errors import ReachError
from reach.sets.union import SetUnion
from reach.sets.zonotope import Zonotope, girard

SEEDS = st.integers(0, 2**32 - 1)


def reduction_holds(reduce, generators: np.ndarray, columns: int) -> bool:
    """Kept columns are the same floats in the same order; the boxed ones fit, by exact row sums, into axis-parallel columns."""
    n, m = generators.shape
    made, boxed = reduce(generators, columns)
    kept = [j for j in range(m) if j not in set(boxed.tolist())]
    box = made[:, len(kept) :]
    if made.shape[1] > max(columns, 0) or not np.array_equal(made[:, : len(kept)], generators[:, kept]) or sorted(set(boxed.tolist())) != boxed.tolist():
        return False
    if len(boxed) and not (np.count_nonzero(box, axis=0) == 1).all():
        return False
    sums = [sum((abs(Fraction(float(g))) for g in row[boxed]), Fraction(0)) for row in generators]
    return all(total <= sum((abs(Fraction(float(g))) for g in row), Fraction(0)) for total, row in zip(sums, box))


@given(seed=SEEDS)
def test_reduction_is_a_superset(seed: int):
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 5)), int(rng.integers(0, 30))
    g = numbers(rng, n, m)
    columns = int(rng.integers(n, n + 12))
    assert reduction_holds(girard, g, columns)
    z, boxed = Zonotope(np.zeros(n), g).reduce(columns)
    assert z.columns <= columns and (len(boxed) > 0) == (m > columns)


def test_reduction_boxes_what_costs_nothing():
    """Axis-parallel columns go first: the set stays the same."""
    g = np.array([[1.0, 0.0, 1.0, 0.25, 0.0], [1.0, 0.5, -1.0, 0.0, 0.25]])
    made, boxed = girard(g, 4)
    assert boxed.tolist() == [1, 3, 4] and made.shape == (2, 4)
    assert np.abs(made).sum(1) == pytest.approx(np.abs(g).sum(1))
    with pytest.raises(InputError):
        girard(g, 1)


def sums_too_small(generators, columns):
    made, boxed = girard(generators, columns)
    made = made.copy()
    if len(boxed):
        kept = generators.shape[1] - len(boxed)
        radius = np.abs(generators[:, boxed]).sum(axis=1)
        made[:, kept:] = np.diag(radius)[:, radius > 0]
    return made, boxed


def a_column_lost(generators, columns):
    made, boxed = girard(generators, columns)
    return made, boxed[1:] if len(boxed) > 1 else boxed


def test_broken_reductions_are_caught():
    for broken in (sums_too_small, a_column_lost):
        cases = [(np.random.default_rng(seed).standard_normal((2, 12)), 6) for seed in range(30)]
        assert any(not reduction_holds(broken, *case) for case in cases), broken.__name__
        assert all(reduction_holds(girard, *case) for case in cases)


@given(seed=SEEDS)
def test_sums_hold_sums_of_members(seed: int):
    rng = np.random.default_rng(seed)
    (a, first), (b, second) = BUILD["Zonotope"](rng), BUILD["Zonotope"](rng)
    if a.dimension != b.dimension:
        with pytest.raises(InputError):
            a.minkowski_sum(b)
        return
    total = a.minkowski_sum(b)
    box = total.box()
    for _ in range(5):
        x = [p + q for p, q in zip(first(rng), second(rng))]
        assert all(l <= v <= u for l, v, u in zip(box.lower.tolist(), x, box.upper.tolist()))
    assert total.columns >= a.columns + b.columns


def test_hull_and_refusals():
    z = Zonotope([0.0, 1.0], [[1.0, 1.0], [1.0, -1.0]])
    h = z.hull()
    assert (h.box().lower <= z.box().lower).all() and (h.box().upper >= z.box().upper).all() and h.support([1.0, 1.0]) >= 4.99
    with pytest.raises(InputError):
        Zonotope([0.0], [[1.0], [1.0]])
    for bad in (np.nan, np.inf):
        with pytest.raises(ReachError):
            Zonotope([bad], np.zeros((1, 0)))
        with pytest.raises(ReachError):
            Zonotope([0.0], [[bad]])
    with pytest.raises(ReachError):
        Zonotope.from_box(Box([0.0], [np.inf]))
    with pytest.raises(ReachError):
        Zonotope([1e200], [[1e200, -1e200]]).affine([[1e200]])
    assert Zonotope([1.7e308], [[1.7e308]]).box().upper[0] == np.inf and Zonotope([1e308], [[1e308]]).support([2.0]) == np.inf
    assert not z.center.flags.writeable
    with pytest.raises(InputError):
        SetUnion((z, Zonotope([0.0], [[1.0]])))
    with pytest.raises(InputError):
        SetUnion(())
