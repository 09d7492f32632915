"""The kernels' claims against exact rationals; broken kernels (one line of the source changed) do not pass the same checks."""

from __future__ import annotations

import inspect
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies.polynomials import coefficients, losing_pair, lost, radius, rings
from truth.polynomials import horner_holds, integer, multiply_holds, multiply_holds_at, point, product, range_holds

from reach.sets import kernels
from reach.sets.ring import Ring, lift, ring

SEEDS = st.integers(0, 2**32 - 1)


def multiply_cases(seed: int):
    """(ring, a, ra, b, rb) of one seed."""
    rng = np.random.default_rng(seed)
    for _ in range(3):
        made = rings(rng)
        a, b = coefficients(rng, made.size), coefficients(rng, made.size)
        if rng.random() < 0.2:
            b = a.copy()
        yield made, a, radius(rng), b, radius(rng)


def hard_cases():
    """Cases built against one term of the bound each."""
    for size in (2, 9, 12, 35, 60):
        made, a, b = losing_pair(size)
        yield made, a, 0.0, b, 0.0  # rounding of what is kept
        yield ring(1, size - 1), lost(size), 1.0, np.zeros(size), 1.0  # norms of the operands round down
        yield ring(size - 1, 1), lost(size), 0.0, np.zeros(size), 1.0
    for k in (1, 3, 6):
        made = ring(2, k, True)
        yield made, np.ones(made.size), 0.0, np.ones(made.size), 0.0  # most is dropped
        yield made, np.full(made.size, 1e-160), 0.0, np.full(made.size, 3e-162), 0.0  # every product underflows
        yield made, np.full(made.size, 1.0), 0.5, np.full(made.size, -2.0), 0.25
        yield made, np.zeros(made.size), 0.5, np.zeros(made.size), 0.25
        signs = np.where(np.arange(made.size) % 2, 1.0, -1.0)
        yield made, signs, 0.0, signs, 0.0
    for tiny in (5e-324, -3.88661542e-312, 3e-309, 1.1e-307):  # u times the smaller operand underflows, the product does not
        for huge in (1.27930416e150, 3.3e300):
            yield ring(0, 0), np.array([tiny]), 0.0, np.array([huge]), 0.0
            yield ring(0, 0), np.array([huge]), 0.0, np.array([tiny]), 0.0
            yield ring(1, 2), np.array([huge, 0.0, 1e140]), 0.0, np.array([tiny, 1.1 * tiny, tiny]), 0.0
    yield ring(0, 0), np.array([3.0]), 0.5, np.array([-2.0]), 0.25
    yield ring(0, 3), np.array([0.1]), 0.0, np.array([0.3]), 0.0


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


def range_cases(seed: int):
    rng = np.random.default_rng(seed)
    for _ in range(4):
        made = rings(rng)
        yield made, coefficients(rng, made.size), point(made, rng)


@given(seed=SEEDS)
def test_ranges(seed: int):
    for made, c, s in range_cases(seed):
        assert range_holds(kernels.poly_range, made, c, s), (made, c, s)
        lo, hi = kernels.poly_ranges(np.stack([c, -c]), made.even)
        assert (lo[0], hi[0]) == kernels.poly_range(c, made.even) and (lo[1], hi[1]) == (-hi[0], -lo[0])


def hard_ranges():
    for size in (2, 9, 12, 35, 60):
        for sign in (-1.0, 1.0):
            yield ring(1, size - 1), sign * lost(size), point_of(ring(1, size - 1), 1)  # the running sum loses every term
            yield ring(1, size - 1, True), sign * lost(size), point_of(ring(1, size - 1, True), 1)
    for made in (ring(1, 1), ring(2, 3), ring(1, 1, True), ring(3, 2, True)):
        for sign in (-1, 1):
            yield made, np.ones(made.size), point_of(made, sign)
            yield made, -np.ones(made.size), point_of(made, sign)


