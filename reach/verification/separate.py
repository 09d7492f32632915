"""Separation: a positive combination of two violations that is positive on a patch keeps the patch out of both half-spaces at once."""

from __future__ import annotations

import numpy as np

from certify.core.rounding import down, gamma, norms_up, up

from ..sets.kernels import poly_ranges
from ..sets.ring import Ring


def ranges(r: Ring, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Enclosures (lower, upper) of rows (..., M), each of shape (...)."""
    lo, hi = poly_ranges(np.ascontiguousarray(rows.reshape(-1, r.size)), r.even)
    return lo.reshape(rows.shape[:-1]), hi.reshape(rows.shape[:-1])


def separate(r: Ring, rows: np.ndarray, error: np.ndarray) -> float:
    """The best proved value of min (a v_i + b v_j) / (a + b) over pairs of violations (J, M) with weights a, b > 0; -inf without a pair.

    If it is positive no state satisfies both v_i <= 0 and v_j <= 0, so none is in the region. The weights are tried twice: equal sizes (corner directions of a
    box scaled to the patch), and such that the variable with the largest opposed slopes cancels (a line along the motion past a corner).
    """
    finite = np.isfinite(error) & np.isfinite(rows).all(axis=1)
    upper = ranges(r, rows)[1] + np.where(finite, error, 0)
    useful = np.flatnonzero(finite & (upper > 0))
    i, j = (useful[k] for k in np.triu_indices(len(useful), 1))
    if not len(i) or r.order < 1:
        return -np.inf
    linear = np.stack([rows[:, r.variable(v)] for v in range(r.variables)], axis=1) if r.variables else np.zeros((len(rows), 1))
    opposed = np.where(linear[i] * linear[j] < 0, np.abs(linear[i]) * np.abs(linear[j]), 0.0)
    axis = opposed.argmax(axis=1)
    size = np.abs(rows[:, 1:]).sum(axis=1) + error
    pairs = np.arange(len(i))
    with np.errstate(all="ignore"):
        equal = 1 / size[i], 1 / size[j]
    weights = [equal, (np.abs(linear[j][pairs, axis]), np.abs(linear[i][pairs, axis]))]
    best = -np.inf
    for a, b in weights:
        good = (a > 0) & (b > 0) & np.isfinite(a) & np.isfinite(b)
        if good.any():
            total = a[good] + b[good]
            a, b, k, m = a[good] / total, b[good] / total, i[good], j[good]
            best = max(best, float(_combined(r, rows[k], error[k], a, rows[m], error[m], b).max()))
    return best


def _combined(r: Ring, p: np.ndarray, ep: np.ndarray, a: np.ndarray, q: np.ndarray, eq: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Lower ends of a p + b q, row by row. Rounding: two products and a sum per coefficient, gamma_3 of the sizes and an underflow of 2^-1074 each."""
    with np.errstate(all="ignore"):
        rows = a[:, None] * p + b[:, None] * q
        size = up(up(a * up(norms_up(p, "l1") + ep)) + up(b * up(norms_up(q, "l1") + eq)))
        error = up(up(up(a * ep) + up(b * eq)) + up(up(gamma(6) * size) + 2.0**-1000))
        value = down(ranges(r, rows)[0] - error)
    return np.where(np.isnan(value), -np.inf, value)
