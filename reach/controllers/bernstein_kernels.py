"""Kernels that put polynomials into a polynomial: Horner in the power basis for low degrees, de Casteljau for high ones; remainders as in `sets.kernels`."""

from __future__ import annotations

import numpy as np

from ..sets.jit import jit
from ..sets.kernels import TINY, U, multiply


@jit
def horner_rows(C, R, t, rt, product, end, degree, order):
    """Rows H_q = sum_j C[q, j] t^j with polynomial coefficients, and remainders: C[q, j] +- R[q, j] and t +- rt are pointwise enclosures."""
    rows, terms, size = C.shape
    H = np.zeros((rows, size))
    r = np.zeros(rows)
    o = np.zeros(size)
    for q in range(rows):
        h = H[q]
        h[:] = C[q, terms - 1]
        e = R[q, terms - 1]
        for j in range(terms - 2, -1, -1):
            e = multiply(h, e, t, rt, o, product, end, degree, order)
            s = 0.0
            for i in range(size):
                h[i] = o[i] + C[q, j, i]
                s += abs(h[i])
            e = (e + R[q, j] + U * s) * (1 + 4e-16 * (size + 8)) + TINY
        r[q] = e
    return H, r


@jit
def casteljau_rows(C, R, y, ry, product, end, degree, order):
    """Rows sum_k C[q, k] binom(d, k) y^k (1 - y)^(d - k), by b_k <- b_k + y (b_(k+1) - b_k).

    The true y lies in [0, 1] pointwise, so a level turns remainders into at most the larger of the two, plus what the product and two sums lose.
    """
    rows, terms, size = C.shape
    H = np.zeros((rows, size))
    r = np.zeros(rows)
    o = np.zeros(size)
    gap = np.zeros(size)
    for q in range(rows):
        b = C[q].copy()
        e = R[q].copy()
        for level in range(terms - 1):
            for k in range(terms - 1 - level):
                s = 0.0
                for i in range(size):
                    gap[i] = b[k + 1, i] - b[k, i]
                    s += abs(gap[i])
                lost = multiply(gap, U * s * (1 + 4e-16 * (size + 8)), y, ry, o, product, end, degree, order)
                s = 0.0
                for i in range(size):
                    b[k, i] += o[i]
                    s += abs(b[k, i])
                e[k] = (max(e[k], e[k + 1]) + lost + U * s) * (1 + 4e-16 * (size + 8)) + TINY
        H[q] = b[0]
        r[q] = e[0]
    return H, r
