"""Polynomials with remainders against exact rationals: every operation at rational points, cuts as exact covers, truncation, composition."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.polynomials import coefficients, rings
from truth.polynomials import point, value

from certify.core.errors import InputError
from certify.core.regions import Box
from reach.sets import cuts
from reach.sets.cuts import cut_rows
from reach.sets.polynomial import Polynomial
from reach.sets.ring import ring

SEEDS = st.integers(0, 2**32 - 1)
KINDS = ("normal", "integers", "sparse", "zero", "ones", "wild", "cancelling", "lost", "decimal", "huge", "tiny")


def polynomial(rng: np.random.Generator, r, n: int = 2, kinds=KINDS) -> Polynomial:
    return Polynomial(r, np.stack([coefficients(rng, r.size, str(rng.choice(kinds))) for _ in range(n)]), [float(rng.choice([0.0, 0.0, 0.1, 1e-300, 1e3])) for _ in range(n)])


def meant(p: Polynomial, truth: list[Fraction], s: list[Fraction]) -> bool:
    """Whether the true values lie within the remainder of the rows at s."""
    return all(not math.isfinite(r) or abs(value(p.ring, row, s) - t) <= Fraction(float(r)) for row, r, t in zip(p.coefficients, p.remainder, truth))


def some(rng, p: Polynomial, s) -> list[Fraction]:
    """Values at s of functions that p means, at the edge of the remainder mostly."""
    return [value(p.ring, row, s) + int(rng.integers(-1, 2)) * Fraction(float(r)) for row, r in zip(p.coefficients, p.remainder)]


@given(seed=SEEDS)
def test_operations(seed: int):
    rng = np.random.default_rng(seed)
    r = rings(rng, 3, 4, 40)
    p, q = polynomial(rng, r), polynomial(rng, r)
    w, b = coefficients(rng, 6, "decimal").reshape(3, 2) * 10.0 ** rng.integers(-3, 4, (3, 2)), rng.standard_normal(3)
    number, k = float(rng.standard_normal()), int(rng.integers(0, 5))
    small, total, difference, product, scaled, mapped = p[:1], p + q, p - q, p * q, p * number, p.affine(w, b)
    shifted, mirrored, spread = p + number, number - p, small + q
    for _ in range(3):
        s = point(r, rng)
        x, y = some(rng, p, s), some(rng, q, s)
        assert meant(total, [i + j for i, j in zip(x, y)], s) and meant(difference, [i - j for i, j in zip(x, y)], s)
        assert meant(product, [i * j for i, j in zip(x, y)], s) and meant(scaled, [i * Fraction(number) for i in x], s)
        assert meant(shifted, [i + Fraction(number) for i in x], s) and meant(mirrored, [Fraction(number) - i for i in x], s)
        assert meant(mapped, [sum((Fraction(float(v)) * i for v, i in zip(row, x)), Fraction(float(t))) for row, t in zip(w, b)], s)
        assert meant(spread, [x[0] + j for j in y], s)
    tame = Polynomial(r, np.stack([coefficients(rng, r.size, "decimal")] * 2), [0.0, 0.01])
    raised = tame**k
    for _ in range(3):
        s = point(r, rng)
        x = some(rng, tame, s)
        assert meant(raised, [i**k for i in x], s)


@given(seed=SEEDS)
def test_compositions_and_truncation(seed: int):
    rng = np.random.default_rng(seed)
    r = rings(rng, 3, 4, 40)
    p = polynomial(rng, r, kinds=("normal", "integers", "cancelling", "decimal", "sparse"))
    outer = rng.standard_normal((int(rng.integers(1, 3)), int(rng.integers(1, 6))))
    made, low = p.compose(outer), p.truncate(int(rng.integers(0, r.order + 1)))
    for _ in range(3):
        s = point(r, rng)
        x = some(rng, p, s)
        rows = [outer[0 if len(outer) == 1 else i] for i in range(2)]
        assert meant(made, [sum((Fraction(float(c)) * v**j for j, c in enumerate(row)), Fraction(0)) for row, v in zip(rows, x)], s)
        assert meant(low, x, s)


@given(seed=SEEDS)
def test_ranges_and_values(seed: int):
    rng = np.random.default_rng(seed)
    r = rings(rng, 3, 4, 40)
    p = polynomial(rng, r)
    pieces = [int(rng.integers(1, 5)) for _ in range(r.variables)]
    plain, fine = p.range(), p.range(pieces)
    assert (plain.lower <= fine.lower).all() and (fine.upper <= plain.upper).all()
    for _ in range(6):
        s = point(r, rng)
        assert all(l <= v <= u for l, v, u in zip(fine.lower.tolist(), some(rng, p, s), fine.upper.tolist()))
        floats = [float(v) for v in s]
        at = p.evaluate([floats])
        assert all(l <= v <= u for l, v, u in zip(at.lower[0].tolist(), some(rng, p, [Fraction(v) for v in floats]), at.upper[0].tolist()))


def cut_holds(cut, r, row: np.ndarray, pieces: list[int], s: list[Fraction]) -> bool:
    """Some piece contains s, and its polynomial agrees there up to the error."""
    rows, error = cut(r, row[None], pieces)
    truth = value(r, row, s)
    for index in np.ndindex(*pieces[::-1]):
        at, q = index[::-1], np.ravel_multi_index(index, pieces[::-1]) if pieces else 0
        local = []
        for i, (j, n) in enumerate(zip(at, pieces)):
            c, radius = cuts._pieces(r.time and i == r.variables - 1, n)[j] if n > 1 else (Fraction(0), Fraction(1))
            local.append((s[i] - c) / radius)
        low = [Fraction(-1)] * (r.variables - r.time) + [Fraction(0)] * r.time
        if all(a <= t <= 1 for a, t in zip(low, local)) and abs(value(r, rows[q, 0], local) - truth) <= Fraction(float(error[0])):
            return True
    return False


@given(seed=SEEDS)
def test_cuts_cover_every_point(seed: int):
    rng = np.random.default_rng(seed)
    r = rings(rng, 2, 5, 40)
    row, pieces = coefficients(rng, r.size, str(rng.choice(KINDS))), [int(rng.integers(1, 6)) for _ in range(r.variables)]
    for _ in range(3):
        assert cut_holds(cut_rows, r, row, pieces, point(r, rng))
    p = Polynomial(r, row[None], [0.5])
    assert p.cut(pieces).rows == math.prod(pieces) and (p.cut(pieces).remainder >= 0.5).all()


def test_broken_cuts_are_caught(monkeypatch):
    """No rounding term; pieces that are a little too small; a variable that is forgotten."""

    def without_rounding(r, rows, pieces):
        made, error = cut_rows(r, rows, pieces)
        return made, 0.0 * error

    def wrong_variable(r, rows, pieces):
        made, error = cut_rows(r, rows, pieces)
        return np.repeat(made[:1], len(made), axis=0), error

    rng = np.random.default_rng(0)
    r = ring(2, 4)
    cases = [(r, coefficients(rng, r.size, "normal"), [3, 3], point(r, rng)) for _ in range(40)]
    assert all(cut_holds(cut_rows, *case) for case in cases)
    assert any(not cut_holds(without_rounding, *case) for case in cases)
    assert any(not cut_holds(wrong_variable, *case) for case in cases)


def test_pieces_cover():
    for time in (False, True):
        for n in range(1, 40):
            ends = sorted((c - (0 if time else r), c + r) for c, r in cuts._pieces(time, n))
            assert ends[0][0] <= (0 if time else -1) and ends[-1][1] >= 1 and all(b[0] <= a[1] for a, b in zip(ends, ends[1:]))
            assert ends[-1][1] <= 1 + Fraction(1, 2**50)


def test_cutting_tightens():
    """s^2 - s over [-1, 1]: the plain range is [-1, 2], the truth [-1/4, 2]."""
    x = Polynomial.variables(ring(1, 2))
    y = x * x - x
    assert y.range().lower[0] <= -1.0 and -0.3 < y.range(16).lower[0] <= -0.25 and 2.0 <= y.range(16).upper[0] < 2.0001
    t = Polynomial.variables(ring(1, 2, True))
    assert -0.27 < (t * t - t).range(16).lower[0] <= -0.25 and (t * t - t).range(16).upper[0] < 0.06


def test_rows_that_overflow_know_nothing():
    p = Polynomial(ring(1, 2), [[1e200, 1e200, 0.0], [1.0, 1.0, 0.0]])
    q = p * p
    assert q.remainder[0] == math.inf and not q.coefficients[0].any() and q.remainder[1] < 1e-13
    assert q.range().upper[0] == math.inf and (q + 1.0).remainder[0] == math.inf and (q * 0.0).remainder[0] == math.inf
    assert q.affine([[0.0, 1.0]]).remainder[0] < 1e-13 and q.affine([[1.0, 1.0]]).remainder[0] == math.inf
    assert Polynomial(ring(1, 1), [[1e308, 1e308]]).affine([[2.0]]).range().upper[0] == math.inf
    assert Polynomial(ring(1, 1), [[1e308, 0.0], [1e308, 0.0]]).affine([[10.0, -10.0]]).remainder[0] == math.inf
    assert p.compose([0.0, 0.0, 1.0]).remainder[0] == math.inf


def test_boxes_constants_and_refusals():
    r = ring(2, 3)
    p = Polynomial.from_box(r, Box([0.1, 2.0], [0.3, 2.0]))
    assert (p.range().lower <= [0.1, 2.0]).all() and (p.range().upper >= [0.3, 2.0]).all() and (p.range().width < [0.2001, 1e-13]).all()
    assert Polynomial.constant(ring(0, 2), 3.0).range().contains(3.0) and Polynomial.variables(ring(0, 0)).rows == 0
    assert (p**0).coefficients[:, 0].tolist() == [1.0, 1.0] and p[0].rows == 1 and (-p).coefficients[1, 0] == -2.0
    assert Polynomial(ring(0, 0), [[2.0]]).evaluate(np.zeros((3, 0))).shape == (3, 1)
    refused = [
        lambda: Polynomial(r, np.zeros((1, 3))),
        lambda: Polynomial(r, np.zeros((1, r.size)), [-1.0]),
        lambda: Polynomial(r, np.zeros((1, r.size)), [math.nan]),
        lambda: Polynomial(r, np.full((1, r.size), math.inf)),
        lambda: p + Polynomial.variables(ring(1, 3)),
        lambda: p + Polynomial.constant(r, [1.0, 2.0, 3.0]),
        lambda: p**-1,
        lambda: p**1.5,
        lambda: p.evaluate([[0.0, 1.5]]),
        lambda: p.evaluate([[0.0]]),
        lambda: p.evaluate([[0.0, math.nan]]),
        lambda: p.truncate(4),
        lambda: p.range([2]),
        lambda: p.range(0),
        lambda: p.range(10**5),
        lambda: p.compose(np.zeros((3, 2))),
        lambda: p.affine(np.zeros((1, 3))),
        lambda: Polynomial.variables(ring(1, 0)),
        lambda: Polynomial.from_box(ring(1, 2), Box([0.0, 0.0], [1.0, 1.0])),
        lambda: Polynomial.variables(ring(1, 1, True)).evaluate([[-0.5]]),
    ]
    for call in refused:
        with pytest.raises(InputError):
            call()
