"""Taylor coefficients on intervals, against arb's power series at points of the interval; broken rules must be caught."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach.dynamics import opcodes as code
from reach.dynamics.series import MAX_ORDER, function_ranges, series

flint = pytest.importorskip("flint", reason="python-flint is the oracle of the Taylor coefficients")
FUNCTIONS = (code.INV, code.SIN, code.COS, code.EXP, code.LOG, code.SQRT, code.TANH, code.ATAN)
POSITIVE = (code.LOG, code.SQRT)


@pytest.fixture(autouse=True)
def _precision():
    before, flint.ctx.prec, cap = flint.ctx.prec, 400, flint.ctx.cap
    yield
    flint.ctx.prec, flint.ctx.cap = before, cap


def truth(op: int, x: float, order: int) -> list:
    """Balls around g^(i)(x) / i!."""
    flint.ctx.cap = order + 1
    s = flint.arb_series([flint.arb(x), 1], prec=order + 1)
    one = flint.arb_series([1], prec=order + 1)
    if op == code.TANH:  # from exp of minus twice |x|, which does not overflow
        e = (-2 * s).exp() if x >= 0 else (2 * s).exp()
        value = (one - e) / (one + e) if x >= 0 else (e - one) / (e + one)
    elif op == code.INV:
        value = one / s
    else:
        value = getattr(s, code.NAMES[op])()
    return [value[i] for i in range(order + 1)]


def escapes(method, op: int, lo: float, hi: float, order: int, points) -> list[tuple[int, float]]:
    """(i, x) where the true coefficient is certainly outside what the method returns."""
    below, above = np.full(order + 1, np.nan), np.full(order + 1, np.nan)
    if not method(op, lo, hi, order, below, above):
        return []
    found = []
    for x in points:
        for i, t in enumerate(truth(op, x, order)):
            if not (below[i] <= above[i]) or bool(t < flint.arb(float(below[i]))) or bool(t > flint.arb(float(above[i]))):
                found.append((i, x))
    return found


def inside(lo: float, hi: float, fractions) -> list[float]:
    return [lo, hi, *(min(max(lo + f * (hi - lo), lo), hi) for f in fractions)]


ENDS = st.one_of(
    st.floats(-20, 20),
    st.floats(-1e9, 1e9),
    st.sampled_from([0.0, 5e-324, -1e-300, 1e-8, 1.0, -1.0, math.pi / 2, -math.pi / 2, math.pi, 11.0, 22.0, 355.0, 1e8, 710.0, -745.2, 20.0]),
)
WIDTHS = st.one_of(st.just(0.0), st.floats(0, 1e-6), st.floats(0, 4), st.floats(0, 100))


@given(st.sampled_from(FUNCTIONS), ENDS, WIDTHS, st.integers(0, 13), st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_every_coefficient_is_enclosed(op, end, width, order, fractions):
    lo, hi = end, end + width
    assert escapes(series, op, lo, hi, order, inside(lo, hi, fractions)) == []


@pytest.mark.parametrize("op", FUNCTIONS)
def test_a_sweep_of_points_and_intervals(op):
    rng = np.random.default_rng(op)
    for lo in [0.3, 1.0, 2.5, *rng.uniform(-8, 8, 12), *rng.uniform(-1e3, 1e3, 4)]:
        lo = abs(float(lo)) if op in POSITIVE else float(lo)
        for width in (0.0, 0.01, 0.5, 3.0):
            hi = lo + width
            assert escapes(series, op, lo, hi, 6, inside(lo, hi, rng.random(3))) == []


def test_the_highest_order_and_beyond():
    below, above = np.empty(40), np.empty(40)
    for op in FUNCTIONS:
        assert escapes(series, op, 0.4, 0.6, MAX_ORDER, [0.4, 0.5, 0.6]) == []
        assert not series(op, 0.4, 0.6, MAX_ORDER + 1, below, above) and not series(op, 0.4, 0.6, -1, below, above)


@pytest.mark.parametrize("op", FUNCTIONS)
def test_points_are_sharp(op):
    """At a point the coefficients are known to a few ulp of the value, or of 1e-15 where sines cancel."""
    below, above = np.empty(9), np.empty(9)
    for x in (0.2, 1.0, 3.7, 12.5):
        assert series(op, x, x, 8, below, above)
        assert (above - below <= 1e-13 * np.maximum(np.abs(below), np.abs(above)) + 1e-14).all(), (op, x)


@pytest.mark.parametrize(("op", "lo", "hi"), [(code.SIN, 0.3, 1.2), (code.COS, -0.4, 0.7), (code.EXP, -1, 1), (code.INV, 0.5, 2), (code.LOG, 0.5, 2), (code.SQRT, 0.5, 2)])
def test_intervals_are_the_range(op, lo, hi):
    below, above = np.empty(7), np.empty(7)
    assert series(op, float(lo), float(hi), 6, below, above)
    sample = np.array([[float(c) for c in truth(op, x, 6)] for x in np.linspace(lo, hi, 201)])
    widths = sample.max(0) - sample.min(0)
    assert (above - below <= widths * (1 + 1e-3) + 1e-13).all()


SATURATING = [(code.TANH, -0.2, 0.3, 2.0), (code.TANH, 1, 3, 3.0), (code.ATAN, -0.2, 0.3, 2.0), (code.ATAN, 1, 3, 5.0), (code.TANH, -9, 9, 4.0)]


@pytest.mark.parametrize(("op", "lo", "hi", "factor"), SATURATING)
def test_saturating_functions_stay_near_the_range(op, lo, hi, factor):
    below, above = np.empty(5), np.empty(5)
    assert series(op, float(lo), float(hi), 4, below, above)
    sample = np.array([[float(c) for c in truth(op, x, 4)] for x in np.linspace(lo, hi, 401)])
    assert (above - below <= factor * (sample.max(0) - sample.min(0)) + 1e-13).all()


def test_saturation_keeps_relative_accuracy():
    below, above = np.empty(3), np.empty(3)
    assert series(code.TANH, 40.0, 40.0, 2, below, above)
    assert 0 < below[1] <= above[1] <= below[1] * (1 + 1e-13) and above[1] < 1e-33
    assert series(code.TANH, 800.0, 900.0, 2, below, above) and above[1] < 1e-150
    assert series(code.ATAN, 1e200, 1e201, 2, below, above) and above[1] < 1e-150


@pytest.mark.parametrize(
    ("op", "lo", "hi"),
    [
        (code.INV, -1.0, 1.0),
        (code.INV, 0.0, 1.0),
        (code.INV, -1.0, -0.0),
        (code.INV, 5e-324, 1.0),
        (code.LOG, 0.0, 1.0),
        (code.LOG, -1.0, -0.5),
        (code.SQRT, 0.0, 1.0),
        (code.SQRT, -1e-300, 1.0),
        (code.EXP, 0.0, 800.0),
        (code.SIN, 1.0, 0.0),
        (code.SIN, math.nan, 0.0),
        (code.SIN, 0.0, math.nan),
        (code.COS, 0.0, math.inf),
        (code.TANH, -math.inf, 0.0),
        (code.ADD, 0.0, 1.0),
        (99, 0.0, 1.0),
    ],
)
def test_what_is_undefined_is_refused(op, lo, hi):
    assert not series(op, lo, hi, 2, np.empty(4), np.empty(4))


def test_sqrt_has_a_value_at_zero_but_no_derivative():
    below, above, good = function_ranges(code.SQRT, np.array([0.0, 0.0, -1.0]), np.array([0.0, 4.0, 1.0]))
    assert good.tolist() == [True, True, False] and below[:2].tolist() == [0.0, 0.0] and above[0] == 0.0 and 2.0 <= above[1] <= 2.0000001


def test_sines_of_large_arguments():
    """Extrema are counted correctly up to 1e8; beyond, the range is [-1, 1]."""
    rng = np.random.default_rng(3)
    for op in (code.SIN, code.COS):
        for k in [0, 1, -1, 7, 1000001, -31000000, 31830987]:
            x = (k + (0.5 if op == code.SIN else 0.0)) * math.pi
            for a, b in ((-1e-7, 1e-7), (-1e-3, 0.0), (0.0, 2e-3), (1e-9, 1e-3), (-3.0, 3.0), (0.0, 3.3)):
                lo, hi = x + a, x + b
                assert escapes(series, op, lo, hi, 1, inside(lo, hi, rng.random(6)) + [x]) == [] if lo <= x <= hi else True
    below, above = np.empty(1), np.empty(1)
    assert series(code.SIN, 1.5e8, 1.5e8, 0, below, above) and (below[0], above[0]) == (-1.0, 1.0)


def _ends_only(op, lo, hi, order, below, above):
    """MUTANT: the hull of the values at the ends, as if every function were monotone."""
    a, b, c, d = (np.empty(order + 1) for _ in range(4))
    if not (series(op, lo, lo, order, a, b) and series(op, hi, hi, order, c, d)):
        return False
    below[:], above[:] = np.minimum(a, c), np.maximum(b, d)
    return True


def _mutant(change):
    def method(op, lo, hi, order, below, above):
        good = series(op, lo, hi, order, below, above)
        change(op, below, above)
        return good

    return method


def _cosine_sign(op, below, above):
    if op == code.COS and len(below) > 1:
        below[1], above[1] = -above[1], -below[1]


def _no_factorial(op, below, above):
    if op in (code.SIN, code.COS, code.EXP):
        for i in range(len(below)):
            below[i], above[i] = below[i] * math.factorial(i), above[i] * math.factorial(i)


def _inverse_sign(op, below, above):
    if op == code.INV:
        below[1::2], above[1::2] = -above[1::2].copy(), -below[1::2].copy()


def _too_narrow(op, below, above):
    middle = 0.5 * (below + above)
    below[:], above[:] = middle - 0.49 * (above - below), middle + 0.49 * (above - below)


def _square_root_binomial(op, below, above):
    if op == code.SQRT and len(below) > 2:
        below[2], above[2] = -above[2], -below[2]


def _tanh_factor(op, below, above):
    if op in (code.TANH, code.ATAN) and len(below) > 2:
        below[2], above[2] = 0.5 * below[2], 0.5 * above[2]


MUTANTS = [_ends_only, *map(_mutant, (_cosine_sign, _no_factorial, _inverse_sign, _too_narrow, _square_root_binomial, _tanh_factor))]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_rule_is_caught(mutant):
    cases = [(op, lo, lo + w) for op in FUNCTIONS for lo in (0.25, 1.3) for w in (0.0, 0.8, 2.5)]
    assert any(escapes(mutant, op, lo, hi, 4, inside(lo, hi, (0.2, 0.5, 0.8))) for op, lo, hi in cases)
