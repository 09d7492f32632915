"""Taylor coefficients of tanh and atan on an interval, with relative accuracy where they saturate. See `series` for the claim."""

from __future__ import annotations

import math

import numpy as np

from ..sets.jit import jit
from .directed import down, product, sine_range, smallest_largest, up
from .libm import value_above, value_below
from .opcodes import ATAN, EXP, SIN, TANH

MAX_ORDER = 16
_HALF_PI_BELOW, _HALF_PI_ABOVE = 1.5707963267948966, 1.5707963267948968  # neighbours around pi / 2
_PIECES = 16


def _tanh_table() -> np.ndarray:
    """Integer polynomials R_i with tanh^(i) = (1 - T^2) R_i(T), T = tanh x: R_1 = 1, R_(i+1) = -2 T R_i + (1 - T^2) R_i'. Exact in float64."""
    rows = [[0], [1]]
    for _ in range(2, MAX_ORDER + 1):
        last = rows[-1] + [0, 0]
        slope = [j * c for j, c in enumerate(last)][1:] + [0]
        rows.append([slope[j] - (2 * last[j - 1] if j >= 1 else 0) - (slope[j - 2] if j >= 2 else 0) for j in range(len(last) - 1)])
    table = np.zeros((MAX_ORDER + 1, MAX_ORDER + 1))
    for i, row in enumerate(rows):
        for j, c in enumerate(row):
            if c:
                table[i, j] = c
    return table


_TANH = _tanh_table()


@jit
def _sech_squared(x, upward):
    """An end of 1 - tanh(x)^2 = 4 e / (1 + e)^2, e = exp(-2 |x|), increasing in e: relative accuracy also where tanh is saturated."""
    if upward:
        e = min(value_above(EXP, -2.0 * abs(x)), 1.0)
        s = down(1.0 + e)
        return min(up(4.0 * e / down(s * s)), 1.0)
    e = value_below(EXP, -2.0 * abs(x))
    s = up(1.0 + e)
    return max(down(4.0 * e / up(s * s)), 0.0)


@jit
def _tanh_piece(i, a, b, s_lo, s_hi):
    """(1 - T^2) R_i(T) for T in [a, b], with 1 - T^2 also in [s_lo, s_hi]: interval Horner."""
    near, far = smallest_largest(a, b)
    below = max(down(1.0 - up(far * far)), s_lo)
    above = min(up(1.0 - down(near * near)), s_hi)
    if not below <= above:  # the piece lies in the rounding margin
        below, above = s_lo, s_hi
    p = 0.0
    q = 0.0
    for j in range(i - 1, -1, -1):
        p, q = product(p, q, a, b)
        p = down(p + _TANH[i, j])
        q = up(q + _TANH[i, j])
    return product(p, q, below, above)


@jit
def hyperbolic_tangent(lo, hi, order, out_lo, out_hi):
    """tanh x, then (1 - T^2) R_i(T) / i! by pieces of the range of T, cut at the global bound.

    tanh z = sum over k of 1/(z - i w_k) + 1/(z + i w_k), w_k = (k - 1/2) pi, gives |tanh^(i)(x)| / i! <= 2 sum w_k^-(i+1) <= 2 (2/pi)^(i+1) pi^2/8 for real x, i >= 1.
    """
    out_lo[0] = t_lo = value_below(TANH, lo)
    out_hi[0] = t_hi = value_above(TANH, hi)
    near, far = smallest_largest(lo, hi)
    s_lo = _sech_squared(far, False)
    s_hi = _sech_squared(near, True)
    pieces = _PIECES if t_hi - t_lo > 1e-3 else 1
    factorial = 1.0
    bound = 2.4675 * 0.636620
    for i in range(1, order + 1):
        factorial *= i
        bound *= 0.636620 * (1 + 1e-15)
        low = np.inf
        high = -np.inf
        for j in range(pieces):
            a = t_lo if j == 0 else t_lo + (t_hi - t_lo) * (j / pieces)
            b = t_hi if j == pieces - 1 else t_lo + (t_hi - t_lo) * ((j + 1) / pieces)  # the next piece starts at this very float
            p, q = _tanh_piece(i, a, b, s_lo, s_hi)
            low = min(low, p)
            high = max(high, q)
        out_lo[i] = max(down(low / factorial), -bound)
        out_hi[i] = min(up(high / factorial), bound)


@jit
def arc_tangent(lo, hi, order, out_lo, out_hi):
    """atan x, then (-1)^(i-1) sin(i p) sin(p)^i / i with p = pi/2 - atan x in (0, pi) and sin p = 1 / sqrt(1 + x^2)."""
    out_lo[0] = value_below(ATAN, lo)
    out_hi[0] = value_above(ATAN, hi)
    p_lo = max(down(_HALF_PI_BELOW - out_hi[0]), 0.0)
    p_hi = up(_HALF_PI_ABOVE - out_lo[0])
    near, far = smallest_largest(lo, hi)
    s_lo = max(down(1.0 / up(math.sqrt(up(1.0 + up(far * far))))), 0.0)
    s_hi = min(up(1.0 / down(math.sqrt(down(1.0 + max(down(near * near), 0.0))))), 1.0)
    below = 1.0
    above = 1.0
    for i in range(1, order + 1):
        below = max(down(below * s_lo), 0.0)
        above = min(up(above * s_hi), 1.0)
        a, b = sine_range(SIN, down(i * p_lo), up(i * p_hi))
        a, b = product(a, b, below, above)
        a = down(a / i)
        b = up(b / i)
        out_lo[i] = a if i % 2 == 1 else -b
        out_hi[i] = b if i % 2 == 1 else -a