def point_of(made: Ring, sign: int):
    from fractions import Fraction

    return [Fraction(sign)] * (made.variables - made.time) + [Fraction(sign + 1, 2)] * made.time


def test_ranges_built_against_the_bound():
    for case in hard_ranges():
        assert range_holds(kernels.poly_range, *case), case


def horner_cases(seed: int):
    rng = np.random.default_rng(seed)
    made = rings(rng, 3, 5, 60)
    degree, n = int(rng.integers(1, 6)), int(rng.integers(1, 3))
    x = np.stack([coefficients(rng, made.size, str(rng.choice(["normal", "integers", "sparse", "cancelling", "lost", "decimal", "tiny"]))) for _ in range(n)])
    outer = np.stack([coefficients(rng, degree + 1, str(rng.choice(["normal", "ones", "sparse", "wild", "zero", "tiny", "huge"]))) for _ in range(n)])
    rx = np.array([float(rng.choice([0.0, 1e-9, 0.1, 1e-300])) for _ in range(n)])
    for _ in range(2):
        yield made, outer, x, rx, point(made, rng)


def hard_horner():
    for constant in (1e16, -1e-3, 0.3):
        made = ring(1, 2)
        x = np.array([[0.1, 0.7, 0.2]])
        yield made, np.array([[constant, 0.1, 0.3]]), x, np.zeros(1), point_of(made, 1)
        yield made, np.array([[constant, 0.1]]), x, np.zeros(1), point_of(made, 1)
        yield made, np.array([[constant, 0.1, 0.3, 2.0]]), x, np.array([0.5]), point_of(made, -1)
        yield made, np.array([[abs(constant), 0.1, 0.3, 2.0]]), x, np.array([0.5]), point_of(made, 1)
        yield made, np.array([[constant, 3.0]]), x, np.array([0.5]), point_of(made, -1)
    for seed in range(40):  # order 0: the whole bound is about roundings of one number
        rng = np.random.default_rng(seed)
        made = ring(0, 0)
        yield made, rng.standard_normal((1, 2)), rng.standard_normal((1, 1)), np.zeros(1), []
        yield made, np.array([[1e6, 1e-9, 1e-9]]) * rng.standard_normal(3), 0.1 * rng.standard_normal((1, 1)), np.zeros(1), []
    yield ring(0, 0), np.array([[0.0, 3e-170]]), np.array([[1.3e-154]]), np.zeros(1), []


HORNER = {  # each kernel as a function of (outer, x, rx, ring)
    "horner": lambda kernel: lambda outer, x, rx, r: kernel(outer, x, rx, *r.tables[:3], r.order),
    "horner_bounded": lambda kernel: lambda outer, x, rx, r: kernel(outer, x, rx, *r.tables),
}


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


def mutant(name: str, old: str, new: str):
    """The kernel with one piece of its source changed, as plain Python."""
    source = textwrap.dedent(inspect.getsource(getattr(kernels, name).py_func)).replace("@jit\n", "")
    assert old in source, f"{name} has no {old!r} any more: rewrite this mutant"
    space = {"np": np, "U": kernels.U, "TINY": kernels.TINY, "multiply": kernels.multiply.py_func, "poly_range": kernels.poly_range.py_func}
    space["truncated"] = lambda a, b, *rest: space["multiply"](a, 0.0, b, 0.0, *rest)
    exec(compile(source.replace(old, new), f"<mutant of {name}>", "exec"), space)
    return space[name]


MULTIPLY = [
    ("(size + 4) * U * (na * nb)", "0.0"),
    ("(size + 4) * U * (na * nb)", "1e-15 * (na * nb)"),  # enough for M <= 9 only
    ("(size + 4) * U * (na * nb)", "(size + 4) * U * na * nb"),  # underflows before it meets a huge operand: Hypothesis found it in our own kernel
    ("(size + 4) * U", "(0.5 * size) * U"),
    ("dropped += da[i] * tail", "dropped += 0.0"),
    ("tail += db", "tail = db"),
    ("range(1, order + 1)", "range(1, order)"),
    ("na * rb + ", ""),
    ("nb * ra + ", ""),
    ("ra * rb + ", ""),
    ("end[order - degree[i]]", "end[order - degree[i]] - 1"),
    ("* (1 + 4e-16 * (size + 8))", ""),
    (" + TINY", ""),
    ("da[degree[i]] += abs(a[i])", "da[degree[i]] += a[i]"),
]


