"""Theorem A in numba: a polynomial in (s, tau) and a remainder I such that every motion of the undisturbed plant from p0(s) lies in P(s, t/h) +- I.

Candidate: k Picard iterations, which need no proof. Proof (methods/reach.md 5.1): if y +- r encloses f on P +- I and

    I' = h r + |h J y - its truncation|_1 + |p0 + h J y - P|_1 + rounding + 1e-15 h (|y|_1 + r)

satisfies I' <= I componentwise, then the Picard operator maps {x : x(t) in P +- I} into {x in P +- I'}, so a solution exists there (Schauder), and it is the
only one; it lies in P +- I'. J is the integral over tau. The last term covers a step length that differs from the float h by up to 4.5 units in the last place: the period is a
decimal, and both readings are meant.
"""

from __future__ import annotations

import numpy as np

from ..dynamics.tape_kernels import tape_taylor
from ..sets.jit import jit
from ..sets.kernels import TINY

TRIALS = 30
STEP_LENGTH = 1e-15


@jit
def integrate(c, h, time_power, raise_time, out):
    """out = h times the integral of c over tau, truncated; returns the absolute sum of what was dropped (degree k + 1)."""
    out[:] = 0.0
    dropped = 0.0
    for i in range(len(c)):
        if raise_time[i] >= 0:
            out[raise_time[i]] = h * c[i] / (time_power[i] + 1)
        else:
            dropped += abs(c[i]) / (time_power[i] + 1)
    return dropped * h * (1 + 4e-16 * (len(c) + 8))


@jit
def picard(code, outputs, start, held, h, time_power, raise_time, tables):
    """(P, I, ok): start (n, M_time) holds p0, held the polynomials of controls and of the disturbances' middles. ok False: no inclusion found."""
    op, ia, ib, c, r = code
    product, end, degree, even, order = tables
    n, size = start.shape
    X = np.zeros((n + len(held), size))
    X[:n] = start
    X[n:] = held
    remainder = np.zeros(n + len(held))
    o = np.zeros(size)
    included = np.zeros(n)
    trial = np.zeros(n)
    for _ in range(order):
        Y, _ry = tape_taylor(op, ia, ib, c, r, X, remainder, product, end, degree, even, order)
        for i in range(n):
            integrate(Y[outputs[i]], h, time_power, raise_time, o)
            X[i] = start[i] + o
    for _ in range(TRIALS):
        remainder[:n] = included
        Y, ry = tape_taylor(op, ia, ib, c, r, X, remainder, product, end, degree, even, order)
        inside = True
        for i in range(n):
            dropped = integrate(Y[outputs[i]], h, time_power, raise_time, o)
            e = 0.0
            y = 0.0
            for j in range(size):
                e += abs(start[i, j] + o[j] - X[i, j]) + 5e-16 * (abs(start[i, j]) + abs(o[j]) + abs(X[i, j]))
                y += abs(Y[outputs[i], j])
            trial[i] = (h * ry[outputs[i]] + dropped + e + STEP_LENGTH * h * (y + ry[outputs[i]])) * (1 + 4e-16 * (size + 8)) + TINY
            inside = inside and trial[i] <= included[i]
        if inside:
            return X[:n], trial, True
        for i in range(n):
            included[i] = 1.3 * trial[i] + TINY
            if not np.isfinite(included[i]):
                return X[:n], included, False
    return X[:n], included, False
