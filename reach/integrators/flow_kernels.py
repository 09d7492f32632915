"""One validated step of the plant in numba: from x(0) = p0(s) + E eps, v = pv(s) + Ev eps, |w(t) - wc| <= rw to the set at h and the tube on [0, h].

x(t) in P(s, t/h) +- I +- V (tube) and x(h) in P(s, 1) + Phi0 (E; Ev) eps + B0 diag(rw) wbar + fresh box, where B0 wbar is the disturbance's mean over THIS step (a
symbol per integration step, not per control step: a signal that alternates would escape) and its variation goes to the box: |rest| <= S rw with
S = Br + (exp(h C_A) - I)(|B0| + Br). Proofs: methods/reach.md 5.3 and 5.4. Status: 0 proved, 1 no inclusion, 2 Jacobian too large or undefined, 3 deviation not bounded.
"""

from __future__ import annotations

import numpy as np

from ..dynamics.tape_kernels import tape_jacobian
from ..sets.jit import jit
from ..sets.kernels import TINY, U, poly_ranges
from .deviation_kernels import matmul, transition
from .picard_kernels import STEP_LENGTH, picard

SLACK = 1 + 1e-6  # what a checker with other roundings may lose
LARGEST_JACOBIAN = 5.0


@jit
def deviation(code, outputs, lo, hi, vlo, vhi, e0, n, h):
    """(status, V, need, A, Ar, mid, rad, majorant): deviations |d(t)| <= need < V on [0, h] from |d(0)| <= e0 (all rows), tube [lo, hi] and held values [vlo, vhi]."""
    op, ia, ib, c, r = code
    N = len(e0)
    V = np.empty(n)
    need = np.zeros(n)
    for i in range(n):
        V[i] = 1.2 * e0[i] + 1e-12
    A = np.zeros((N, N))
    Ar = np.zeros((N, N))
    mid = np.zeros((N, N))
    rad = np.zeros((N, N))
    majorant = np.zeros((N, N))
    low = np.empty(N)
    high = np.empty(N)
    for _ in range(12):
        for i in range(N):
            spread = V[i] if i < n else e0[i]
            below = lo[i] if i < n else vlo[i - n]
            above = hi[i] if i < n else vhi[i - n]
            low[i] = below - spread - 4e-16 * (abs(below) + spread)
            high[i] = above + spread + 4e-16 * (abs(above) + spread)
        _value, L, H = tape_jacobian(op, ia, ib, c, r, low, high, outputs)
        for i in range(n):
            s = 0.0
            for j in range(N):
                A[i, j] = (0.5 * L[i, j] + 0.5 * H[i, j]) * h
                Ar[i, j] = ((0.5 * H[i, j] - 0.5 * L[i, j]) * h + (2e-15 + STEP_LENGTH) * max(abs(L[i, j]), abs(H[i, j])) * h) * (1 + 1e-15) + TINY
                s += abs(A[i, j]) + Ar[i, j]
            if not s <= LARGEST_JACOBIAN:
                return 2, V, need, A, Ar, mid, rad, majorant
        mid, rad, majorant = transition(A, Ar)
        inside = True
        for i in range(n):
            s = 0.0
            for j in range(N):
                s += majorant[i, j] * e0[j]
            need[i] = s * SLACK + TINY
            inside = inside and need[i] < V[i]
        if inside:
            return 0, V, need, A, Ar, mid, rad, majorant
        for i in range(n):
            V[i] = 1.1 * need[i] + 1e-13
    return 3, V, need, A, Ar, mid, rad, majorant


@jit
def row_sum(E):
    """Upper ends of the rows' absolute sums."""
    out = np.zeros(len(E))
    for i in range(len(E)):
        for j in range(E.shape[1]):
            out[i] += abs(E[i, j])
        out[i] *= 1 + (E.shape[1] + 2) * 2 * U
    return out


@jit
def disturbed(A, Ar, majorant, rw, i, k):
    """How far row i of the disturbance's part can be from B0 wbar over the step: sum_j S_ij rw_j (2), the rounding of B0 rw included; k states and controls."""
    rest = 0.0
    for j in range(len(rw)):
        s = Ar[i, k + j]
        for q in range(k):  # rows of controls are zero
            g = majorant[i, q] - (1.0 if q == i else 0.0)
            s += (g + 3e-16 * (1.0 + majorant[i, q])) * (abs(A[q, k + j]) + Ar[q, k + j])
        rest += s * rw[j] + 3e-16 * abs(A[i, k + j]) * rw[j]
    return rest