@pytest.mark.parametrize(("old", "new"), MULTIPLY)
def test_broken_products_are_caught(old: str, new: str):
    broken = mutant("multiply", old, new)
    with np.errstate(all="ignore"):
        assert any(not multiply_holds(broken, *case) for case in hard_cases()), f"{old} -> {new}"


def test_the_unbroken_source_passes():
    """The control of the mutants: plain Python without a change."""
    plain = mutant("multiply", "U", "U")
    assert all(multiply_holds(plain, *case) for case in hard_cases())
    assert all(range_holds(mutant("poly_range", "U", "U"), *case) for case in hard_ranges())
    assert all(horner_holds(HORNER[name](mutant(name, "U", "U")), *case) for name in HORNER for case in hard_horner())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(len(c) + 4) * U * s", "0.0"),
        ("(len(c) + 4) * U * s", "1e-15 * s"),
        ("if even[i]:", "if True:"),
        ("lo += min(v, 0.0)", "lo += 0.0"),
        ("hi += max(v, 0.0)", "hi += min(v, 0.0)"),
        ("hi += abs(v)", "hi += v"),
        ("lo -= abs(v)", "lo -= v"),
        ("s += abs(v)", "s = abs(v)"),
    ],
)
def test_broken_ranges_are_caught(old: str, new: str):
    broken = mutant("poly_range", old, new)
    assert any(not range_holds(broken, *case) for case in hard_ranges()), f"{old} -> {new}"


@pytest.mark.parametrize("column", [0, 1])
def test_a_wrong_time_variable_is_caught(column: int):
    """`even` flags that take another variable for tau, or every variable: each gives a range that is too small."""
    good = ring(2, 3, True)
    wrong = Ring(2, 3, True)
    symmetric = np.delete(good.exponents, column, axis=1)[:, column:]  # column 0: only tau counts as symmetric; 1: none does
    flags = (symmetric % 2 == 0).all(axis=1) & (good.degree > 0) if column == 0 else good.degree > 0
    object.__setattr__(wrong, "even", flags)
    cases = [(row, point_of(good, sign)) for row in np.eye(good.size) for sign in (-1, 1)]
    assert all(range_holds(kernels.poly_range, good, *case) for case in cases)
    assert any(not range_holds(kernels.poly_range, wrong, *case) for case in cases)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("horner", "multiply(h, e, X[q], rX[q],", "multiply(h, e, X[q], 0.0,"),
        ("horner", "multiply(h, e, X[q], rX[q],", "multiply(h, 0.0, X[q], rX[q],"),
        ("horner_bounded", "e * largest", "e"),
        ("horner_bounded", "e * largest + ", ""),
        ("horner_bounded", "+ rX[q]) * (1 + 4e-16)", ")"),
        ("horner_bounded", "max(abs(lo), abs(hi)) * rX[q] + ", ""),
        ("horner_bounded", " + dropped", ""),
    ]
    + [
        (name, *change)
        for name in HORNER
        for change in (
            ("abs(C[q, d]) * rX[q] + ", ""),
            ("2 * U * (s + abs(C[q, d - 1]))", "0.0"),
            ("e = (e + U * abs(h[0])) * (1 + 1e-15)", "pass"),
            (" + TINY", ""),
        )
    ],
)
def test_broken_compositions_are_caught(name: str, old: str, new: str):
    broken = HORNER[name](mutant(name, old, new))
    assert any(not horner_holds(broken, *case) for case in hard_horner()), f"{old} -> {new}"


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
