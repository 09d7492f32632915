"""The checker's polynomial arithmetic against exact rationals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.core.errors import CertificateError
from reach.proof import monomials as m


def exact(t: m.Monomials, c: np.ndarray, x: list[Fraction]) -> Fraction:
    """The polynomial's value, exactly."""
    total = Fraction(0)
    for row, value in zip(t.exponents.tolist(), c.tolist()):
        term = Fraction(value)
        for e, v in zip(row, x):
            term *= v**e
        total += term
    return total


def point(t: m.Monomials, rng: np.random.Generator) -> list[Fraction]:
    x = [Fraction(int(v), 8) for v in rng.integers(-8, 9, t.variables)]
    return [*x[:-1], abs(x[-1])] if t.time else x


@pytest.mark.parametrize(("variables", "order", "time"), [(0, 3, False), (1, 0, True), (2, 3, False), (3, 4, True), (4, 2, True)])
def test_tables_are_the_products(variables, order, time):
    t = m.monomials(variables, order, time)
    assert (t.exponents[t.left] + t.exponents[t.right] == t.exponents[t.target]).all()
    assert len(t.left) == sum(int(a + b <= order) for a in t.degree for b in t.degree)
    assert t.most == max(np.bincount(t.target))
    assert (t.where(t.exponents) == np.arange(t.size)).all()


@given(st.integers(0, 3), st.integers(0, 4), st.booleans(), st.integers(0, 10**6))
def test_product_encloses(variables, order, time, seed):
    rng = np.random.default_rng(seed)
    t = m.monomials(variables + time, order, time)
    a, b = (rng.normal(size=(t.size, 3)) * 10.0 ** rng.integers(-3, 4, (t.size, 3)) * (rng.random((t.size, 3)) < 0.7) for _ in range(2))
    c, r = m.product(t, a, b)
    for k in range(3):
        for _ in range(4):
            x = point(t, rng)
            assert abs(exact(t, a[:, k], x) * exact(t, b[:, k], x) - exact(t, c[:, k], x)) <= Fraction(float(r[k]))


@given(st.integers(0, 3), st.integers(0, 5), st.booleans(), st.integers(0, 10**6))
def test_ranges_enclose(variables, order, time, seed):
    rng = np.random.default_rng(seed)
    t = m.monomials(variables + time, order, time)
    a = rng.normal(size=(t.size, 2))
    low, high = m.ranges(t, a)
    size = m.largest(t, a)
    for k in range(2):
        for _ in range(5):
            v = exact(t, a[:, k], point(t, rng))
            assert Fraction(float(low[k])) <= v <= Fraction(float(high[k])) and abs(v) <= Fraction(float(size[k]))


def test_product_without_truncation_term_would_be_caught():
    """x * x in a ring of order 1 is all remainder."""
    t = m.monomials(1, 1)
    c, r = m.product(t, np.array([[0.0], [1.0]]), np.array([[0.0], [1.0]]))
    assert not c.any() and r[0] >= 1.0


def test_embeddings():
    rows = np.arange(1.0, 7.0)[None]
    wide = m.widen(rows, m.embedding(2, 2, 4, False), m.monomials(2, 4).size)[:, 0]
    assert (wide[:6] == rows[0]).all() and not wide[6:].any()
    t = m.monomials(3, 3, True)
    lifted = m.widen(rows, m.lifting(2, 2, 3), t.size)[:, 0]
    x = [Fraction(1, 2), Fraction(-1, 4), Fraction(7, 8)]
    assert exact(t, lifted, x) == exact(m.monomials(2, 2), rows[0], x[:2])


def test_too_many_monomials_are_refused():
    with pytest.raises(CertificateError, match="too many monomials"):
        m.monomials(40, 8)


def test_overflow_is_never_finite():
    t = m.monomials(2, 3)
    a = np.full((t.size, 1), 1e200)
    with np.errstate(all="ignore"):
        assert not np.isfinite(m.product(t, a, a)[1]).any()
