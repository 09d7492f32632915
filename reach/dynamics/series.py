"""Taylor coefficients of the functions of a tape, enclosed on an interval: the univariate facts behind Taylor models and interval Jacobians.

For x in [lo, hi] and i = 0 .. order: out_lo[i] <= g^(i)(x) / i! <= out_hi[i], in real numbers. Closed forms instead of recurrences, so that wide intervals
stay tight: each coefficient is a product of monotone parts, or a sine whose extrema are counted. Every float operation is moved outward by one
ulp; library values come with the 4 ulp of `libm`. Integers up to 16! and binomial(1/2, i), i <= 16, are exact floats.
"""

from __future__ import annotations

import math

import numpy as np

from ..sets.jit import jit
from .directed import down, sine_range, smallest_largest, up
from .libm import value_above, value_below
from .opcodes import ATAN, COS, EXP, INV, LOG, SIN, SQRT, TANH
from .saturating import MAX_ORDER, arc_tangent, hyperbolic_tangent


@jit
def _cycle(op, lo, hi, order, out_lo, out_hi):
    """sin: sin, cos, -sin, -cos, over i!."""
    a, b = sine_range(SIN, lo, hi)
    c, d = sine_range(COS, lo, hi)
    factorial = 1.0
    for i in range(order + 1):
        if i > 1:
            factorial *= i
        turn = (i + (0 if op == SIN else 1)) % 4
        below, above = (a, b) if turn % 2 == 0 else (c, d)
        if turn >= 2:
            below, above = -above, -below
        out_lo[i] = below if i < 2 else down(below / factorial)
        out_hi[i] = above if i < 2 else up(above / factorial)


@jit
def _exponential(lo, hi, order, out_lo, out_hi):
    below = value_below(EXP, lo)
    above = value_above(EXP, hi)
    factorial = 1.0
    for i in range(order + 1):
        if i > 1:
            factorial *= i
        out_lo[i] = below if i < 2 else max(down(below / factorial), 0.0)
        out_hi[i] = above if i < 2 else up(above / factorial)


@jit
def _signed(i, positive, below, above, out_lo, out_hi):
    """Store the magnitudes [below, above] with a sign."""
    out_lo[i] = below if positive else -above
    out_hi[i] = above if positive else -below


@jit
def _inverse(lo, hi, order, out_lo, out_hi):
    """(-1)^i / x^(i+1): its size is a power of 1 / |x|, largest where |x| is smallest; always negative for x < 0."""
    near, far = smallest_largest(lo, hi)
    y_lo = max(down(1.0 / far), 0.0)
    y_hi = up(1.0 / near)
    below = y_lo
    above = y_hi
    for i in range(order + 1):
        if i > 0:
            below = max(down(below * y_lo), 0.0)
            above = up(above * y_hi)
        _signed(i, lo > 0.0 and i % 2 == 0, below, above, out_lo, out_hi)


@jit
def _logarithm(lo, hi, order, out_lo, out_hi):
    """log x, then (-1)^(i-1) / (i x^i)."""
    out_lo[0] = value_below(LOG, lo)
    out_hi[0] = value_above(LOG, hi)
    y_lo = max(down(1.0 / hi), 0.0)
    y_hi = up(1.0 / lo)
    below = 1.0
    above = 1.0
    for i in range(1, order + 1):
        below = max(down(below * y_lo), 0.0)
        above = up(above * y_hi)
        _signed(i, i % 2 == 1, max(down(below / i), 0.0), up(above / i), out_lo, out_hi)


@jit
def _square_root(lo, hi, order, out_lo, out_hi):
    """binomial(1/2, i) x^(1/2 - i); for i >= 1 the power falls with x. The binomials are exact dyadic floats."""
    out_lo[0] = max(down(math.sqrt(lo)), 0.0)
    out_hi[0] = up(math.sqrt(hi)) if hi > 0.0 else 0.0
    if order == 0:
        return
    y_lo = max(down(1.0 / hi), 0.0)
    y_hi = up(1.0 / lo)
    below = max(down(1.0 / up(math.sqrt(hi))), 0.0)
    above = up(1.0 / down(math.sqrt(lo)))
    binomial = 0.5
    for i in range(1, order + 1):
        if i > 1:
            below = max(down(below * y_lo), 0.0)
            above = up(above * y_hi)
            binomial = binomial * (1.5 - i) / i
        size = abs(binomial)
        _signed(i, binomial > 0.0, max(down(below * size), 0.0), up(above * size), out_lo, out_hi)


@jit
def series(op, lo, hi, order, out_lo, out_hi):
    """Enclosures of g^(i)(x) / i! on [lo, hi], i = 0 .. order <= 16, into out_lo, out_hi (at least order + 1 entries).

    Guarantee, when True is returned: for every real x in [lo, hi] and every i, out_lo[i] <= g^(i)(x) / i! <= out_hi[i], both finite, under the assumption of
    `libm` (`require_libm` is the caller's duty; every Tape does it). False: an end is not finite, order > 16, g is not proved smooth on [lo, hi]
    (zero for INV, x <= 0 for LOG and SQRT; sqrt(0) is defined at order 0), an enclosure overflows, or op is no function; the outputs mean nothing then.
    """
    if not (lo <= hi and math.isfinite(lo) and math.isfinite(hi) and 0 <= order <= MAX_ORDER):
        return False
    if op == SIN or op == COS:
        _cycle(op, lo, hi, order, out_lo, out_hi)
    elif op == INV:
        if not (lo > 0.0 or hi < 0.0):
            return False
        _inverse(lo, hi, order, out_lo, out_hi)
    elif op == EXP:
        _exponential(lo, hi, order, out_lo, out_hi)
    elif op == SQRT:
        if not (lo > 0.0 or (lo == 0.0 and order == 0)):
            return False
        _square_root(lo, hi, order, out_lo, out_hi)
    elif op == LOG:
        if not lo > 0.0:
            return False
        _logarithm(lo, hi, order, out_lo, out_hi)
    elif op == TANH:
        hyperbolic_tangent(lo, hi, order, out_lo, out_hi)
    elif op == ATAN:
        arc_tangent(lo, hi, order, out_lo, out_hi)
    else:
        return False
    for i in range(order + 1):
        if not (out_lo[i] <= out_hi[i] and math.isfinite(out_lo[i]) and math.isfinite(out_hi[i])):
            return False
    return True


@jit
def function_ranges(op, lo, hi):
    """Entry by entry: ends of g on [lo[j], hi[j]] and whether they hold (see `series`, order 0)."""
    below = np.empty(len(lo))
    above = np.empty(len(lo))
    good = np.empty(len(lo), np.bool_)
    a = np.empty(1)
    b = np.empty(1)
    for j in range(len(lo)):
        good[j] = series(op, lo[j], hi[j], 0, a, b)
        below[j] = a[0] if good[j] else -np.inf
        above[j] = b[0] if good[j] else np.inf
    return below, above, good
