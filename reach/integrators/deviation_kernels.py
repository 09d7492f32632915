"""Theorems B and C in numba: how far a motion with deviations, disturbances and remainders can be from the polynomial one.

d' = A(t) d + Bv(t) ev + Bw(t) ew(t), the matrices inside interval Jacobians [A], [Bv], [Bw] on the tube (mean value theorem in integral form).
B. With C = |[.]| entrywise and G = h [[C_A, C_v, C_w], [0]]: if exp(G) e0 < V strictly on the states, where the Jacobians were taken on the tube widened by V, every
   deviation stays below that vector on [0, h] (first exit time against the comparison system). e0 = (|E| 1, |Ev| 1, rw).
C. The transition matrix of the time-varying system lies in I + sum_q T_q +- tail, T_1 = h [A~], T_(q+1) = T_q h [A~] / (q + 1) with INDEPENDENT factors (Peano-Baker);
   the tight exponential of one constant unknown matrix would be false here. The tail is the geometric majorant of nu^q / q!.
Proofs: methods/reach.md 5.2 and 5.3.
"""

from __future__ import annotations

import numpy as np

from ..sets.jit import jit
from ..sets.kernels import TINY, U

TERMS = 60
LARGEST = 16.0  # row sums beyond this mean a step that is far too long


@jit
def matmul(A, B):
    """A B by plain sums."""
    m, k = A.shape
    n = B.shape[1]
    out = np.zeros((m, n))
    for i in range(m):
        for q in range(k):
            v = A[i, q]
            if v != 0.0:
                for j in range(n):
                    out[i, j] += v * B[q, j]
    return out


@jit
def next_term(A, B, q, absolute):
    """A B / q, or |A| B / q."""
    m, k = A.shape
    out = np.zeros((m, B.shape[1]))
    for i in range(m):
        for j in range(k):
            v = abs(A[i, j]) if absolute else A[i, j]
            if v != 0.0:
                for c in range(B.shape[1]):
                    out[i, c] += v * B[j, c]
        for c in range(B.shape[1]):
            out[i, c] /= q
    return out


@jit
def transition(A, Ar):
    """(mid, radius, majorant) of the transition matrix for h [A~] = A +- Ar (square, rows of controls and disturbances zero); majorant >= exp(|A| + Ar) entrywise.

    The series is cut after q terms when its tail nu^(q+1) / (q+1)! / (1 - nu / (q+2)), nu the largest row sum, is below 1e-18, at most after 60.
    """
    n = len(A)
    mid = A.copy()
    rad = Ar.copy()
    T = A.copy()
    Tr = Ar.copy()
    t = np.empty((n, n))
    nu = 0.0
    for i in range(n):
        s = 0.0
        for j in range(n):
            t[i, j] = abs(A[i, j]) + Ar[i, j]
            s += t[i, j]
        nu = max(nu, s)
        mid[i, i] += 1.0
    nu = nu * (1 + 1e-14)
    B = t.copy()
    majorant = t.copy()
    for i in range(n):
        majorant[i, i] += 1.0
    term = nu * nu * 0.5  # nu^(q+1) / (q+1)! for q = 1
    q = 1
    while q < TERMS and nu < LARGEST and (term > 1e-18 or nu >= 0.5 * (q + 2)):
        q += 1
        Tr = next_term(T, Ar, q, True) + next_term(Tr, B, q, False)
        T = next_term(T, A, q, False)
        t = next_term(t, B, q, False)
        for i in range(n):
            for j in range(n):
                mid[i, j] += T[i, j]
                rad[i, j] += Tr[i, j]
                majorant[i, j] += t[i, j]
        term *= nu / (q + 1)
    tail = np.inf
    if nu < 0.9 * (q + 2) and nu < LARGEST:
        tail = term / (1 - nu / (q + 2)) * (1 + 1e-12) + TINY
    # |T_j| is below the majorant's term entrywise and meets at most j (n + 2) roundings, the sum q more: q (n + 3) + 4 units of the majorant pay for all
    for i in range(n):
        for j in range(n):
            rad[i, j] = (rad[i, j] * (1 + 1e-12) + tail + (q * (n + 3) + 4) * U * majorant[i, j]) * (1 + 1e-13)
            majorant[i, j] = (majorant[i, j] * (1 + 1e-12) + tail) * (1 + 1e-12)
    return mid, rad, majorant
