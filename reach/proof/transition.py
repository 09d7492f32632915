"""Enclosures of transition matrices of linear systems whose matrix varies in time inside an interval matrix, a batch at a time.

For d' = A(t) d, h A(t) inside A +- R for almost every t, the transition matrix is the Peano-Baker series I + int A + int int A A + ...; its q-th term is 1/q! times an
average of products of q matrices of A +- R, and interval products of independent factors contain every one of them. With C = |A| + R the tail
beyond Q terms is at most nu^(Q+1) / (Q+1)! / (1 - nu / (Q + 2)) in every entry, nu = |C|_inf < Q + 2. (methods/reach.md, Theorem C.)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from certify.core.rounding import TINY, U, gamma

TERMS = 60
SMALL = 2.0**-66  # the series ends where its tail is below


class Transition(NamedTuple):
    """Each (B, N, N): transition matrices lie in middle +- radius, and |matrix| <= majorant at every intermediate time too; majorant >= exp(C)."""

    middle: np.ndarray
    radius: np.ndarray
    majorant: np.ndarray


def transition(a: np.ndarray, r: np.ndarray) -> Transition:
    """Of the interval matrices a +- r (B, N, N), already times the step length. Infinite radii where the matrix is too large."""
    n = a.shape[-1]
    eye = np.broadcast_to(np.eye(n), a.shape)
    size = np.abs(a) + r
    slack, more = gamma(n + 4), 1 + 4 * gamma(4 * n + 40)
    nu = size.sum(-1).max(-1) * more
    middle, radius, majorant = eye + a, r + U * (eye + size), eye + size
    term, spread, large, power, q = a, r, size, 0.5 * nu * nu, 1
    while q < TERMS and not (power < SMALL).all():
        q += 1
        # |T A - fl| <= gamma_n |T||A|; the division by q and the sum of the series one rounding each, paid by slack and by the last line
        spread = ((np.abs(term) @ r + spread @ size + slack * (np.abs(term) @ np.abs(a))) / q) * more + TINY
        term = (term @ a) / q
        large = (large @ size / q) * more + TINY
        middle, radius, majorant = middle + term, radius + spread + 2 * U * (majorant + large), majorant + large
        power = power * nu / (q + 1)
    with np.errstate(all="ignore"):
        tail = np.where(nu < q + 2, power / (1 - nu / (q + 2)) * (1 + 2.0**-40) + TINY, math.inf)[:, None, None]
    more = 1 + 4 * gamma(4 * q + 40)
    return Transition(middle, radius * more + tail, majorant * more + tail)
