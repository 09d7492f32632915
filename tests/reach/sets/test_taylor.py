"""Taylor models: arithmetic against exact rationals, functions against 60 digits, honest where a function is undefined."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf
from strategies.polynomials import coefficients, rings
from strategies.sets import between
from truth.polynomials import point, value

from certify.core.errors import InputError, SoundnessError
from certify.core.interval import Interval
from certify.core.regions import Box
from reach.sets.polynomial import Polynomial
from reach.sets.ring import ring
from reach.sets.taylor import TaylorModel

SEEDS = st.integers(0, 2**32 - 1)
FUNCTIONS = {name: getattr(mpmath, name) for name in ("sin", "cos", "exp", "log", "sqrt", "tanh", "atan")} | {"reciprocal": lambda x: 1 / x}


def model(rng: np.random.Generator, r, n: int = 2, kinds=("normal", "integers", "decimal", "cancelling", "sparse")) -> TaylorModel:
    ends = np.sort(rng.choice([0.0, 0.0, -1.0, 1e-3, 0.5], (2, n)), axis=0)
    return TaylorModel(r, np.stack([coefficients(rng, r.size, str(rng.choice(kinds))) for _ in range(n)]), ends[0], ends[1])


def meant(t: TaylorModel, truth: list[Fraction], s: list[Fraction]) -> bool:
    return all(l <= x - value(t.ring, row, s) <= u for row, x, l, u in zip(t.coefficients, truth, t.lower.tolist(), t.upper.tolist()))


def some(rng, t: TaylorModel, s) -> list[Fraction]:
    return [value(t.ring, row, s) + between(rng, l, u) for row, l, u in zip(t.coefficients, t.lower, t.upper)]


@given(seed=SEEDS)
def test_arithmetic(seed: int):
    rng = np.random.default_rng(seed)
    r = rings(rng, 3, 4, 35)
    p, q = model(rng, r), model(rng, r)
    w, b, k, number = rng.standard_normal((3, 2)), rng.standard_normal(3), int(rng.integers(0, 4)), float(rng.standard_normal())
    made = [p + q, p - q, p * q, p**k, p.affine(w, b), number - p, p * number, p.compose([number, 1.0, 0.5])]
    for _ in range(2):
        s = point(r, rng)
        x, y, c = some(rng, p, s), some(rng, q, s), Fraction(number)
        mapped = [sum((Fraction(float(v)) * i for v, i in zip(row, x)), Fraction(float(t))) for row, t in zip(w, b)]
        sums, rest = [i + j for i, j in zip(x, y)], [i - j for i, j in zip(x, y)]
        truths = [sums, rest, [i * j for i, j in zip(x, y)], [i**k for i in x], mapped, [c - i for i in x], [c * i for i in x], [c + i + i * i / 2 for i in x]]
        for t, truth in zip(made, truths):
            assert meant(t, truth, s)
            assert all(l <= v <= u for l, v, u in zip(t.range().lower.tolist(), truth, t.range().upper.tolist()))


def function_holds(t: TaylorModel, x: TaylorModel, truth, s: list[Fraction], where: Fraction) -> bool:
    """truth(x) - p(s) lies in the remainder, to 60 digits; x is row 0's value at s with the remainder's part `where`."""
    with mp.workdps(80):
        exact = truth(mpf(where.numerator) / where.denominator)
        p = value(t.ring, t.coefficients[0], s)
        difference = exact - mpf(p.numerator) / p.denominator
        return bool(mpf(float(t.lower[0])) <= difference <= mpf(float(t.upper[0])))


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@given(seed=SEEDS)
def test_functions(name: str, seed: int):
    rng = np.random.default_rng(seed)
    r = rings(rng, 2, 5, 25)
    scale = 10.0 ** rng.uniform(-6, 0.3)
    c = scale * rng.standard_normal((1, r.size)) / r.size
    c[0, 0] = float(rng.uniform(0.5, 3)) if name in ("log", "sqrt", "reciprocal") else float(rng.uniform(-3, 3))
    x = TaylorModel(r, c, [-1e-3 * scale], [0.0])
    t = getattr(x, name)()
    if not np.isfinite(t.upper[0]):
        assert name in ("log", "sqrt", "reciprocal") and x.range().lower[0] <= 0.01
        return
    for _ in range(4):
        s = point(r, rng)
        where = value(r, c[0], s) + between(rng, x.lower[0], x.upper[0])
        assert function_holds(t, x, FUNCTIONS[name], s, where), (name, seed)


def test_functions_are_tight():
    """On a short interval the remainder is small, and falls with the order."""
    widths = []
    for order in (2, 4, 6):
        x = TaylorModel.from_box(ring(1, order), Box([0.9], [1.1]))
        widths.append(max(float((getattr(x, name)().rest.width)[0]) for name in FUNCTIONS))
    assert widths[0] < 1e-2 and widths[1] < 1e-4 and widths[2] < 1e-6


def test_undefined_functions_know_nothing():
    x = TaylorModel.from_box(ring(1, 3), Box([-1.0], [1.0]))
    for name in ("reciprocal", "log", "sqrt"):
        t = getattr(x, name)()
        assert t.upper[0] == math.inf and t.lower[0] == -math.inf and t.box().upper[0] == math.inf and t.support([1.0]) == math.inf
        assert np.isfinite(t.sample(5)).all()
    y = TaylorModel.from_box(ring(1, 6), Box([1.0], [1.5]))
    assert (y / y).range().contains(1.0) and (y / y).range().width[0] < 0.1
    assert (x + TaylorModel(ring(1, 3), np.zeros((1, 4)), [-math.inf], [1.0])).upper[0] < math.inf


def test_one_sided_remainders_stay_one_sided():
    x = TaylorModel(ring(0, 0), [[2.0]], [0.0], [1.0])
    assert (x * x).lower[0] > -1e-14 and 0.5 <= x.centred.remainder[0] < 0.5000001 and x.centred.coefficients[0, 0] == 2.5
    assert TaylorModel.of(Polynomial.constant(ring(0, 0), 1.0), Interval.point(np.array([0.5]))).box().lower[0] == pytest.approx(1.5)


def test_refusals():
    r = ring(1, 2)
    for call in (
        lambda: TaylorModel(r, np.zeros((1, 2))),
        lambda: TaylorModel(r, np.zeros((1, 3)), np.zeros(2), np.zeros(2)),
        lambda: TaylorModel(r, np.zeros((1, 3))) + TaylorModel(ring(1, 3), np.zeros((1, 4))),
    ):
        with pytest.raises(InputError):
            call()
    for lower, upper in (([1.0], [0.0]), ([math.nan], [1.0])):
        with pytest.raises(SoundnessError):
            TaylorModel(r, np.zeros((1, 3)), lower, upper)
