"""Discrete Remez exchange: a polynomial close to the best one at given points. A candidate only: its error is proved elsewhere."""

from __future__ import annotations

import math

import numpy as np

from ...sets.jit import jit


@jit
def solve(a, b):
    """Solve a x = b in place by elimination with row pivoting; x is b. A singular matrix gives NaN or infinity."""
    n = len(b)
    for k in range(n):
        p = k
        for i in range(k + 1, n):
            if abs(a[i, k]) > abs(a[p, k]):
                p = i
        if p != k:
            for j in range(k, n):
                a[k, j], a[p, j] = a[p, j], a[k, j]
            b[k], b[p] = b[p], b[k]
        for i in range(k + 1, n):
            f = a[i, k] / a[k, k]
            for j in range(k + 1, n):
                a[i, j] -= f * a[k, j]
            b[i] -= f * b[k]
    for k in range(n - 1, -1, -1):
        for j in range(k + 1, n):
            b[k] -= a[k, j] * b[j]
        b[k] /= a[k, k]


@jit
def alternation(e, reference):
    """Fill `reference` with increasing indices of alternating peaks of e, one per run of one sign, the smaller end dropped while there are too many; False if too few."""
    where = np.empty(64, np.int64)
    n, first, m = 0, 0, len(reference)
    for i in range(len(e)):
        if n > 0 and (e[i] > 0.0) == (e[where[n - 1]] > 0.0):
            if abs(e[i]) > abs(e[where[n - 1]]):
                where[n - 1] = i
        elif n < len(where):
            where[n] = i
            n += 1
    while n - first > m:
        if abs(e[where[first]]) < abs(e[where[n - 1]]):
            first += 1
        else:
            n -= 1
    if n - first < m:
        return False
    reference[:] = where[first : first + m]
    return True


@jit
def one_exchange(e, reference):
    """Put the index of the largest |e| in place of the nearest entry: a way on where the peaks do not alternate often enough."""
    top, near = 0, 0
    for k in range(len(e)):
        if abs(e[k]) > abs(e[top]):
            top = k
    for r in range(len(reference)):
        if abs(reference[r] - top) < abs(reference[near] - top):
            near = r
    reference[near] = top


@jit
def exchange(basis, f, reference, rounds, good, best):
    """Fill `best` with the coefficients of nearly the best combination of the rows of `basis` (values at the points) for the values f.

    `reference` (len(basis) + 1 increasing indices) is the start and becomes the last one. Each round solves x . basis + (-1)^i E = f on the reference and takes the
    alternating peaks of the error; it stops when max |error| <= good |E|, or after `rounds`. `best` starts from what the caller put there if that is better.
    """
    m, count = len(reference), basis.shape[1]
    a, x, e = np.empty((m, m)), np.empty(m), np.empty(count)
    least = np.inf
    for i in range(rounds + 1):
        if i > 0:
            for r in range(m):
                for j in range(m - 1):
                    a[r, j] = basis[j, reference[r]]
                a[r, m - 1] = 1.0 if r % 2 == 0 else -1.0
                x[r] = f[reference[r]]
            solve(a, x)
        else:
            x[: m - 1] = best
            x[m - 1] = 0.0
        for k in range(count):
            e[k] = -f[k]
        for j in range(m - 1):
            for k in range(count):
                e[k] += x[j] * basis[j, k]
        most = 0.0
        for k in range(count):
            most = max(most, abs(e[k]))
        if most < least:
            least = most
            best[:] = x[: m - 1]
        if most <= good * abs(x[m - 1]) + 1e-16:
            return
        if not alternation(e, reference) and i > 0:
            one_exchange(e, reference)


@jit
def extrema(count, size):
    """Increasing indices into `size` points cos(pi i / (size - 1)): nearest to the `count` extrema of a Chebyshev polynomial."""
    out = np.empty(count, np.int64)
    for i in range(count):
        out[i] = int(math.floor(i * (size - 1) / (count - 1) + 0.5))
    return out


@jit
def powers(t, degree):
    """Rows t^j, j = 0..degree."""
    out = np.ones((degree + 1, len(t)))
    for j in range(1, degree + 1):
        for i in range(len(t)):
            out[j, i] = out[j - 1, i] * t[i]
    return out
