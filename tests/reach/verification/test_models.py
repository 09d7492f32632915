"""Violations as polynomials, against exact rational arithmetic; formulas on boxes, against mpmath."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach.sets.ring import ring
from reach.specification import HalfSpace
from reach.verification import models
from reach.verification.enclose import enclose
from reach.verification.inclusion import inside, look, outside
from reach.verification.models import StateModel, affine_model
from reach.verification.patches import Patch, at_tau
from reach.verification.regions import read_region

R = ring(2, 3)


def exact_value(row: np.ndarray, exponents: np.ndarray, s: list[Fraction]) -> Fraction:
    total = Fraction(0)
    for c, powers in zip(row.tolist(), exponents.tolist(), strict=True):
        term = Fraction(c)
        for x, e in zip(s, powers, strict=True):
            term *= x**e
        total += term
    return total


def random_patch(rng: np.random.Generator, n: int = 2, r=R, symbols: int = 3) -> Patch:
    scale = 10.0 ** rng.integers(-3, 4, (n, 1))
    rows = rng.normal(size=(n, r.size)) * scale
    generators = rng.normal(size=(n, symbols)) * scale * 1e-3
    return Patch(r, rows, generators, np.abs(rng.normal(size=n)) * scale[:, 0] * 1e-5, 0.0, 0.0, 0)


def members(patch: Patch, rng: np.random.Generator, count: int):
    """(s, exact state) of points of the patch: dyadic s, symbols and radius at their ends."""
    for _ in range(count):
        s = [Fraction(int(k), 8) for k in rng.integers(-8, 9, patch.ring.variables)]
        if patch.ring.time:
            s[-1] = abs(s[-1])
        eps = rng.choice([-1, 1], patch.generators.shape[1]).tolist()
        x = []
        for row, generator, radius in zip(patch.coefficients, patch.generators, patch.radius, strict=True):
            value = exact_value(row, patch.ring.exponents, s)
            x.append(value + sum(Fraction(g) * e for g, e in zip(generator.tolist(), eps, strict=True)) + int(rng.choice([-1, 1])) * Fraction(float(radius)))
        yield s, x


@given(st.integers(0, 10**6), st.booleans())
def test_half_spaces_against_rationals(seed, inner):
    rng = np.random.default_rng(seed)
    patch = random_patch(rng)
    region = read_region([HalfSpace((rng.normal(size=2) * 10.0 ** rng.integers(-2, 3)).tolist(), float(rng.normal())), HalfSpace({"x": 1}, 0.1)], ("x", "y"), "Stay")
    rows, error = affine_model(region.constraints, [patch], inner)
    for s, x in members(patch, rng, 6):
        for j, c in enumerate(region.constraints):
            for reading in (0, 1):
                truth = sum((ends[reading] * v for ends, v in zip(c.exact[0], x, strict=True)), Fraction(0)) - Fraction(c.low if inner else c.high)
                assert abs(truth - exact_value(rows[0, j], R.exponents, s)) <= Fraction(float(error[0, j]))


def test_a_model_without_its_rounding_would_be_caught(monkeypatch):
    """The mutant: no error for the inner product. The test above then fails for some seed."""
    monkeypatch.setattr(models, "gamma", lambda n: 0.0)
    monkeypatch.setattr(models, "U", 0.0)
    monkeypatch.setattr(models, "up", lambda x: x)
    caught = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        patch = Patch(R, rng.normal(size=(2, R.size)), np.zeros((2, 0)), np.zeros(2), 0.0, 0.0, 0)
        region = read_region("3*x + 7*y <= 5", ("x", "y"), "Stay")
        c = region.constraints[0]
        rows, error = affine_model(region.constraints, [patch], True)
        for s, x in members(patch, rng, 4):
            truth = sum((ends[0] * v for ends, v in zip(c.exact[0], x, strict=True)), Fraction(0)) - Fraction(c.low)
            caught += abs(truth - exact_value(rows[0, 0], R.exponents, s)) > Fraction(float(error[0, 0]))
    assert caught


@given(st.integers(0, 10**6))
def test_one_time_of_a_tube_piece(seed):
    rng = np.random.default_rng(seed)
    r = ring(2, 4, True)
    patch = Patch(r, rng.normal(size=(2, r.size)) * 10.0 ** rng.integers(-6, 6), np.zeros((2, 0)), np.zeros(2), 1.0, 3.0, 1)
    tau = float(rng.choice([0.0, 0.25, 0.3, 1.0, rng.random()]))
    moment = at_tau(patch, tau)
    assert moment.start == moment.end == pytest.approx(1 + 2 * tau)
    for k in range(-4, 5):
        s = [Fraction(k, 4)]
        for row, made, radius in zip(patch.coefficients, moment.coefficients, moment.radius, strict=True):
            truth = exact_value(row, r.exponents, [*s, Fraction(tau)])
            assert abs(truth - exact_value(made, moment.ring.exponents, s)) <= Fraction(float(radius))


FORMULAS = {
    "0.2 + 2*0.001027*sqrt(x**2 + y**2) - sqrt(x**2) >= 0": lambda x, y: mpmath.mpf("0.2") + mpmath.mpf("0.002054") * mpmath.sqrt(x * x + y * y) - abs(x),
    "sin(x)*y - exp(-y**2) >= 0": lambda x, y: mpmath.sin(x) * y - mpmath.exp(-y * y),
    "x**3/(3 + y**2) - pi*y >= 0": lambda x, y: x**3 / (3 + y * y) - mpmath.pi * y,
}


@pytest.mark.parametrize("text", FORMULAS)
@given(seed=st.integers(0, 10**6))
def test_formulas_by_intervals_and_by_taylor_models(text, seed):
    rng = np.random.default_rng(seed)
    patch = random_patch(rng)
    region = read_region(text.replace("sqrt(x**2)", "sqrt(x**2 + 0)"), ("x", "y"), "Stay")
    made = StateModel(region, [patch], True)(R, patch.coefficients[None], np.zeros((1, 2)), np.array([0]))
    with mpmath.workdps(40):
        for s, x in members(patch, rng, 4):
            v = -FORMULAS[text](*(mpmath.mpf(q.numerator) / q.denominator for q in x))
            assert made.lower[0, 0] <= v <= made.upper[0, 0]
            if np.isfinite(made.error[0, 0]):
                model = exact_value(made.rows[0, 0], R.exponents, s)
                assert abs(v - mpmath.mpf(model.numerator) / model.denominator) <= mpmath.mpf(float(made.error[0, 0]))


def test_an_undefined_formula_gives_no_bound():
    tape = read_region("1 + (1/x)**2 >= 0", ("x",), "Stay").constraints[0].tape
    low, high = enclose(tape, np.array([[-1.0], [1.0], [0.0], [np.nan], [-np.inf]]), np.array([[1.0], [2.0], [1.0], [1.0], [1.0]]))
    assert np.isinf(low[[0, 2, 3, 4]]).all() and np.isinf(high[[0, 2, 3, 4]]).all() and low[1] >= 1.2
    tape = read_region("sqrt(x) >= 0", ("x",), "Stay").constraints[0].tape
    low, high = enclose(tape, np.array([[0.0], [-1e-300]]), np.array([[4.0], [4.0]]))
    assert low[0] <= 0 and 2 <= high[0] < 2.0001 and np.isinf(low[1])


def still(x, width=0.0, generators=None) -> Patch:
    """The interval x +- width as a patch of a ring with one variable."""
    r = ring(1, 2)
    return Patch(r, np.array([[x, width, 0.0]]), np.zeros((1, 0)) if generators is None else np.asarray(generators), np.zeros(1), 0.0, 0.0, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("text", ["x <= 1", "x >= -1", "x**2 <= 1", "Abs(x) <= 1", "Abs(x) >= 1", "x*x >= -1"])
def test_nothing_is_shown_of_a_patch_that_is_not_finite(value, text):
    region = read_region(text, ("x",), "Stay")
    good = still(0.0)
    r = good.ring
    for patch in (
        Patch(r, np.array([[value, 0.0, 0.0]]), np.zeros((1, 0)), np.zeros(1), 0.0, 0.0, 0),
        Patch(r, np.array([[0.0, 0.0, value]]), np.zeros((1, 0)), np.zeros(1), 0.0, 0.0, 0),
        Patch(r, good.coefficients, np.array([[value]]), np.zeros(1), 0.0, 0.0, 0),
        Patch(r, good.coefficients, np.zeros((1, 0)), np.array([abs(value)]), 0.0, 0.0, 0),
    ):
        assert not inside([good, patch], region).ok and not outside([patch], region).ok
        assert not (look([patch], region, True) >= 0).any() and not (look([patch], region, False) > 0).any()


def test_cuts_find_what_plain_ranges_do_not():
    """s^2 - s - 0.3 <= 1.7 on [-1, 1]: the plain range says 0.7 too much of it."""
    r = ring(1, 2)
    patch = Patch(r, np.array([[-0.3, -1.0, 1.0]]), np.zeros((1, 0)), np.zeros(1), 0.0, 0.0, 0)
    low = read_region("x >= -0.5501", ("x",), "Stay")
    assert look([patch], low, True)[0] < 0 and inside([patch], low).ok
    assert not inside([patch], read_region("x >= -0.5499", ("x",), "Stay")).ok
    assert inside([patch], read_region("x <= 1.70001", ("x",), "Stay")).ok
    assert outside([patch], read_region("x <= -0.5501", ("x",), "Avoid")).ok
    assert not outside([patch], read_region({"x": (-0.54, -0.53)}, ("x",), "Avoid")).ok
