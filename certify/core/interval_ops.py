"""What `interval` does with the ends: outward sums, hulls of products, midpoint-radius matrix products. Plain arrays in and out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .errors import InputError
from .rounding import MAX, down, exact_float64, gamma, product_radius, up

Ends = tuple[np.ndarray, np.ndarray]


def quiet() -> np.errstate:
    """Overflow, underflow, 0 * inf and inf - inf are handled where they can happen, hence not warned about."""
    return np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")


def outward(end: np.ndarray, sign: float) -> np.ndarray:
    """One ulp outward; NaN (overflow against overflow) becomes the infinite end, and a lower end never is +inf."""
    end = np.where(np.isnan(end), sign * math.inf, end)
    return up(end) if sign > 0 else down(end)


def sum_end(a: np.ndarray, b: np.ndarray, sign: int) -> np.ndarray:
    """a + b, rounded outward unless TwoSum shows that it already lies on the wanted side (Knuth 1969; exact below 2^1000)."""
    with quiet():
        s = np.asarray(a + b)
        t = s - a
        rest = (a - (s - t)) + (b - t)  # exactly (a + b) - s
        safe = (np.abs(a) < 2.0**1000) & (np.abs(b) < 2.0**1000) & (rest * sign <= 0)  # NaN is not safe
        return np.where(safe, s, up(s) if sign > 0 else down(s))


def hull(values: list[np.ndarray], x: Ends, y: Ends) -> Ends:
    """Outward hull of four products or quotients. NaN is 0 * inf or inf / inf: 0 belongs to the hull, and the other corners show the rest.

    A corner that is 0 may have underflowed from either side; the signs of x and y tell which zero is exact.
    """
    (xl, xu), (yl, yu) = x, y
    values = [np.where(np.isnan(v), 0.0, v) for v in values]
    low = np.minimum(np.minimum(values[0], values[1]), np.minimum(values[2], values[3]))
    high = np.maximum(np.maximum(values[0], values[1]), np.maximum(values[2], values[3]))
    zero = ((xl == 0) & (xu == 0)) | ((yl == 0) & (yu == 0))
    positive = zero | ((xl >= 0) & (yl >= 0)) | ((xu <= 0) & (yu <= 0))
    negative = zero | ((xl >= 0) & (yu <= 0)) | ((xu <= 0) & (yl >= 0))
    lower, upper = np.where((low == 0) & positive, 0.0, down(low)), np.where((high == 0) & negative, 0.0, up(high))
    return np.minimum(lower, MAX), np.maximum(upper, -MAX)


def finite_matrix(matrix: Any) -> np.ndarray:
    w = exact_float64(matrix, "the matrix")
    if w.ndim != 2 or not np.isfinite(w).all():
        raise InputError("an interval is multiplied by a finite matrix", found=f"shape {w.shape}" if w.ndim != 2 else "an entry that is not finite")
    return w


def product(w: np.ndarray, lower: np.ndarray, upper: np.ndarray, left: bool) -> Ends:
    """W x (or x W) in midpoint-radius form: W c +- (|W| r + gamma_n |W||c| + n eta), with c near the middle and r = up(max(h - c, c - l)).

    c need not be the true middle, since r covers both sides. |W| r is a float product of nonnegative numbers: times
    (1 + 2 gamma_(n+2)) it bounds the true one, `product_radius` adds the same eta term as for W c. An output that reads an unbounded
    entry through a weight that is not zero is unbounded.
    """
    n = w.shape[1] if left else w.shape[0]
    size = np.abs(w)
    with quiet():
        endless = np.isinf(lower) | np.isinf(upper)
        c = np.where(endless, 0.0, np.clip(0.5 * lower + 0.5 * upper, lower, upper))
        r = np.where(endless | (lower == upper), 0.0, up(np.asarray(np.maximum(upper - c, c - lower))))
        if left:
            middle, spread, radius = w @ c, size @ r, product_radius(size, np.abs(c)) + product_radius(size, r)
            reads = (w != 0).astype(float) @ endless.astype(float) > 0
        else:
            middle, spread, radius = c @ w, r @ size, product_radius(np.abs(c), size) + product_radius(r, size)
            reads = endless.astype(float) @ (w != 0).astype(float) > 0
        total = up(np.asarray(up(np.asarray(spread * up(1 + 2 * gamma(n + 2)))) + up(np.asarray(radius))))
        low, high = outward(np.asarray(middle - total), -1.0), outward(np.asarray(middle + total), 1.0)
        return np.where(reads, -math.inf, low), np.where(reads, math.inf, high)
