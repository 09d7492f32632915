"""Fits of max(z - knot, 0) from the table, in one kernel.

On z = m + w t with kappa = (knot - m) / w in (-1, 1): max(z - knot, 0) = w (t - kappa)+. With kappa = (1 - l) kappa_j + l kappa_(j+1), D the distance of two table knots,
g = l (1 - l) D and q = (1 - l) q_j + l q_(j+1) - g / 2,

    |q(t) - (t - kappa)+| <= (1 - l) e_j + l e_(j+1) + g / 2.

Proof. kappa -> (t - kappa)+ is convex, so its interpolation (1 - l)(t - kappa_j)+ + l (t - kappa_(j+1))+ lies above it; the difference
vanishes outside the two knots and is piecewise linear between them with its top at t = kappa, where it is (1 - l)(kappa - kappa_j) = g. Half of it is subtracted.

Rounding: kappa is computed within u |kappa| + u |kappa| (difference and quotient), kappa + 1 within 2 u, times a power of two and minus an integer exactly: the l at hand
belongs to a kappa' with |kappa - kappa'| <= 5 u, and (t - kappa)+ is 1-Lipschitz in kappa. A coefficient w ((1 - l) a + l b) has four roundings: 5 u w (|a| + |b|).
"""

from __future__ import annotations

import numpy as np

from ...sets.jit import jit
from .frame import frame
from .table import HALF

UNIT = 1.2e-16
TINY = 2.0**-1000


@jit
def hinge(lower, upper, m, w, knot, coefficients, error, p):
    """Fill p; returns the bound of |p(t) - max(z - knot, 0)| for z in [lower, upper], 0 where that is linear (up to rounding of m - knot)."""
    p[:] = 0.0
    if upper <= knot:
        return 0.0
    if lower >= knot:
        p[0], p[1] = m - knot, w
        return 0.0 if knot == 0.0 else UNIT * abs(p[0])
    x = min(max(((knot - m) / w + 1.0) * HALF, 0.0), 2.0 * HALF)
    j = min(int(x), 2 * HALF - 1)
    l = x - j
    g = l * (1.0 - l) / HALF
    size = 1.0
    for i in range(len(p)):
        a, b = coefficients[j, i], coefficients[j + 1, i]
        size += abs(a) + abs(b)
        p[i] = w * ((1.0 - l) * a + l * b)
    p[0] -= 0.5 * g * w
    return w * ((1.0 - l) * error[j] + l * error[j + 1] + 0.5 * g + 6.0 * UNIT * size) * (1.0 + 8.0 * UNIT) + TINY


@jit
def relu_fits(lower, upper, coefficients, error):
    """Centre, radius, coefficients, error, slope ends of the ReLU for every neuron; exact (error 0) where it is linear."""
    k = len(lower)
    centre, radius, bound, slope_lower, slope_upper = np.empty(k), np.empty(k), np.empty(k), np.zeros(k), np.zeros(k)
    p = np.empty((k, coefficients.shape[1]))
    for i in range(k):
        m, w = frame(lower[i], upper[i])
        bound[i] = hinge(lower[i], upper[i], m, w, 0.0, coefficients, error, p[i])
        slope_lower[i] = 1.0 if lower[i] >= 0.0 else 0.0
        slope_upper[i] = 1.0 if upper[i] > 0.0 else slope_lower[i]
        centre[i], radius[i] = m, w
    return centre, radius, p, bound, slope_lower, slope_upper


@jit
def hinge_rows(lower, upper, centre, radius, knot, coefficients, error):
    """`hinge` for every neuron and one knot: coefficients (k, degree + 1) and errors (k,)."""
    p, bound = np.empty((len(lower), coefficients.shape[1])), np.empty(len(lower))
    for i in range(len(lower)):
        bound[i] = hinge(lower[i], upper[i], centre[i], radius[i], knot, coefficients, error, p[i])
    return p, bound
