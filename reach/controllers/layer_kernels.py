"""The arithmetic of one layer in numba: affine maps, ranges, and the composition with the fitted activations. Mathematics in `layerwise`.

z = P(s) + A (E eps) + N nu + diag(v) nu'; e0 = |E| 1. Every rounding is paid into v.
"""

from __future__ import annotations

import numpy as np

from ..sets.jit import jit
from ..sets.kernels import TINY, U, horner_bounded, poly_ranges


@jit
def sizes(P, A, N, e0):
    """(2, q): |P|_1 and |A| e0 + |N| 1 of every row."""
    out = np.zeros((2, len(P)))
    for i in range(len(P)):
        for j in range(P.shape[1]):
            out[0, i] += abs(P[i, j])
        for j in range(A.shape[1]):
            out[1, i] += abs(A[i, j]) * e0[j]
        for j in range(N.shape[1]):
            out[1, i] += abs(N[i, j])
    return out


@jit
def affine_rounding(size, shift_size, count, P, A, N, v, e0):
    """(q,) what the roundings of W z + b can be: at most gamma of |W||z|, from the inputs' sizes and not from |W z|, which may cancel."""
    s = sizes(P, A, N, e0)
    out = np.empty(len(size))
    for i in range(len(size)):
        total = shift_size[i]
        for j in range(size.shape[1]):
            total += size[i, j] * (s[0, j] + s[1, j] + v[j])
        out[i] = count * U * total * (1 + (count + 8) * 4 * U) + TINY
    return out


@jit
def neuron_ranges(P, A, N, v, E, e0, even):
    """(3, q): lower, upper of every neuron, and the size of its deviation on shared symbols, |A E| 1 + |N| 1."""
    q, n = A.shape
    m = E.shape[1]
    lower, upper = poly_ranges(P, even)
    out = np.empty((3, q))
    row = np.empty(m)
    for i in range(q):
        row[:] = 0.0
        for j in range(n):
            a = A[i, j]
            if a != 0.0:
                for c in range(m):
                    row[c] += a * E[j, c]
        shared = 0.0
        rounded = 0.0
        for c in range(m):
            shared += abs(row[c])
        for j in range(n):
            rounded += abs(A[i, j]) * e0[j]
        for c in range(N.shape[1]):
            shared += abs(N[i, c])
        shared = (shared + (n + 4) * U * rounded) * (1 + (m + N.shape[1] + 8) * U)
        total = (shared + v[i]) * (1 + 4e-16) + TINY
        out[0, i] = lower[i] - total - 3e-16 * (abs(lower[i]) + total)
        out[1, i] = upper[i] + total + 3e-16 * (abs(upper[i]) + total)
        out[2, i] = shared
    return out


@jit
def arguments(P, centre, radius):
    """(X, rX): the polynomials (P - m) / w of the fits' variable t, and how far the exact ones can be."""
    q, size = P.shape
    X = np.empty((q, size))
    rX = np.empty(q)
    for i in range(q):
        s = 0.0
        for j in range(size):
            X[i, j] = ((P[i, j] - centre[i]) if j == 0 else P[i, j]) / radius[i]
            s += abs(X[i, j])
        rX[i] = 4e-16 * s * (1 + (size + 2) * U) + TINY
    return X, rX


@jit
def composed(P, centre, radius, C, error, product, end, degree, even, order):
    """(Q, e): sigma(zp) within e of Q for the polynomial part zp of every neuron: the fit's error, truncation and rounding."""
    X, rX = arguments(P, centre, radius)
    Q, rest = horner_bounded(C, X, rX, product, end, degree, even, order)
    return Q, rest + error


@jit
def activated(Q, e, A, N, v, e0, shared, slope_lower, slope_upper):
    """sigma(z) in Q + c (A E eps + N nu + v nu') +- e: A and N times the middle slope; the rest into v."""
    q = len(Q)
    s = sizes(Q, A, N, e0)
    out_A = np.empty(A.shape)
    out_N = np.empty(N.shape)
    out_v = np.empty(q)
    for i in range(q):
        slope = 0.5 * slope_lower[i] + 0.5 * slope_upper[i]
        bend = max(slope_upper[i] - slope, slope - slope_lower[i]) * (1 + 4e-16) + TINY
        steepest = max(abs(slope_lower[i]), abs(slope_upper[i]))
        for j in range(A.shape[1]):
            out_A[i, j] = A[i, j] * slope
        for j in range(N.shape[1]):
            out_N[i, j] = N[i, j] * slope
        out_v[i] = (e[i] + bend * shared[i] + steepest * v[i] + 4 * U * abs(slope) * s[1, i]) * (1 + 1e-14) + TINY
    return out_A, out_N, out_v
