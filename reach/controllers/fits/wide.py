"""Error of a polynomial against tanh on a wide range: a grid in z, on every cell the smaller of two proved bounds.

Points lower = z_0 <= ... <= z_N = upper are floats, so only tanh (TANH_ERROR) and q are rounded: t = (z - m) / w is computed within 2.1 u |t|, which moves q by
at most 2.1 u sum j |p_j|, Horner is within 2 d u sum |p_j| (1 + 1e-12), and differences of q and tanh are within 3 u (sum |p_j| + 1).
On a cell of length h the error e = q - tanh obeys both
(a) e lies between its ends' values, widened by h^2 / 8 (sup |tanh''| + sup |q''| / w^2) [linear interpolation of a C^2 function], tanh'' = -2 T (1 - T^2) with T monotone;
(b) tanh lies between its two end values [monotone], q between its own, widened by h^2 / 8 sup |q''| / w^2.
Wide saturated parts cost nothing in (b), steep ones little in (a). sup |q''| on a cell is at most the larger end value plus (h / w)^2 / 8 sup |q''''|.
"""

from __future__ import annotations

import numpy as np

from ...sets.jit import jit
from .functions import TANH_ERROR, tanh

CELLS = 64
FINE = 8
UNIT = 1.2e-16
TINY = 2.0**-1000
_PEAK, _TOP = 0.5773502691896258, 0.76980035892  # 2 T (1 - T^2) has its maximum 0.769800358919... at T = 1 / sqrt 3


@jit
def derivative_sums(p, degree):
    """sum j |p_j|, sum j (j-1) |p_j| and sum j (j-1) (j-2) (j-3) |p_j|: bounds of |p'|, |p''|, |p''''| on [-1, 1]."""
    one, two, four = 0.0, 0.0, 0.0
    for j in range(degree + 1):
        a = abs(p[j])
        one += j * a
        two += j * (j - 1) * a
        four += j * (j - 1) * (j - 2) * (j - 3) * a
    return one, two, four


@jit
def bend(a, b):
    """Upper end of |tanh''| = 2 |T| (1 - T^2) for T in [a, b], a <= b in [-1, 1], both known to 1e-14."""
    if (a <= _PEAK + 1e-14 and b >= _PEAK - 1e-14) or (a <= -_PEAK + 1e-14 and b >= -_PEAK - 1e-14):
        return _TOP
    return max(abs(a) * (1.0 - a * a), abs(b) * (1.0 - b * b)) * 2.0 + 5e-14


@jit
def horner(p, degree, t):
    """p(t) by Horner's rule."""
    s = p[degree]
    for j in range(degree - 1, -1, -1):
        s = s * t + p[j]
    return s


@jit
def horner_second(p, degree, t):
    """p''(t) by Horner's rule."""
    s = 0.0
    for j in range(degree, 1, -1):
        s = s * t + j * (j - 1.0) * p[j]
    return s


@jit
def evaluate(z, m, w, p, degree):
    """q, tanh z and |q''| at t = (z - m) / w."""
    t = (z - m) / w
    return horner(p, degree, t), tanh(z), abs(horner_second(p, degree, t))


@jit
def cell(h, ql, fl, sl, q, f, s, w, flat, four):
    """(low, high) around the error on a cell of length h with the end values (ql, fl, sl) and (q, f, s), by (a) and (b) of the module's text."""
    h *= 1.0 + 2.0 * UNIT
    step = h / w * (1.0 + 2.0 * UNIT)
    own = step * step / 8.0 * (max(s, sl) + flat + step * step / 8.0 * four) * (1.0 + 1e-13)
    both = own + h * h / 8.0 * bend(fl, f) * (1.0 + 1e-13)
    low = max(min(ql - fl, q - f) - both, min(ql, q) - own - f)
    return low, min(max(ql - fl, q - f) + both, max(ql, q) + own - fl)


@jit
def grid_error(lower, upper, m, w, p, degree):
    """(low, high) around p((z - m) / w) - tanh z for all z in [lower, upper]: CELLS cells, those that stand out by more than 1 % cut into FINE."""
    one, two, four = derivative_sums(p, degree)
    size = 0.0
    for j in range(degree + 1):
        size += abs(p[j])
    if not size < 1e100:  # from here on nothing can become NaN
        return -np.inf, np.inf
    noise = (2.0 * degree * UNIT * size + 2.1 * UNIT * one) * (1.0 + 1e-12) + TANH_ERROR + 4.0 * UNIT * (size + 1.0) + TINY
    flat = 2.0 * degree * UNIT * two + 10.0 * UNIT * (two + four)
    z, q, f, s = np.empty(CELLS + 1), np.empty(CELLS + 1), np.empty(CELLS + 1), np.empty(CELLS + 1)
    least, most = np.inf, -np.inf
    for i in range(CELLS + 1):
        z[i] = lower if i == 0 else upper if i == CELLS else min(max(m + w * (-1.0 + 2.0 * i / CELLS), lower), upper)
        q[i], f[i], s[i] = evaluate(z[i], m, w, p, degree)
        least, most = min(least, q[i] - f[i]), max(most, q[i] - f[i])
    loose = 0.01 * (most - least)
    low, high = least, most
    for i in range(CELLS):
        a, b = cell(z[i + 1] - z[i], q[i], f[i], s[i], q[i + 1], f[i + 1], s[i + 1], w, flat, four)
        if not (a >= least - loose and b <= most + loose):
            zl, ql, fl, sl = z[i], q[i], f[i], s[i]
            a, b = np.inf, -np.inf
            for c in range(1, FINE + 1):
                zr = z[i + 1] if c == FINE else min(max(z[i] + (z[i + 1] - z[i]) * (c / FINE), zl), z[i + 1])
                qr, fr, sr = evaluate(zr, m, w, p, degree)
                x, y = cell(zr - zl, ql, fl, sl, qr, fr, sr, w, flat, four)
                a, b = min(a, x), max(b, y)
                zl, ql, fl, sl = zr, qr, fr, sr
        low, high = min(low, a), max(high, b)
    return low - noise, high + noise
