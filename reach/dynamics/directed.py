"""Compiled interval pieces: next floats, products of intervals, the range of a sine. Each moves its result outward by one ulp where it rounds."""

from __future__ import annotations

import math

import numpy as np

from ..sets.jit import jit
from .libm import value_above, value_below
from .opcodes import SIN

_PI = 3.141592653589793
_LARGEST_ARGUMENT = 1e8


@jit
def down(x):
    return np.nextafter(x, -np.inf)


@jit
def up(x):
    return np.nextafter(x, np.inf)


@jit
def product(a, b, c, d):
    """[a, b] * [c, d] for finite ends, outward."""
    p = a * c
    q = a * d
    r = b * c
    s = b * d
    return down(min(min(p, q), min(r, s))), up(max(max(p, q), max(r, s)))


@jit
def smallest_largest(lo, hi):
    """Exact min and max of |x| on [lo, hi]."""
    if lo <= 0.0 <= hi:
        return 0.0, max(-lo, hi)
    return min(abs(lo), abs(hi)), max(abs(lo), abs(hi))


@jit
def sine_range(op, lo, hi):
    """sin or cos of [lo, hi]; [-1, 1] where an argument exceeds 1e8.

    Extrema lie at (k + s) pi, s = 1/2 for sin: maxima for even k. Every k with lo <= (k + s) pi <= hi is counted, because lo / pi - s is computed within
    2e-16 (1 + |lo|); one counted in error only widens. Between two neighbours the function is monotone.
    """
    if not (-_LARGEST_ARGUMENT <= lo and hi <= _LARGEST_ARGUMENT):
        return -1.0, 1.0
    s = 0.5 if op == SIN else 0.0
    first = math.ceil(lo / _PI - s - 1e-15 * (1.0 + abs(lo)))
    last = math.floor(hi / _PI - s + 1e-15 * (1.0 + abs(hi)))
    if last > first:
        return -1.0, 1.0
    below = min(value_below(op, lo), value_below(op, hi))
    above = max(value_above(op, lo), value_above(op, hi))
    if lo == hi:
        return below, above
    if last == first:
        if first % 2 == 0:
            above = 1.0
        else:
            below = -1.0
    return below, above
