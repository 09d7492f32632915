"""Bernstein forms against exact rationals: ranges, elevation, subdivision, conversion, evaluation; broken twins are caught."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.polynomials import coefficients, rings
from strategies.sets import bernstein_value, build_bernstein_form, unit
from truth.polynomials import point, value

from certify.core.errors import InputError
from certify.core.regions import Box
from reach.errors import ReachError
from reach.sets.bernstein import BernsteinForm, nodes
from reach.sets.bernstein_basis import elevation, from_power, weights
from reach.sets.polynomial import Polynomial
from reach.sets.ring import ring

SEEDS = st.integers(0, 2**32 - 1)


def local(form: BernsteinForm, x: list[Fraction]) -> list[Fraction]:
    """y_j = (x_j - lower_j) / (upper_j - lower_j), exactly; 0 at zero width."""
    ends = [(Fraction(float(l)), Fraction(float(u))) for l, u in zip(form.lower, form.upper)]
    return [(v - l) / (u - l) if l < u else Fraction(0) for v, (l, u) in zip(x, ends)]


def global_(form: BernsteinForm, y: list[Fraction]) -> list[Fraction]:
    return [Fraction(float(l)) + (Fraction(float(u)) - Fraction(float(l))) * t for l, u, t in zip(form.lower, form.upper, y)]


def close(a: BernsteinForm, b: BernsteinForm, x: list[Fraction]) -> bool:
    """Every function that b means is meant by a, at x: |B_b(x) - B_a(x)| + error_b <= error_a."""
    p, q = ([bernstein_value(row, local(f, x)) for row in f.coefficients] for f in (a, b))
    return all(abs(v - w) + Fraction(float(e)) <= Fraction(float(d)) for v, w, d, e in zip(p, q, a.error, b.error))


def units(rng: np.random.Generator, f: int) -> list[Fraction]:
    return [(unit(rng) + 1) / 2 for _ in range(f)]


@given(seed=SEEDS)
def test_elevation_and_subdivision_keep_the_functions(seed: int):
    rng = np.random.default_rng(seed)
    form, _ = build_bernstein_form(rng)
    f = len(form.degrees)
    raised = form.elevate([d + int(rng.integers(0, 4)) * bool(l < u) for d, l, u in zip(form.degrees, form.lower, form.upper)])
    for _ in range(3):
        assert close(raised, form, global_(form, units(rng, f)))
    for j in range(f):
        l, u = float(form.lower[j]), float(form.upper[j])
        if not (np.nextafter(l, math.inf) < u and u - l < 1e300):
            continue
        for cut in (None, float(rng.uniform(l, u))):
            if cut is not None and not l < cut < u:
                continue
            for part in form.split(j, cut):
                for _ in range(2):
                    assert close(part, form, global_(part, units(rng, f)))
                assert (part.lower >= form.lower).all() and (part.upper <= form.upper).all()


@given(seed=SEEDS)
def test_conversion_from_power_basis(seed: int):
    rng = np.random.default_rng(seed)
    r = rings(rng, 3, 5, 40)
    kinds = ("normal", "integers", "sparse", "zero", "wild", "cancelling", "lost", "decimal", "tiny", "huge")
    p = Polynomial(r, np.stack([coefficients(rng, r.size, str(rng.choice(kinds))) for _ in range(2)]), [0.0, 0.125])
    form = BernsteinForm.from_polynomial(p)
    for _ in range(3):
        s = point(r, rng)
        y = [v if r.time and i == r.variables - 1 else (v + 1) / 2 for i, v in enumerate(s)]
        for row, b, e, rest in zip(p.coefficients, form.coefficients, form.error, p.remainder):
            assert abs(bernstein_value(b, y) - value(r, row, s)) + Fraction(float(rest)) <= Fraction(float(e))
    assert all(max(abs(l), abs(u)) <= 1.0000001 * float(np.abs(row).sum()) + 0.126 for row, l, u in zip(p.coefficients, form.range().lower, form.range().upper))


@given(seed=SEEDS)
def test_evaluation(seed: int):
    rng = np.random.default_rng(seed)
    form, _ = build_bernstein_form(rng)
    x = np.array([[float(v) for v in global_(form, units(rng, len(form.degrees)))] for _ in range(4)]).reshape(4, -1)
    x = np.clip(x, form.lower, form.upper)
    at = form.evaluate(x)
    for row, low, high in zip(x, at.lower, at.upper):
        y = local(form, [Fraction(float(v)) for v in row])
        for b, e, l, u in zip(form.coefficients, form.error, low.tolist(), high.tolist()):
            truth = bernstein_value(b, y)
            assert l <= truth - Fraction(float(e)) and truth + Fraction(float(e)) <= u


def test_matrices_are_the_definitions():
    """x^i = sum_k T[k, i] B_k(y) and b' = E b, as identities of polynomials at rational points; sizes as the proofs need them."""
    for d in range(7):
        for time in (False, True):
            t = from_power(d, time)
            assert np.abs(t).max() <= 1.0
            for y in (Fraction(0), Fraction(1, 3), Fraction(1)):
                for i in range(d + 1):
                    assert bernstein_value(t[:, i], [y]) == pytest.approx(float((y if time else 2 * y - 1) ** i), abs=1e-14)
        for new in (d, d + 1, d + 3):
            e = elevation(d, new)
            assert (e >= 0).all() and e.sum(axis=1) == pytest.approx(1.0)
        y = np.array([0.0, 0.3, 1.0])
        truth = np.array([[math.comb(d, k) * v**k * (1 - v) ** (d - k) for k in range(d + 1)] for v in y])
        assert weights(d, y) == pytest.approx(truth, abs=1e-14) and (weights(d, y) >= 0).all()


