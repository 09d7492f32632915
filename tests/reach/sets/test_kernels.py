"""The kernels' claims against exact rationals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.kernel_cases import HORNER, hard_cases, hard_horner, hard_ranges, horner_cases, multiply_cases, range_cases
from strategies.polynomials import coefficients, losing_pair
from truth.polynomials import horner_holds, integer, multiply_holds, multiply_holds_at, point, product, range_holds

from reach.sets import kernels
from reach.sets.ring import lift, ring

SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS)
def test_products(seed: int):
    for case in multiply_cases(seed):
        assert multiply_holds(kernels.multiply, *case), case
        assert multiply_holds_at(kernels.multiply, *case, point(case[0], np.random.default_rng(seed))), case


def test_products_built_against_the_bound():
    for case in hard_cases():
        assert multiply_holds(kernels.multiply, *case), case


def test_the_bound_is_needed():
    """The half-way case comes within a factor two of the rounding term: a slack of a few units in the last place would be false."""
    made, a, b = losing_pair(60)
    out = np.empty(60)
    product_, end, degree, _, order = made.tables
    r = kernels.multiply(a, 0.0, b, 0.0, out, product_, end, degree, order)
    full = product(made, a, b)
    lost_here = abs((integer(out[59]) << 1074) - full[(59,)]) / 2**2148
    assert lost_here > 50 * 2.0**-53
    assert r < 1.1 * sum(abs(a)) * sum(abs(b))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_so(bad: float):
    made = ring(2, 3)
    product_, end, degree, _, order = made.tables
    for a, ra in ((np.zeros(made.size), bad), (np.full(made.size, bad), 0.0), (np.r_[bad, np.zeros(made.size - 1)], 0.0)):
        for b in (np.zeros(made.size), np.ones(made.size)):
            out = np.empty(made.size)
            assert not np.isfinite(kernels.multiply(a, ra, b, 0.0, out, product_, end, degree, order))
            assert not np.isfinite(kernels.multiply(b, 0.0, a, ra, out, product_, end, degree, order))
    lo, hi = kernels.poly_range(np.full(made.size, bad), made.even)
    assert not (np.isfinite(lo) or np.isfinite(hi))


@given(seed=SEEDS)
def test_ranges(seed: int):
    for made, c, s in range_cases(seed):
        assert range_holds(kernels.poly_range, made, c, s), (made, c, s)
        lo, hi = kernels.poly_ranges(np.stack([c, -c]), made.even)
        assert (lo[0], hi[0]) == kernels.poly_range(c, made.even) and (lo[1], hi[1]) == (-hi[0], -lo[0])


def test_ranges_built_against_the_bound():
    for case in hard_ranges():
        assert range_holds(kernels.poly_range, *case), case


@pytest.mark.parametrize("name", sorted(HORNER))
@given(seed=SEEDS)
def test_compositions(name: str, seed: int):
    for case in horner_cases(seed):
        assert horner_holds(HORNER[name](getattr(kernels, name)), *case), case


@pytest.mark.parametrize("name", sorted(HORNER))
def test_compositions_built_against_the_bound(name: str):
    for case in hard_horner():
        assert horner_holds(HORNER[name](getattr(kernels, name)), *case), case


@pytest.mark.parametrize(("f", "k", "time"), [(0, 0, False), (0, 3, False), (1, 0, True), (1, 5, True), (2, 4, False), (3, 3, True), (4, 2, False)])
def test_ring_tables(f: int, k: int, time: bool):
    made = ring(f, k, time)
    rows = [tuple(e) for e in made.exponents.tolist()]
    assert len(set(rows)) == made.size and rows[0] == (0,) * f and [made.index[e] for e in rows] == list(range(made.size))
    assert made.degree.tolist() == [sum(e) for e in rows] == sorted(sum(e) for e in rows)
    assert made.end.tolist() == [sum(sum(e) <= d for e in rows) for d in range(k + 1)]
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            if sum(a) + sum(b) <= k:
                assert rows[made.product[i, j]] == tuple(x + y for x, y in zip(a, b)) and j < made.end[k - sum(a)]
    for e, even in zip(rows, made.even):
        assert even == (sum(e) > 0 and all(x % 2 == 0 for x in (e[:-1] if time else e)))
    assert ring(f, k, time) is made


@pytest.mark.parametrize(("f", "k"), [(0, 2), (1, 3), (2, 3), (3, 2)])
def test_lifting_into_time(f: int, k: int):
    maps = lift(f, k)
    for i, e in enumerate(maps.space.exponents.tolist()):
        assert maps.time.exponents[maps.embed[i]].tolist() == [*e, 0]
    for i, e in enumerate(maps.time.exponents.tolist()):
        assert maps.space.exponents[maps.at_end[i]].tolist() == e[:-1] and maps.time_power[i] == e[-1]
        up = maps.raise_time[i]
        assert (up == -1) == (sum(e) == k) and (up == -1 or maps.time.exponents[up].tolist() == [*e[:-1], e[-1] + 1])


def test_products_against_flint():
    """Another library's exact multivariate polynomials agree with the truth used here, and with the kernel."""
    flint = pytest.importorskip("flint")
    rng = np.random.default_rng(7)
    for f, k in ((1, 6), (2, 4), (3, 3), (4, 2)):
        made = ring(f, k)
        context = flint.fmpq_mpoly_ctx.get([f"x{i}" for i in range(f)], "deglex")
        a, b = coefficients(rng, made.size, "wild"), coefficients(rng, made.size, "decimal")
        p, q = (context.from_dict({tuple(e): flint.fmpq(*float(c).as_integer_ratio()) for e, c in zip(made.exponents.tolist(), row) if c}) for row in (a, b))
        theirs = {tuple(int(i) for i in e): c for e, c in (p * q).to_dict().items()}
        ours = {e: flint.fmpq(c, 1 << 2148) for e, c in product(made, a, b).items() if c}
        assert theirs == ours
        out = np.empty(made.size)
        product_, end, degree, _, order = made.tables
        r = kernels.multiply(a, 0.0, b, 0.0, out, product_, end, degree, order)
        error = sum((abs(theirs.get(tuple(e), flint.fmpq(0)) - flint.fmpq(*float(c).as_integer_ratio())) for e, c in zip(made.exponents.tolist(), out)), flint.fmpq(0))
        error += sum((abs(c) for e, c in theirs.items() if sum(e) > k), flint.fmpq(0))
        assert error <= flint.fmpq(*r.as_integer_ratio())
