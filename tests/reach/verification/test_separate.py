"""Separating combinations are lower bounds in exact arithmetic; cutting finds what one line does not."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reach.sets.ring import ring
from reach.verification import separate as module
from reach.verification.inclusion import inside, look, outside
from reach.verification.patches import Patch
from reach.verification.regions import read_region
from reach.verification.separate import separate
from tests.reach.verification.test_models import R, exact_value

BOX = read_region({"x": (0, 1), "y": (0, 1)}, ("x", "y"), "Avoid")


def segment(start, end) -> Patch:
    """The straight motion between two points, as a tube piece."""
    r = ring(1, 2, True)
    a, b = np.asarray(start, float), np.asarray(end, float)
    rows = np.zeros((2, r.size))
    rows[:, 0], rows[:, r.variable(0)] = a, b - a
    return Patch(r, rows, np.zeros((2, 0)), np.zeros(2), 0.0, 1.0, 1)


def exceeds_truth(seed: int) -> bool:
    """Whether a combined lower end is above the exact combination at some point."""
    rng = np.random.default_rng(seed)
    p, q = rng.normal(size=(2, 1, R.size))
    p[:, 3:] = q[:, 3:] = 0.0
    a, b = np.array([1 / 3]), np.array([2 / 3])
    bound = Fraction(float(module._combined(R, p, np.zeros(1), a, q, np.zeros(1), b)[0]))
    exact = [Fraction(float(a[0])) * Fraction(u) + Fraction(float(b[0])) * Fraction(v) for u, v in zip(p[0].tolist(), q[0].tolist(), strict=True)]
    least = exact[0] - abs(exact[1]) - abs(exact[2])  # the minimum of an affine polynomial over [-1, 1]^2
    return bound > least


@given(st.integers(0, 10**6))
def test_a_combination_is_a_lower_bound_exactly(seed):
    assert not exceeds_truth(seed)


def test_a_combination_without_rounding_would_be_caught(monkeypatch):
    monkeypatch.setattr(module, "gamma", lambda n: 0.0)
    monkeypatch.setattr(module, "down", lambda x: x)
    monkeypatch.setattr(module, "ranges", lambda r, rows: (rows[..., 0] - np.abs(rows[..., 1:]).sum(-1), rows[..., 0] + np.abs(rows[..., 1:]).sum(-1)))
    assert any(exceeds_truth(seed) for seed in range(200))


@given(st.integers(0, 10**6))
def test_separation_is_below_the_truth(seed):
    """separate(...) > 0 only if no point of the domain has both violations at most 0."""
    rng = np.random.default_rng(seed)
    rows, error = rng.normal(size=(4, R.size)), np.abs(rng.normal(size=4)) * 0.1
    rows[:, 0] += rng.choice([0.0, 2.0])
    if separate(R, rows, error) > 0:
        for _ in range(20):
            s = [Fraction(int(k), 16) for k in rng.integers(-16, 17, 2)]
            assert max(exact_value(row, R.exponents, s) - Fraction(float(e)) for row, e in zip(rows, error, strict=True)) > 0


def test_one_line_past_a_corner():
    """From (1.2, 0.9) to (0.9, 1.2): no face separates the whole piece, a diagonal does, without any cut."""
    near = segment([1.2, 0.9], [0.9, 1.2])
    assert look([near], BOX, False)[0] > 0
    shifted = segment([1.0 + 1e-9, 1.0], [1.0 + 1e-9 - 0.3, 1.3])
    assert outside([shifted], BOX).ok
    for start, end in (([1.0, 1.0], [0.7, 1.3]), ([1.2, 0.8], [0.8, 1.2]), ([1.5, 0.4], [0.4, 1.5]), ([1.2, 0.8], [0.9, 1.05])):
        touches = outside([segment(start, end)], BOX)
        assert not touches.ok, (start, end)


@given(st.floats(-1, 2), st.floats(-1, 2), st.floats(-1, 2), st.floats(-1, 2))
def test_straight_motions_against_clipping(ax, ay, bx, by):
    """A motion that meets the box (exactly, by clipping) is never shown to avoid it, and one inside is never shown to leave."""
    low, high = Fraction(0), Fraction(1)
    a, b = (Fraction(ax), Fraction(ay)), (Fraction(bx), Fraction(by))
    for p, q in zip(a, b, strict=True):
        d = q - p
        if d == 0:
            if not 0 <= p <= 1:
                low, high = Fraction(1), Fraction(0)
        else:
            ends = sorted(((0 - p) / d, (1 - p) / d))
            low, high = max(low, ends[0]), min(high, ends[1])
    meets = low <= high
    piece = segment([ax, ay], [bx, by])  # its exact motion is a + tau fl(b - a): judge only clear cases
    if meets and high - low > Fraction(1, 10**9):
        assert not outside([piece], BOX, 200).ok
    within = all(0 <= p <= 1 for p in (*a, *b))
    if not within and (min(*a, *b) < -Fraction(1, 10**9) or max(*a, *b) > 1 + Fraction(1, 10**9)):
        assert not inside([piece], BOX, 200).ok


def test_alternatives_may_change_along_a_patch():
    """Abs(x) >= -0.1 needs its left side on the left and its right side on the right; Abs(x) >= 0.1 fails in the middle."""
    r = ring(1, 1)
    line = Patch(r, np.array([[0.0, 1.0]]), np.zeros((1, 0)), np.zeros(1), 0.0, 0.0, 0)
    assert inside([line], read_region("Abs(x) >= -0.1", ("x",), "Stay")).ok
    assert not inside([line], read_region("Abs(x) >= 0.1", ("x",), "Stay")).ok
    assert not outside([line], read_region("Abs(x) >= 0.1", ("x",), "Avoid")).ok
    still = Patch(r, np.array([[0.0, 0.05]]), np.zeros((1, 0)), np.zeros(1), 0.0, 0.0, 0)
    assert outside([still], read_region("Abs(x) >= 0.1", ("x",), "Avoid")).ok


def test_work_is_limited():
    """A question that no number of cuts decides ends within its budget."""
    r = ring(2, 3, True)
    rows = np.zeros((2, r.size))
    rows[:, 0], rows[:, 1], rows[:, 4] = 0.5005, 1e-9, 1e-9  # nearer to the boundary than its radius, on the wrong side for neither
    patch = Patch(r, rows, np.zeros((2, 0)), np.full(2, 1e-3), 0.0, 1.0, 1)
    assert not outside([patch], read_region("x**2 <= 0.25", ("x", "y"), "Avoid"), 500).ok
    assert not inside([patch], read_region("x**2 >= 0.25", ("x", "y"), "Stay"), 500).ok
    assert not outside([patch, patch], read_region({"x": (None, 0.5), "y": (None, 0.5)}, ("x", "y"), "Avoid"), 500).ok
