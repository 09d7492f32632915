"""Tapes evaluated by numba: one interpreter for Taylor models, one for intervals with forward derivatives. No compilation per plant.

A register holds a polynomial and a remainder (or an interval and its derivatives); every rule below encloses the exact operation on the
exact constant, which lies in [c - r, c + r]. Functions of one variable (sin, exp, 1/x, ...) come from `series`: Taylor coefficients at the
middle of the argument's range, and the coefficient of order k + 1 on the whole range as Lagrange's remainder.
"""

from __future__ import annotations

import math

import numpy as np

from ..sets.jit import jit
from ..sets.kernels import TINY, U, multiply, poly_range
from .opcodes import ADD, CONST, LIN, MUL, SHIFT, SQR
from .series import series


@jit
def compose(op, a, ra, out, product, end, degree, even, order):
    """out = the truncated composition op(a); returns a remainder, inf where op is undefined somewhere on the range of a +- ra."""
    lo, hi = poly_range(a, even)
    lo -= ra + 3e-16 * (abs(lo) + ra)
    hi += ra + 3e-16 * (abs(hi) + ra)
    if not (lo <= hi and math.isfinite(lo) and math.isfinite(hi)):
        out[:] = 0.0
        return np.inf
    c = 0.5 * lo + 0.5 * hi
    radius = max(hi - c, c - lo) * (1 + 1e-15) + TINY
    below = np.empty(order + 2)
    above = np.empty(order + 2)
    if not series(op, lo, hi, order + 1, below, above):
        out[:] = 0.0
        return np.inf
    lagrange = max(abs(below[order + 1]), abs(above[order + 1]))
    power = 1.0
    for _ in range(order + 1):
        power *= radius
    error = lagrange * power * (1 + 1e-14)
    if not series(op, c, c, order, below, above):
        out[:] = 0.0
        return np.inf
    size = len(a)
    d = a.copy()
    d[0] -= c
    rd = (ra + U * abs(d[0])) * (1 + 4e-16)
    h = np.zeros(size)
    h[0] = 0.5 * (below[order] + above[order])
    rh = max(above[order] - h[0], h[0] - below[order]) * (1 + 1e-15)
    for i in range(order - 1, -1, -1):
        rh = multiply(h, rh, d, rd, out, product, end, degree, order)
        h[:] = out
        middle = 0.5 * (below[i] + above[i])
        h[0] += middle
        rh = (rh + U * abs(h[0]) + max(above[i] - middle, middle - below[i])) * (1 + 1e-15)
    out[:] = h
    return (rh + error) * (1 + 1e-14) + TINY


@jit
def tape_taylor(op, ia, ib, c, r, X, rX, product, end, degree, even, order):
    """Polynomials C and remainders R of every register: for all x within rX of X pointwise (and all exact constants), the exact register is within R of C."""
    n, size = X.shape
    count = len(op)
    C = np.zeros((n + count, size))
    R = np.zeros(n + count)
    C[:n] = X
    R[:n] = rX
    grow = 1 + 4e-16 * (size + 8)
    for q in range(count):
        o = op[q]
        a = ia[q]
        b = ib[q]
        z = n + q
        if o == MUL or o == SQR:
            if o == SQR:
                b = a
            R[z] = multiply(C[a], R[a], C[b], R[b], C[z], product, end, degree, order)
        elif o == ADD:
            s = 0.0
            for i in range(size):
                C[z, i] = C[a, i] + C[b, i]
                s += abs(C[z, i])
            R[z] = (R[a] + R[b] + U * s) * grow
        elif o == LIN:
            s = 0.0
            t = 0.0
            for i in range(size):
                C[z, i] = c[q] * C[a, i]
                s += abs(C[z, i])
                t += abs(C[a, i])
            R[z] = (R[a] * (abs(c[q]) + r[q]) + U * s + r[q] * t) * grow + TINY
        elif o == SHIFT:
            C[z] = C[a]
            C[z, 0] += c[q]
            R[z] = (R[a] + U * abs(C[z, 0]) + r[q]) * grow
        elif o == CONST:
            C[z, 0] = c[q]
            R[z] = r[q]
        else:
            R[z] = compose(o, C[a], R[a], C[z], product, end, degree, even, order)
    return C, R