@jit
def ends_of(P, I, generators, held_generators, e0, rw, A, Ar, mid, rad, majorant, order):
    """(generators at h (n, m + nw + n), parts (3, n)): Phi0 (E; Ev), then B0 diag(rw), then the fresh box; parts: I, spread of the transition, disturbance."""
    n = len(P)
    m = generators.shape[1]
    nw = len(rw)
    k = n + len(held_generators)
    ends = np.zeros((n, m + nw + n))
    parts = np.zeros((3, n))
    ends[:, :m] = matmul(mid[:n, :n], generators) + matmul(np.ascontiguousarray(mid[:n, n:k]), held_generators)
    for i in range(n):
        spread = 0.0
        size = 0.0
        for j in range(k):
            spread += rad[i, j] * e0[j]
            size += abs(mid[i, j]) * e0[j]
        for j in range(nw):
            ends[i, m + j] = A[i, k + j] * rw[j]
        total = 0.0
        for j in range(P.shape[1]):
            total += abs(P[i, j])
        parts[0, i] = I[i]
        parts[1, i] = spread
        parts[2, i] = disturbed(A, Ar, majorant, rw, i, k)
        remainder = (I[i] + spread + parts[2, i]) * SLACK
        ends[i, m + nw + i] = (remainder + (k + 6) * U * size + (order + 4) * U * total) * (1 + 1e-12) + TINY
    return ends, parts


@jit
def chord(generators, held_generators, e0, rw, A, Ar, majorant, i):
    """An upper bound of |d_i(t)| for all t in [0, h]: what keeps the symbols moves along a chord, the rest is of second order.

    d(t) = d0 + int A d0 + Bv ev + Bw w~ + int A (d - d0); with tau = t / h the first integral is tau (A0 (d0; ev) + B0 wbar) up to tau Ar e0, and the last at most
    (exp(G tau) - I - G tau) e0, increasing in tau. For fixed symbols d0 + tau A0 (d0; ev) is between its values at 0 and 1.
    """
    n, m = generators.shape
    k = n + len(held_generators)
    start = 0.0
    end = 0.0
    size = 0.0
    rest = 0.0
    for c in range(m):
        s = generators[i, c]
        for j in range(n):
            s += A[i, j] * generators[j, c]
        for j in range(n, k):
            s += A[i, j] * held_generators[j - n, c]
        end += abs(s)
        start += abs(generators[i, c])
    for j in range(len(e0)):
        g = abs(A[i, j]) + Ar[i, j]
        size += abs(A[i, j]) * e0[j]
        second = majorant[i, j] - (1.0 if j == i else 0.0) - g
        rest += (Ar[i, j] + max(second, 0.0) + 5e-16 * (1.0 + majorant[i, j])) * e0[j]
    for j in range(len(rw)):
        end += abs(A[i, k + j]) * rw[j]
    return (max(start, end) + rest + (m + k + 8) * U * (e0[i] + size)) * (1 + 1e-12) * SLACK + TINY


@jit
def flow(code, outputs, start, generators, held, held_generators, wc, rw, h, time_power, raise_time, tables):
    """One step. start (n, M_time), generators (n, m), held (nu + nw, M_time) with the disturbances' middles last, held_generators (nu, m), rw (nw,).

    Returns (status, P, vectors (3, n): I, V, a bound of the deviation at all times below V, matrices (4, N, N): Jacobian and its radius times h, transition and its radius,
    ends and parts as in `ends_of`).
    """
    n = len(start)
    P, I, ok = picard(code, outputs, start, held, h, time_power, raise_time, tables)
    e0 = np.concatenate((row_sum(generators), row_sum(held_generators), rw))
    N = len(e0)
    vectors = np.zeros((3, n))
    matrices = np.zeros((4, N, N))
    if not ok:
        return 1, P, vectors, matrices, np.zeros((n, 0)), np.zeros((3, n))
    lo, hi = poly_ranges(P, tables[3])
    vlo, vhi = poly_ranges(held, tables[3])
    for i in range(n):
        I[i] = I[i] * SLACK + TINY
        lo[i] -= I[i] + 4e-16 * (abs(lo[i]) + I[i])
        hi[i] += I[i] + 4e-16 * (abs(hi[i]) + I[i])
    status, V, need, A, Ar, mid, rad, majorant = deviation(code, outputs, lo, hi, vlo, vhi, e0, n, h)
    if status != 0:
        return status, P, vectors, matrices, np.zeros((n, 0)), np.zeros((3, n))
    ends, parts = ends_of(P, I, generators, held_generators, e0, rw, A, Ar, mid, rad, majorant, tables[4])
    vectors[0] = I
    vectors[1] = V
    for i in range(n):
        vectors[2, i] = min(need[i], chord(generators, held_generators, e0, rw, A, Ar, majorant, i))
    matrices[0] = A
    matrices[1] = Ar
    matrices[2] = mid
    matrices[3] = rad
    return 0, P, vectors, matrices, ends, parts
