"""The variable of a fit: t = (z - m) / w with |t| <= 1 for every z in [lower, upper]."""

from __future__ import annotations

import numpy as np

from ...sets.jit import jit

FLOOR = 2.0**-100  # least radius: a zero-width range gets a variable too, and products with w neither underflow nor blow up


@jit
def difference_up(a, b):
    """The float a - b if that is exact or above, else the next float: at least the exact difference. [TwoSum: the error of a sum is a float]"""
    s = a - b
    v = s - a
    e = (a - (s - v)) - (b + v)
    return s if e <= 0.0 else np.nextafter(s, np.inf)  # a NaN in e (overflow on the way) rounds up too


@jit
def frame(lower, upper):
    """(m, w): floats with m - w <= lower and upper <= m + w in the reals, w >= FLOOR; w = inf where the range is too wide for a float."""
    m = 0.5 * lower + 0.5 * upper
    return m, max(max(difference_up(upper, m), difference_up(m, lower)), FLOOR)


@jit
def frames(lower, upper):
    """`frame` of every range: arrays (m, w)."""
    m, w = np.empty(len(lower)), np.empty(len(lower))
    for i in range(len(lower)):
        m[i], w[i] = frame(lower[i], upper[i])
    return m, w