@jit
def interval_product(a, b, c, d):
    """[a, b] * [c, d], outward. NaN stays NaN."""
    p = a * c
    q = a * d
    s = b * c
    t = b * d
    lo = min(min(p, q), min(s, t))
    hi = max(max(p, q), max(s, t))
    if math.isnan(p + q + s + t):
        return -np.inf, np.inf
    return lo - (2.3e-16 * abs(lo) + 1e-300), hi + (2.3e-16 * abs(hi) + 1e-300)


@jit
def constant_rule(o, c, r, a, z, L, H):
    """LIN, SHIFT and CONST on intervals and derivatives; the exact constant is in [c - r, c + r], whose float ends are paid for."""
    slack = 2.3e-16 * (abs(c) + r) if r > 0.0 else 0.0
    low = c - r - slack
    high = c + r + slack
    if o == LIN:
        for j in range(L.shape[1]):
            L[z, j], H[z, j] = interval_product(low, high, L[a, j], H[a, j])
    elif o == SHIFT:
        L[z] = L[a]
        H[z] = H[a]
        L[z, 0] += low
        H[z, 0] += high
    else:
        L[z, 0] = low
        H[z, 0] = high


@jit
def function_rule(o, a, z, L, H, below, above):
    """A function of one variable, or a square, by its value and derivative on the argument's interval (chain rule)."""
    if o == SQR:
        lo = L[a, 0]
        hi = H[a, 0]
        below[0], above[0] = interval_product(lo, hi, lo, hi)
        below[0] = 0.0 if lo <= 0.0 <= hi else max(below[0], 0.0)
        below[1] = 2 * lo
        above[1] = 2 * hi
    elif not series(o, L[a, 0], H[a, 0], 1, below, above):
        L[z] = -np.inf
        H[z] = np.inf
        return
    L[z, 0] = below[0]
    H[z, 0] = above[0]
    for j in range(1, L.shape[1]):
        L[z, j], H[z, j] = interval_product(below[1], above[1], L[a, j], H[a, j])


@jit
def product_rule(a, b, z, L, H):
    """L[z], H[z] = the product of two registers and its derivatives."""
    L[z, 0], H[z, 0] = interval_product(L[a, 0], H[a, 0], L[b, 0], H[b, 0])
    for j in range(1, L.shape[1]):
        p, P = interval_product(L[a, 0], H[a, 0], L[b, j], H[b, j])
        s, S = interval_product(L[b, 0], H[b, 0], L[a, j], H[a, j])
        L[z, j] = p + s
        H[z, j] = P + S


@jit
def tape_jacobian(op, ia, ib, c, r, lo, hi, outputs):
    """Interval values (2, len(outputs)) and Jacobians (len(outputs), n) of the outputs on the box [lo, hi], by forward differentiation."""
    n = len(lo)
    count = len(op)
    L = np.zeros((n + count, n + 1))
    H = np.zeros((n + count, n + 1))
    L[:n, 0] = lo
    H[:n, 0] = hi
    below = np.empty(2)
    above = np.empty(2)
    for i in range(n):
        L[i, i + 1] = 1.0
        H[i, i + 1] = 1.0
    for q in range(count):
        o = op[q]
        a = ia[q]
        z = n + q
        if o == ADD:
            L[z] = L[a] + L[ib[q]]
            H[z] = H[a] + H[ib[q]]
        elif o == MUL:
            product_rule(a, ib[q], z, L, H)
        elif o == LIN or o == SHIFT or o == CONST:
            constant_rule(o, c[q], r[q], a, z, L, H)
        else:
            function_rule(o, a, z, L, H, below, above)
        for j in range(n + 1):  # every sum above is rounded at most twice
            L[z, j] -= 4e-16 * abs(L[z, j]) + 1e-300
            H[z, j] += 4e-16 * abs(H[z, j]) + 1e-300
    m = len(outputs)
    value = np.empty((2, m))
    low = np.empty((m, n))
    high = np.empty((m, n))
    for i in range(m):
        value[0, i] = L[outputs[i], 0]
        value[1, i] = H[outputs[i], 0]
        low[i] = L[outputs[i], 1:]
        high[i] = H[outputs[i], 1:]
    return value, low, high