def test_operator_of_a_function():
    box = Box([0.0, -1.0, 2.0], [2.0, 1.0, 2.0])
    form = BernsteinForm.from_function(lambda x: np.stack([x[:, 0] * x[:, 1], x[:, 2]], axis=1), box, [2, 1, 4])
    assert form.degrees == (2, 1, 0) and form.dimension == 2
    assert form.range().lower.tolist() == [-2.0, 2.0] and form.range().upper.tolist() == [2.0, 2.0]  # exact: corners
    assert form.evaluate([[1.0, 0.5, 2.0]]).contains(np.array([[0.5, 2.0]]))
    assert nodes(box, [2, 1, 0])[:, 0].tolist() == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
    flat = BernsteinForm.from_function(lambda x: x[:, 0] ** 2, Box([-1.0], [1.0]), [2])
    assert flat.range().lower[0] == 0.0 and flat.rows.tolist() == [[1.0, 0.0, 1.0]]
    constant = BernsteinForm.from_function(lambda x: np.ones(1), Box([], []), [])
    assert constant.box().lower[0] == constant.box().upper[0] == 1.0 and constant.evaluate(np.zeros((2, 0))).shape == (2, 1)


def test_subdivision_tightens():
    """(2 y - 1)^2 has the coefficients 1, -1, 1: halves know that it is nonnegative."""
    form = BernsteinForm([[1.0, -1.0, 1.0]], [0.0], [1.0])
    assert form.range().lower[0] == -1.0
    assert all(-1e-13 < part.range().lower[0] <= 0.0 for part in form.split(0))
    assert form.elevate([8]).range().lower[0] > -0.2


def test_broken_forms_are_caught():
    """No rounding in the subdivision, or in the elevation: the same checks object."""
    rng = np.random.default_rng(1)
    forms = [BernsteinForm(rng.standard_normal((1, 6)), [0.1], [0.8]) for _ in range(20)]

    def bare(form, cut):
        return [BernsteinForm(p.coefficients, p.lower, p.upper) for p in form.split(0, cut)]

    def good(form, cut):
        return form.split(0, cut)

    def holds(split) -> bool:
        rng = np.random.default_rng(2)
        return all(close(part, form, global_(part, units(rng, 1))) for form in forms for part in split(form, 0.3))

    assert holds(good) and not holds(bare)
    assert not all(close(BernsteinForm(f.elevate([9]).coefficients, f.lower, f.upper), f, global_(f, units(rng, 1))) for f in forms)


def test_refusals():
    for arguments in (
        ([[1.0, 2.0]], [0.0], [0.0]),  # a degree at zero width
        ([[1.0, 2.0]], [0.0, 0.0], [1.0, 1.0]),
        ([[1.0, 2.0]], [1.0], [0.0]),
        ([[1.0, 2.0]], [0.0], [1.0], [-1.0]),
        ([[1.0, 2.0]], [0.0], [1.0], [math.nan]),
        (np.zeros((1, 0)), [0.0], [1.0]),
    ):
        with pytest.raises(InputError):
            BernsteinForm(*arguments)
    for arguments in (([[1.0, math.nan]], [0.0], [1.0]), ([[1.0, 2.0]], [0.0], [math.inf]), ([[1.0, 2.0]], [-1.7e308], [1.7e308])):
        with pytest.raises(ReachError):
            BernsteinForm(*arguments)
    form = BernsteinForm([[1.0, 2.0]], [0.0], [1.0])
    for call in (lambda: form.elevate([0]), lambda: form.elevate([1, 1]), lambda: form.split(1), lambda: form.split(0, 2.0), lambda: form.evaluate([[1.5]])):
        with pytest.raises(InputError):
            call()
    with pytest.raises(InputError):
        form.evaluate([[math.nan]])
    with pytest.raises(InputError):
        BernsteinForm.from_polynomial(Polynomial(ring(30, 2), np.ones((1, ring(30, 2).size))))
