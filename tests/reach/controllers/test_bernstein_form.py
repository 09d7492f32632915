"""Bernstein forms against exact rationals: values, derivatives, their ranges, and the substitution of polynomials."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach.controllers import bernstein_form
from reach.controllers.bernstein_error import cells_for, grid
from reach.controllers.bernstein_fit import classical, fitted, nodes, sample_points
from reach.controllers.bernstein_form import Tensor
from reach.controllers.bernstein_source import Domain
from reach.sets.ring import ring

seeds = st.integers(0, 2**32 - 1)


def exact(b: np.ndarray, t) -> Fraction:
    """B(t) in rationals for one output; t a list of Fractions."""
    total = Fraction(0)
    for k in itertools.product(*(range(n) for n in b.shape)):
        term = Fraction(float(b[k]))
        for i, j in enumerate(k):
            d, y = b.shape[i] - 1, (1 + t[i]) / 2
            term *= math.comb(d, j) * y**j * (1 - y) ** (d - j)
        total += term
    return total


def exact_slope(b: np.ndarray, t, i: int) -> Fraction:
    d = b.shape[i] - 1
    if d == 0:
        return Fraction(0)
    fractions = np.vectorize(lambda v: Fraction(float(v)), otypes=[object])(b)
    difference = np.diff(fractions, axis=i) * Fraction(d, 2)
    total = Fraction(0)
    for k in itertools.product(*(range(n) for n in difference.shape)):
        term = difference[k]
        for j, index in enumerate(k):
            e, y = difference.shape[j] - 1, (1 + t[j]) / 2
            term *= math.comb(e, index) * y**index * (1 - y) ** (e - index)
        total += term
    return total


def random_form(rng: np.random.Generator, highest: int = 5) -> Tensor:
    degrees = [int(d) for d in rng.integers(0, highest + 1, int(rng.integers(1, 4)))]
    return Tensor(rng.normal(size=(2, *(d + 1 for d in degrees))) * 10.0 ** rng.integers(-8, 8))


@settings(max_examples=15)
@given(seeds)
def test_values_and_derivatives_are_within_their_error(seed):
    rng = np.random.default_rng(seed)
    form = random_form(rng)
    n = len(form.degrees)
    t = rng.uniform(-1, 1, (4, n))
    t[0] = np.sign(t[0])
    values, error = form.values(t)
    steps, step_error = form.gradients(t)
    for k, point in enumerate(t):
        at = [Fraction(float(v)) for v in point]
        for o in range(2):
            b = form.coefficients[o]
            assert abs(Fraction(float(values[k, o])) - exact(b, at)) <= Fraction(float(error[o]))
            for i in range(n):
                slope = exact_slope(b, at, i)
                assert abs(Fraction(float(steps[k, o, i])) - slope) <= Fraction(float(step_error[o, i]))
                assert Fraction(float(form.slopes[0][o, i])) <= slope <= Fraction(float(form.slopes[1][o, i]))


@settings(max_examples=15)
@given(seeds)
def test_second_derivatives_are_bounded(seed):
    rng = np.random.default_rng(seed)
    form = random_form(rng)
    n = len(form.degrees)
    for _ in range(5):
        a, b = rng.uniform(-1, 1, (2, n))
        a, b = [Fraction(float(v)) for v in a], [Fraction(float(v)) for v in b]
        for o in range(2):
            for i in range(n):
                change = abs(exact_slope(form.coefficients[o], a, i) - exact_slope(form.coefficients[o], b, i))
                assert change <= sum(Fraction(float(form.bend[o, i, j])) * abs(a[j] - b[j]) for j in range(n))


@pytest.mark.parametrize("highest", [4, 13])
@settings(max_examples=8)
@given(seed=seeds)
def test_a_composition_contains_the_exact_one(highest, seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 3)) if highest > 4 else int(rng.integers(1, 4))
    degrees = [int(d) for d in rng.integers(0, highest + 1, n)]
    degrees[0] = highest
    form = Tensor(rng.normal(size=(1, *(d + 1 for d in degrees))))
    r = ring(int(rng.integers(0, 3)), int(rng.integers(1, 4)))
    rows = rng.normal(size=(n, r.size))
    rows /= np.abs(rows).sum(axis=1, keepdims=True) * 1.0001
    rest = np.full(n, 1e-5)
    made, remainder = form.compose(r, rows, rest)
    for _ in range(3):
        s = [Fraction(float(v)) for v in rng.uniform(-1, 1, r.variables)]
        powers = [math.prod((v ** int(e) for v, e in zip(s, exponents)), start=Fraction(1)) for exponents in r.exponents]
        t = [sum((Fraction(float(c)) * p for c, p in zip(row, powers)), Fraction(0)) + Fraction(float(d)) for row, d in zip(rows, rng.uniform(-1, 1, n) * rest)]
        said = sum((Fraction(float(c)) * p for c, p in zip(made[0], powers)), Fraction(0))
        assert abs(exact(form.coefficients[0], t) - said) <= Fraction(float(remainder[0]))


def test_high_degrees_do_not_blow_up():
    form = Tensor(np.cos(np.linspace(0, 3, 25))[None])
    r = ring(1, 4)
    rows = np.zeros((1, r.size))
    rows[0, 1] = 0.01
    _, remainder = form.compose(r, rows, np.zeros(1))
    assert remainder[0] < 1e-6


def test_a_conversion_without_its_error_is_caught(monkeypatch):
    def exactly(C, R, axis, d):
        made, error = original(C, R, axis, d)
        return made, error * 0

    original = bernstein_form._converted
    rng = np.random.default_rng(0)
    r, t = ring(1, 12), np.zeros((1, 13))
    t[0, 1] = 1.0

    def misses() -> int:
        count = 0
        for _ in range(40):
            form = Tensor(rng.normal(size=(1, 13)))
            made, remainder = form.compose(r, t, np.zeros(1))
            s = Fraction(float(rng.uniform(-1, 1)))
            said = sum(Fraction(float(c)) * s**k for k, c in enumerate(made[0]))
            size = Fraction(float(np.abs(made).sum())) * Fraction(2, 10**16)
            count += abs(exact(form.coefficients[0], [s]) - said) > Fraction(float(remainder[0])) + 0 * size
        return count

    assert misses() == 0
    monkeypatch.setattr(bernstein_form, "_converted", exactly)
    monkeypatch.setattr(bernstein_form, "horner_rows", lambda C, R, t, rt, *tables: (_horner(C), np.zeros(len(C))))
    assert misses() > 0


def _horner(C):
    """Rows sum_j C[q, j] s^j for scalar coefficients: the composition with t = s."""
    made = np.zeros((len(C), C.shape[2]))
    made[:, : C.shape[1]] = C[:, :, 0]
    return made


def test_cells_cover_the_cube_and_spend_the_budget():
    for cells in [(1,), (3,), (7, 2), (1, 1, 5)]:
        centres, widths = grid(cells)
        assert len(centres) == math.prod(cells)
        for point in np.random.default_rng(0).uniform(-1, 1, (200, len(cells))):
            assert (np.abs(point - centres) <= widths).all(axis=1).any()
        assert (np.abs(np.ones(len(cells)) - centres) <= widths).all(axis=1).any()
    assert cells_for(np.array([1.0, 1.0]), 100) == (10, 10)
    assert cells_for(np.array([1.0, 0.0]), 100) == (100, 1)
    assert cells_for(np.zeros(2), 9) == (1, 1) and cells_for(np.zeros(0), 9) == ()
    for budget in (1, 7, 1000):
        assert math.prod(cells_for(np.array([3.0, 1.0, 0.2]), budget)) <= budget


def test_fits_reproduce_what_the_ring_holds():
    points = sample_points(80, 2)
    values = (1 + points[:, 0] - 2 * points[:, 0] * points[:, 1])[:, None]
    form = fitted(80, values, 3, np.zeros(2), 1e-6)
    assert form.degrees == (2, 2)
    assert np.abs(form.values(points)[0] - values).max() < 1e-12

    class Values:
        def values(self, x):
            return x[:, :1] ** 2, np.full((len(x), 1), 1e-15)

    form, half = classical(Values(), Domain(np.array([0.0]), np.array([1.0]), np.array([0])), (2,))
    assert form.coefficients.tolist() == [[1.0, 0.0, 1.0]] and half[0] == 1e-15
    assert nodes((2, 0)).tolist() == [[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]
