"""core.interval, interval_ops, elementary: exact rationals and mpmath inside, whatever the ends; broken roundings must be caught."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction as Q

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from certify.core import elementary, interval, interval_ops
from certify.core.errors import HypothesisError, InputError, SoundnessError
from certify.core.interval import Interval

MORE = settings(max_examples=settings.default.max_examples * 10)
number = st.integers(-6, 6).map(float) | st.floats(-1e3, 1e3) | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([5e-324, -5e-324, 1e-160, -1e-200, 0.0])
end = number | st.sampled_from([math.inf, -math.inf])
ARITHMETIC = {"+": lambda x, y: x + y, "-": lambda x, y: x - y, "*": lambda x, y: x * y, "/": lambda x, y: x / y}


@st.composite
def intervals(draw, ends=end):
    """(Interval, a rational inside)."""
    a, b = sorted((draw(ends), draw(ends)))
    assume(a < math.inf and b > -math.inf)
    low, high = Q(max(a, -(2.0**1023))), Q(min(b, 2.0**1023))
    assume(low <= high)
    return Interval(a, b), low + (high - low) * draw(st.sampled_from([Q(0), Q(1), Q(1, 3), Q(1, 2), Q(9, 11)]))


@pytest.mark.parametrize("op", ARITHMETIC)
@MORE
@given(x=intervals(), y=intervals())
def test_arithmetic_contains_the_exact_result(op, x, y):
    if op == "/" and y[0].contains(0):
        with pytest.raises(HypothesisError):
            x[0] / y[0]
        return
    assert ARITHMETIC[op](x[0], y[0]).contains(ARITHMETIC[op](x[1], y[1]))


@MORE
@given(x=intervals(), y=intervals())
def test_unary_and_order_operations_contain_the_exact_result(x, y):
    (box, inside), (other, point) = x, y
    assert (-box).contains(-inside) and abs(box).contains(abs(inside)) and box.square().contains(inside * inside)
    assert box.minimum(other).contains(min(inside, point)) and box.maximum(other).contains(max(inside, point))
    assert box.square().lower >= 0 and abs(box).lower >= 0
    root = abs(box).sqrt()
    assert Q(float(root.lower)) ** 2 <= abs(inside) and (root.upper == math.inf or abs(inside) <= Q(float(root.upper)) ** 2)
    assert box.contains(Q(float(box.midpoint))) and (box.width == math.inf or Q(float(box.width)) >= Q(float(box.upper)) - Q(float(box.lower)))


def battery() -> set[str]:
    """Operations whose exact result lies outside for some random points."""
    rng, missed = np.random.default_rng(0), set()
    for scale in (1.0, 1e-160, 1e-308):
        a, b, w = rng.standard_normal(40) * scale, rng.standard_normal(40), rng.standard_normal((4, 40))
        x, y = Interval.point(a), Interval.point(b)
        for op, function in ARITHMETIC.items():
            for right, values in ((y, b), (x, a)):
                result = function(x, right)
                if not all(result[i].contains(function(Q(p), Q(q))) for i, (p, q) in enumerate(zip(a.tolist(), values.tolist(), strict=True))):
                    missed.add(op)
        for name, result, truth in (("square", x.square(), lambda v: v * v), ("sum", x[:, None].sum(1), lambda v: v)):
            if not all(result[i].contains(truth(Q(v))) for i, v in enumerate(a.tolist())):
                missed.add(name)
        if not x.sum().contains(sum(map(Q, a.tolist()))) or not y.reshape(4, 10).sum(0)[3].contains(sum(map(Q, b.reshape(4, 10)[:, 3].tolist()))):
            missed.add("sum")
        exact = [sum((Q(u) * Q(v) for u, v in zip(row, a.tolist(), strict=True)), Q(0)) for row in w.tolist()]
        for result in (w @ x, x @ w.T):
            if not all(result[i].contains(t) for i, t in enumerate(exact)):
                missed.add("@")
    return missed


def test_battery_finds_nothing():
    assert battery() == set()


def test_battery_catches_missing_outward_steps(monkeypatch):
    monkeypatch.setattr(interval_ops, "up", lambda x: x)
    monkeypatch.setattr(interval_ops, "down", lambda x: x)
    assert {"+", "-", "*", "/"} <= battery()


def test_battery_catches_missing_error_terms(monkeypatch):
    monkeypatch.setattr(interval, "gamma", lambda n: 0.0)
    monkeypatch.setattr(interval_ops, "gamma", lambda n: 0.0)
    monkeypatch.setattr(interval_ops, "product_radius", lambda a, b: np.zeros((a @ b).shape))
    assert "@" in battery()
    long = Interval.point(np.random.default_rng(1).standard_normal((30, 4000)))
    assert any(not s.contains(sum(map(Q, row))) for s, row in zip(long.sum(1), long.lower.tolist(), strict=True))


def test_long_sums_hold():
    long = Interval.point(np.random.default_rng(1).standard_normal((30, 4000)))
    assert all(s.contains(sum(map(Q, row))) for s, row in zip(long.sum(1), long.lower.tolist(), strict=True))


@given(data=st.data(), left=st.booleans())
def test_matrix_product_contains_every_corner(data, left):
    shape = (2, 3) if left else (3, 2)
    w = np.array(data.draw(st.lists(st.floats(-1e3, 1e3) | st.integers(-2, 2).map(float), min_size=6, max_size=6))).reshape(shape)
    parts = [data.draw(intervals(st.floats(-1e3, 1e3) | st.sampled_from([0.0, 1e-200, math.inf, -math.inf]))) for _ in range(3)]
    x = Interval(np.array([p[0].lower for p in parts]), np.array([p[0].upper for p in parts]))
    result = w @ x if left else x @ w
    for i, row in enumerate(w if left else w.T):
        assert result[i].contains(sum((Q(float(u)) * p[1] for u, p in zip(row, parts, strict=True)), Q(0)))
    batch = Interval(np.stack([x.lower, x.lower], axis=-1 if left else 0), np.stack([x.upper, x.upper], axis=-1 if left else 0))
    both = w @ batch if left else batch @ w
    again = both[:, 0] if left else both[0]
    assert again.contains(result.midpoint)


def test_exact_results_stay_exact_and_widths_stay_small():
    one = Interval.point(1.0)
    assert (one + one).lower == (one + one).upper == 2.0 and (one * 0.0).upper == 0.0 == (Interval(-math.inf, math.inf) * 0).lower
    assert (Interval.point(0.0).sqrt().upper, Interval.point(0.0).square().upper, Interval.point(0.0).exp().lower) == (0.0, 0.0, 1.0)
    x = Interval.point(np.random.default_rng(0).standard_normal(1000))
    w = np.random.default_rng(1).standard_normal((50, 1000))
    assert (w @ x).width.max() < 1e-9 and x.sum().width < 1e-9 and (x * x + x).width.max() < 1e-14
    mean = (Interval(np.zeros(1000), np.ones(1000)).sum() / 1000.0).upper
    assert 1.0 <= mean <= 1 + 1e-12
    assert (np.ones(3) - Interval.point(np.zeros(3))).contains(np.ones(3)) and (2.0 / Interval.point(4.0)).contains(0.5) and (Q(1, 3) * one).contains(Q(1, 3))


def test_text_is_enclosed_tightly():
    for text in ("0.1", "1e-400", "-3.7e5", "1/3", "0.25", "1e308", "12345678901234567890"):
        x = Interval.from_text(text)
        assert x.contains(Q(text)) and (x.upper == x.lower or x.upper == np.nextafter(x.lower, math.inf))
    assert Interval.from_text([["0.1", "2"], ["3", "4"]]).shape == (2, 2)
    for text in ("nan", "inf", "", "0x10", "1/0"):
        with pytest.raises(InputError):
            Interval.from_text(text)


def test_construction_refuses_what_is_not_an_interval():
    for low, high in ((math.nan, 1.0), (0.0, math.nan), (1.0, 0.0), (math.inf, math.inf), (-math.inf, -math.inf)):
        with pytest.raises(SoundnessError):
            Interval(low, high)
    for low, high in ((np.zeros(2), np.zeros(3)), (np.zeros(2, dtype=complex), np.zeros(2)), ([2**60 + 1], [2**61])):
        with pytest.raises(InputError):
            Interval(low, high)
    for call in (lambda: Interval(-1.0, 1.0).sqrt(), lambda: 1.0 / Interval(-1.0, 1.0), lambda: 1.0 / Interval(0.0, 1.0), lambda: Interval(-1.0, 0.0).log1p()):
        with pytest.raises(HypothesisError):
            call()
    with pytest.raises(InputError):
        np.array([[math.nan]]) @ Interval.point([1.0])


def test_intersection_and_containment():
    both = Interval([0.0, 1.0], [2.0, 3.0]) & Interval([1.0, -1.0], [5.0, 1.0])
    assert both.lower.tolist() == [1.0, 1.0] and both.upper.tolist() == [2.0, 1.0]
    with pytest.raises(SoundnessError, match=r"\[0.0, 1.0\] and \[1.5, 2.0\]"):
        Interval(0.0, 1.0) & Interval(1.5, 2.0)
    assert not Interval(0.0, 1.0).contains(2.0) and Interval(0.0, 1.0).contains(Interval(0.5, 1.0)) and not Interval(0.0, 1.0).contains(Interval(0.5, 1.5))
    with pytest.raises(SoundnessError):
        Interval(0.0, 1.0).contains(math.nan)


def test_frozen_copied_and_picklable():
    source = np.zeros(3)
    x = Interval(source, source + 1)
    source[0] = 9.0
    assert x.lower[0] == 0.0
    with pytest.raises(ValueError):
        x.lower[0] = 1.0
    with pytest.raises(AttributeError):
        x.lower = source
    again = pickle.loads(pickle.dumps(x[1:]))
    assert again.lower.tolist() == [0.0, 0.0] and len(x) == 3 and x.reshape(3, 1).ndim == 2 and "Interval(" in repr(x)


# --- exp, expm1, log1p, erf --------------------------------------------------------------------------------------------------------------

FUNCTIONS = {"exp": mpmath.exp, "expm1": mpmath.expm1, "log1p": mpmath.log1p, "erf": mpmath.erf}


def function_misses(name: str, points: np.ndarray) -> int:
    """Points whose true value (mpmath, 1500 bits: expm1 and log1p of 1e-300 need them) lies outside."""
    lower, upper = getattr(elementary, name)(points)
    with mpmath.workprec(1500 if name in ("expm1", "log1p") else 160):
        return sum(not (lo <= FUNCTIONS[name](mpmath.mpf(x)) <= hi) for x, lo, hi in zip(points.tolist(), lower.tolist(), upper.tolist(), strict=True))


def grid(name: str, count: int) -> np.ndarray:
    rng = np.random.default_rng(count)
    wide = rng.choice([-1.0, 1.0], count) * 10 ** rng.uniform(-20, 2.9, count)
    points = np.concatenate([rng.normal(0, 2, count), wide, [0.0, 5e-324, -5e-324, 1e-308, 709.78, 709.79, 710.0, -745.2, -746.0, 1e-300]])
    return points[points > -1] if name == "log1p" else points


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_contain_the_true_value(name):
    assert function_misses(name, grid(name, 10 * settings.default.max_examples)) == 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_grid_catches_a_library_value_taken_as_it_is(name, monkeypatch):
    monkeypatch.setattr(elementary, "ULPS", dict.fromkeys(FUNCTIONS, 0))
    monkeypatch.setattr(elementary, "up", lambda x: x)
    monkeypatch.setattr(elementary, "down", lambda x: x)
    assert function_misses(name, grid(name, 200)) > 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_intervals(name):
    x = Interval(np.array([-0.9, 0.0, 1e-9]), np.array([-0.1, 0.0, 30.0]))
    result = getattr(x, name)()
    for i in range(3):
        for point in np.linspace(x.lower[i], x.upper[i], 9):
            assert float(result.lower[i]) <= FUNCTIONS[name](mpmath.mpf(float(point))) <= float(result.upper[i])
    thin = getattr(Interval.point(0.75), name)()
    assert thin.width <= 1e-14
    wide = getattr(Interval(-0.5 if name == "log1p" else -math.inf, math.inf), name)()
    assert wide.upper == (1.0 if name == "erf" else math.inf) and wide.lower >= -1.0


def test_exact_facts_are_used():
    assert elementary.erf(30.0)[1] == 1.0 and elementary.expm1(-60.0)[0] == -1.0 and elementary.exp(-800.0)[0] == 0.0 < elementary.exp(-800.0)[1]
    assert elementary.exp(1000.0)[0] < math.inf == elementary.exp(1000.0)[1] and elementary.exp(-math.inf)[1] == 0.0
    for name in FUNCTIONS:
        with pytest.raises(SoundnessError):
            getattr(elementary, name)(math.nan)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_probe_refuses_a_bad_library(name, monkeypatch):
    good = elementary._library(name)
    elementary._probe.cache_clear()
    monkeypatch.setattr(elementary, "_library", lambda n: lambda x: good(x) * (1 + 2.0**-48))
    with pytest.raises(SoundnessError, match=name):
        getattr(elementary, name)(1.0)
    elementary._probe.cache_clear()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_stored_grid_is_correctly_rounded(name):
    with mpmath.workprec(400):
        for x, stored in elementary._GRID[name]:
            truth, value = FUNCTIONS[name](mpmath.mpf(x)), float.fromhex(stored)
            assert abs(truth - value) <= mpmath.mpf(float(np.spacing(abs(value)))) / 2
