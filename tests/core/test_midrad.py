"""MidRad: every member of the operands, multiplied, added or scaled in exact rationals, lies inside the result; broken versions are caught."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from constants.sdp.mutants import mutant
from hypothesis import given
from hypothesis import strategies as st

from certify.core import midrad
from certify.core.midrad import MidRad, full, is_sparse, kept, most_nonzeros, overlap

SCALES = (1.0, 1e-160, 1e150, 2.0**-520, 2.0**-400)


def rational(a: np.ndarray) -> np.ndarray:
    return np.vectorize(Fraction, otypes=[object])(np.asarray(full(a), dtype=float))


def inside(result, exact: np.ndarray) -> bool:
    """|exact - mid| <= rad, in rationals; written so that NaN and inf of the midpoint fail."""
    mid, rad = np.asarray(full(result.mid), float), result.radius()
    if not np.isfinite(mid).all() or np.isnan(rad).any() or (rad < 0).any():
        return False
    return all(np.isinf(r) or abs(e - Fraction(m)) <= Fraction(r) for e, m, r in zip(exact.ravel(), mid.ravel().tolist(), rad.ravel().tolist()))


def matrix(rng: np.random.Generator, shape, scale: float, sparse: bool, radius: bool, kind: int, cls=MidRad):
    a = rng.normal(size=shape) * scale
    if kind == 1:  # zeros, and one nonzero entry per row
        a *= rng.random(shape) < 0.4
    elif kind == 2:  # copies
        a = np.zeros(shape)
        a[np.arange(shape[0]), rng.integers(shape[1], size=shape[0])] = rng.choice([1.0, -1.0, 0.0, 3.0 if radius else 1.0], size=shape[0])
    elif kind == 3:  # cancellation: pairs of columns that nearly undo each other
        a[:, 1::2] = -a[:, : shape[1] // 2 * 2 : 2] * (1 + rng.integers(-2, 3) * 2.0**-52)
    elif kind == 4:  # odd integers: two of them in a row are no copies
        a = np.round(rng.normal(size=shape)) + rng.integers(0, 2, shape) * 2.0**-52
    rad = None
    if radius:
        rad = np.abs(rng.normal(size=shape)) * np.abs(a).max(initial=scale) * 10.0 ** rng.uniform(-14, 0.3) * (rng.random(shape) < 0.7)
    if sparse:
        return cls(sp.csr_array(a), None if rad is None else sp.csr_array(rad))
    return cls(a, rad)


def members(rng: np.random.Generator, a, count: int = 3):
    """Exact rational matrices within the radius: both extreme corners at random signs, and one inside."""
    mid = rational(a.mid)
    if a.rad is None:
        return [mid] * count
    rad = rational(a.rad)
    return [mid + rng.choice([-1, 1], size=mid.shape).astype(object) * rad for _ in range(count - 1)] + [mid + rad * Fraction(1, 3)]


def special(cls):
    """Products that random numbers seldom meet: two copies in a row, four terms that each fall below the smallest float, radii below the pattern of sparse factors."""
    yield cls(np.array([[1.0, 1.0]])), cls(np.array([[1.0], [2.0**-60]]))
    yield cls(np.full((1, 4), 1.4 * 2.0**-538)), cls(np.full((4, 1), 1.4 * 2.0**-538))
    a = sp.csr_array(np.array([[2.0**-390, 0.0], [0.0, 1.0]]))
    yield cls(a), cls(sp.csr_array(np.array([[0.0, 1.0], [0.0, 1.0]])), sp.csr_array(np.array([[2.0**-900, 0.0], [0.0, 0.0]])))


def cases(seed: int, cls=MidRad, count: int = 45):
    """(description, result, exact members of it) for products, sums, differences and row scalings."""
    rng = np.random.default_rng(seed)
    for a, b in special(cls):
        for ma, mb in zip(members(rng, a), members(rng, b)):
            yield "special", a @ b, ma @ mb
    for n in range(count):
        s, t = rng.choice(SCALES, 2) if n % 3 else (1.0, 1.0)
        kinds = rng.integers(0, 5, 2)
        flags = rng.random(4) < 0.5
        k = int(rng.integers(1, 5))
        a = matrix(rng, (int(rng.integers(1, 4)), k), s, bool(flags[0]), bool(flags[1]), int(kinds[0]), cls)
        b = matrix(rng, (k, int(rng.integers(1, 4))), t, bool(flags[2]), bool(flags[3]), int(kinds[1]), cls)
        c = matrix(rng, a.shape, rng.choice([s, s * 1e-10]), bool(rng.random() < 0.5), bool(rng.random() < 0.5), int(rng.integers(0, 5)), cls)
        factors = rng.choice([0.0, 1.0, -1.0, 0.3, 1e-160, 1e100], size=a.shape[0]) if n % 2 else rng.choice([0.0, 1.0, -1.0], size=a.shape[0])
        exact_factors = rational(factors)[:, None]
        with np.errstate(all="ignore"):
            results = (a @ b, a + c, a - c, a.rows(factors), (a @ b).T)
        for ma, mb, mc in zip(members(rng, a), members(rng, b), members(rng, c)):
            for name, result, exact in zip(("@", "+", "-", "rows", "T"), results, (ma @ mb, ma + mc, ma - mc, exact_factors * ma, (ma @ mb).T)):
                if np.isfinite(full(result.mid)).all():
                    yield f"{name} case {n}", result, exact


@given(st.integers(0, 2**32 - 1))
def test_members_stay_inside(seed):
    for what, result, exact in cases(seed, count=8):
        assert inside(result, exact), what


def test_chains_of_products_stay_inside():
    rng = np.random.default_rng(3)
    for flags in itertools.product((False, True), repeat=3):
        a, b, c = (matrix(rng, (3, 3), 1.0, flag, i != 1, 0) for i, flag in enumerate(flags))
        result = (a @ b) @ c + (a - c)
        for ma, mb, mc in zip(*(members(rng, m) for m in (a, b, c))):
            assert inside(result, ma @ mb @ mc + ma - mc)


def test_exact_cases_have_no_radius():
    """Copies, scalings by 0, 1, -1 and sums without overlap cost nothing; two entries in a row, or a 2, do."""
    w = np.array([[0.1, 0.2], [0.3, 0.7]])
    swap, both = np.array([[0.0, -1.0], [1.0, 0.0]]), np.array([[1.0, 1.0], [0.0, 1.0]])
    for form in (np.array, sp.csr_array):
        assert (MidRad(form(swap)) @ MidRad(form(w))).rad is None
        assert (MidRad(form(w)) @ MidRad(form(swap))).rad is None
        assert (MidRad(form(both)) @ MidRad(form(w))).rad is not None
        assert (MidRad(form(2 * swap)) @ MidRad(form(w))).rad is not None
        assert MidRad(form(w)).rows(np.array([1.0, -1.0])).rad is None
        assert (MidRad(form(np.diag([0.1, 0.3]))) + MidRad(form(swap))).rad is None
        assert (MidRad(form(w)) + MidRad(form(w))).rad is not None
        assert (MidRad(form(swap), form(np.zeros((2, 2)))) @ MidRad(form(w))).rad is not None


def test_tiny_radii_of_sparse_factors_are_not_lost():
    """Found in review: a radius below the pattern of the sparse product underflowed to nothing."""
    a = MidRad(sp.csr_array(np.array([[2.0**-390, 0.0], [0.0, 1.0]])))
    b = MidRad(sp.csr_array(np.array([[0.0, 1.0], [0.0, 1.0]])), sp.csr_array(np.array([[2.0**-900, 0.0], [0.0, 0.0]])))
    product = a @ b
    assert Fraction(float(product.radius()[0, 0])) >= Fraction(2) ** -1290
    b = MidRad(sp.csr_array(np.array([[2.0**-700, 1.0], [0.0, 1.0]])))
    assert inside(a @ b, rational(a.mid) @ rational(b.mid))


def test_what_is_not_a_number_is_never_a_bound():
    a = MidRad(np.array([[np.inf, 1.0]]))
    with np.errstate(all="ignore"):
        product = a @ MidRad(np.array([[0.0], [1.0]]))
        large = MidRad(np.full((1, 2), 1e200)) @ MidRad(np.full((2, 1), 1e200))
    assert not np.isfinite(product.mid).all()
    assert not np.isfinite(large.mid).all()


def test_small_helpers():
    a = sp.csr_array(np.eye(3))
    assert isinstance(kept(a), np.ndarray)
    assert is_sparse(kept(sp.csr_array((5000, 5000))))
    assert most_nonzeros(np.array([[1.0, 0.0], [2.0, 3.0]])) == most_nonzeros(sp.csr_array(np.array([[1.0, 0.0], [2.0, 3.0]]))) == 2
    assert most_nonzeros(np.zeros((2, 2))) == 1
    assert not overlap(np.diag([1.0, 0.0]), np.diag([0.0, 1.0])) and overlap(np.eye(2), np.eye(2))
    assert not overlap(sp.csr_array(np.diag([1.0, 0.0])), sp.csr_array(np.diag([0.0, 1.0]))) and overlap(a, a)


MUTANTS = {
    "gamma dropped": ("* gamma(terms + 4)", "* 0.0"),
    "radius of b dropped": ("radius = radius + size_a @ b.rad", "pass"),
    "radius of a dropped": ("radius = radius + a.rad @ (size_b if b.rad is None else size_b + b.rad)", "pass"),
    "second order dropped": ("size_b if b.rad is None else size_b + b.rad", "size_b"),
    "two copies per row": ("most_nonzeros(a) <= 1", "most_nonzeros(a) <= 2"),
    "any integer is a copy": ("np.isin(np.abs(values), (0.0, 1.0)).all()", "(np.abs(values) <= 8).all()"),
    "copies in spite of a radius": ("if a.rad is None and b.rad is None and (_copies", "if (_copies"),
    "tiny dropped": ("+ TINY", ""),
    "sums exact": ("2 * U * abs(mid)))", "0.0 * abs(mid)))"),
    "no sum overlaps": ("if not overlap(a.mid, b.mid)", "if True"),
    "rows exact": ("radius = 2 * U * np.abs(mid)", "radius = 0 * np.abs(mid)"),
    "radius of rows dropped": ("else size * self.rad", "else 0.0 * self.rad"),
    "sparse rows exact": ("grown(2 * U * np.abs(mid.data), 1.0 + 8 * U)", "0 * mid.data"),
    "every sparse factor ordinary": ("bool((size >= _SMALL).all())", "True"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(name):
    broken = mutant(midrad, MUTANTS[name]).MidRad
    assert not all(inside(result, exact) for seed in range(3) for _, result, exact in cases(seed, broken)), name


def test_the_same_cases_pass_without_mutation():
    assert all(inside(result, exact) for seed in range(3) for _, result, exact in cases(seed))


def test_what_is_not_a_number_is_not_taken_for_zero():
    column = MidRad(np.array([[1.0, np.nan], [2.0, np.nan]]))
    for a in (MidRad(np.array([[3.0, 4.0]])), MidRad(np.array([[3.0, 4.0]]), np.full((1, 2), 1e-9))):
        product = a @ column
        assert product.mid[0, 0] == 11.0 and product.radius()[0, 0] > 0 and np.isnan(product.mid[0, 1])
    infinite = MidRad(np.array([[0.0, 1.0]])) @ MidRad(np.array([[np.inf, 1.0], [1.0, 1.0]]))
    assert np.isnan(infinite.mid[0, 0]) and infinite.mid[0, 1] == 1.0
    nothing = MidRad(np.array([[0.0, 1.0], [0.0, 0.0]])) @ MidRad(np.array([[5.0, 1.0], [0.0, 0.0]]), np.array([[1e-3, 0.0], [0.0, 0.0]]))
    assert (nothing.mid == 0).all() and (nothing.radius() == 0).all()
