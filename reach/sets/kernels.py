"""Kernels of polynomial arithmetic: ranges, truncated products, composition with univariate polynomials, each with a proved remainder.

A polynomial is a row of M coefficients over a `Ring`; (a, ra) stands for every function that differs from a by at most ra on the ring's domain.
U = 1.2e-16 stands for the unit roundoff u = 2^-53 = 1.11e-16: the surplus pays for the roundings of the bound itself.

Claim of `multiply` (methods/reach.md section 4). With M <= 10^6 monomials and no overflow the computed truncated product c~ satisfies
sum_t |c~_t - c_t| <= (M + 4) u |a|_1 |b|_1 + M^2 2^-1074, with computed norms, in any order of summation, with or without FMA.
Proof. For fixed t and i at most one j gives t, so c_t has n_t <= M terms: |c~_t - c_t| <= gamma_(n_t) sum |a_i||b_j| (Higham, Lemma 3.1), each pair (i, j)
occurs once, so the total is <= gamma_M |a|_1 |b|_1; computed norms and the last roundings cost (1 - gamma_M)^-2 (1 + u)^4; gamma_M times that is at most
(M + 4) u for M <= 10^7. Underflow: fewer than M^2 products, 2^-1075 each, doubled. QED.
Truncation: with alpha_i the sum of |a_m| over degree i, the dropped part is at most sum over i + j > k of alpha_i beta_j.
An overflow gives an infinite or NaN remainder, which every proving comparison refuses.
"""

from __future__ import annotations

import numpy as np

from .jit import jit

U = 1.2e-16
TINY = 1e-290


@jit
def poly_range(c, even):
    """Enclosure (lo, hi) of the polynomial c: a monomial that is even ranges over [0, 1], any other over [-1, 1]."""
    lo = c[0]
    hi = c[0]
    s = abs(c[0])
    for i in range(1, len(c)):
        v = c[i]
        s += abs(v)
        if even[i]:
            lo += min(v, 0.0)
            hi += max(v, 0.0)
        else:
            lo -= abs(v)
            hi += abs(v)
    e = (len(c) + 4) * U * s
    return lo - e, hi + e


@jit
def poly_ranges(C, even):
    """`poly_range` of every row of C."""
    lo = np.empty(len(C))
    hi = np.empty(len(C))
    for i in range(len(C)):
        lo[i], hi[i] = poly_range(C[i], even)
    return lo, hi


@jit
def multiply(a, ra, b, rb, out, product, end, degree, order):
    """out = the truncated product of a and b; returns a remainder r with (a +- ra)(b +- rb) in out +- r."""
    size = len(a)
    out[:] = 0.0
    da = np.zeros(order + 1)
    db = np.zeros(order + 1)
    for i in range(size):
        da[degree[i]] += abs(a[i])
        db[degree[i]] += abs(b[i])
    for i in range(size):
        v = a[i]
        if v != 0.0:
            for j in range(end[order - degree[i]]):
                out[product[i, j]] += v * b[j]
    na = da.sum()
    nb = db.sum()
    dropped = 0.0
    tail = 0.0
    for i in range(1, order + 1):
        tail += db[order + 1 - i]
        dropped += da[i] * tail
    return (dropped + na * rb + nb * ra + ra * rb + (size + 4) * U * (na * nb)) * (1 + 4e-16 * (size + 8)) + TINY


@jit
def horner(C, X, rX, product, end, degree, order):
    """Rows H_q = sum_j C[q, j] X_q^j, truncated, and remainders r: for |x - X_q| <= rX[q] pointwise, |sum_j C[q, j] x^j - H_q| <= r[q]. C has at least two columns."""
    n, size = X.shape
    H = np.zeros((n, size))
    r = np.zeros(n)
    d = C.shape[1] - 1
    o = np.zeros(size)
    for q in range(n):
        h = H[q]
        s = 0.0
        for i in range(size):
            h[i] = C[q, d] * X[q, i]
            s += abs(h[i])
        h[0] += C[q, d - 1]
        e = (abs(C[q, d]) * rX[q] + 2 * U * (s + abs(C[q, d - 1]))) * (1 + 4e-16 * (size + 8)) + TINY
        for j in range(d - 2, -1, -1):
            e = multiply(h, e, X[q], rX[q], o, product, end, degree, order)
            h[:] = o
            h[0] += C[q, j]
            e = (e + U * abs(h[0])) * (1 + 1e-15)
        r[q] = e
    return H, r


@jit
def truncated(a, b, out, product, end, degree, order):
    """out = the truncated product of two exact polynomials; returns a bound of what was dropped and rounded."""
    return multiply(a, 0.0, b, 0.0, out, product, end, degree, order)


@jit
def horner_bounded(C, X, rX, product, end, degree, even, order):
    """As `horner`, with remainders carried by the ranges of the factors instead of their coefficient sums.

    Claim: for |x - X_q| <= rX[q] pointwise, |sum_j C[q, j] x^j - H_q| <= r[q]. With h within e of H on the domain, |h x - H X| <= e sup|x| + sup|H| rX.
    """
    n, size = X.shape
    H = np.zeros((n, size))
    r = np.zeros(n)
    d = C.shape[1] - 1
    o = np.zeros(size)
    for q in range(n):
        lo, hi = poly_range(X[q], even)
        largest = (max(abs(lo), abs(hi)) + rX[q]) * (1 + 4e-16)
        h = H[q]
        s = 0.0
        for i in range(size):
            h[i] = C[q, d] * X[q, i]
            s += abs(h[i])
        h[0] += C[q, d - 1]
        e = (abs(C[q, d]) * rX[q] + 2 * U * (s + abs(C[q, d - 1]))) * (1 + 4e-16 * (size + 8)) + TINY
        for j in range(d - 2, -1, -1):
            lo, hi = poly_range(h, even)
            dropped = truncated(h, X[q], o, product, end, degree, order)
            e = (e * largest + max(abs(lo), abs(hi)) * rX[q] + dropped) * (1 + 2e-15) + TINY
            h[:] = o
            h[0] += C[q, j]
            e = (e + U * abs(h[0])) * (1 + 1e-15)
        r[q] = e
    return H, r
