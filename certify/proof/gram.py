"""||A|| <= b by one verified Cholesky factorisation of b^2 I - A A' (or A' A), with the Gram matrix built from pairs of taps.

For a convolution the block of A A' at outputs (o, o') is the sum of K[t] K[t']' over all pairs of taps that read the same pixel there, so the
matrix is filled by one small product per pair and no matrix A is assembled.

Rounding, for every Gram matrix G' of this file: an entry is a sum of at most K products of two weights in some order, so
|G' - A A'| <= gamma_K M M' entrywise with the majorant M, hence |G' - A A'|_2 <= gamma_K |M|_2^2 (weights are scaled: underflow is below TINY).
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from ..core.cholesky import definite
from ..core.rounding import TINY, add_up, down, gamma, mul_up
from .windows import Windows

LARGEST_SIDE = 8192
_MOST_PAIRS = 20_000
_MOST_DENSE = 30_000_000


def below(gram: np.ndarray, bound: float, error: float) -> bool:
    """True only if lambda_max(G) <= bound^2 for every symmetric G with |G - gram|_2 <= error; bound >= 0. `gram` is exactly symmetric."""
    level = down(down(bound * bound) - error)
    if not (math.isfinite(level) and level > 0):
        return False
    return definite(gram, down(level - np.diagonal(gram)), -1.0, 0)


def matrix_below(matrix: np.ndarray, bound: float, slack: float = 0.0, spread: float | None = None) -> bool:
    """True only if ||A|| <= bound for every A with ||A - matrix|| <= slack. Entries of the matrix at most 1 in size, smaller side at most
    LARGEST_SIDE. spread: an upper end of || |matrix| ||^2, where it is known."""
    a = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    if len(a) > LARGEST_SIDE:
        return False
    rest = down(bound - slack)
    if not rest >= 0:
        return False
    if not a.any():
        return True
    count = max(a.shape)
    if spread is None:
        size = np.abs(a)
        spread = mul_up(float(size.sum(axis=0).max()), float(size.sum(axis=1).max()))  # l1 linf >= |M|_2^2, but for the rounding of the sums
    error = add_up(mul_up(gamma(2 * count + 8), mul_up(spread, 1.0 + 4.0 * gamma(count + 2))), TINY)
    return below(symmetric(a @ a.T), rest, error)


def symmetric(gram: np.ndarray) -> np.ndarray:
    """The matrix with its lower triangle mirrored, in place: each entry keeps its own error bound, which is symmetric."""
    for i in range(0, len(gram), 256):
        block = gram[i : i + 256, i : i + 256]
        block[...] = np.tril(block) + np.tril(block, -1).T
        gram[i : i + 256, i + 256 :] = gram[i + 256 :, i : i + 256].T
    return gram


def windows_below(a: Windows, bound: float) -> bool:
    """True only if ||A|| <= 2^-exponent-scaled `bound` for every group of the map, by its Gram matrix; False also where that is too large."""
    rest = down(bound - a.slack())
    if not rest >= 0:
        return False
    side = min(a.rows, a.columns)
    pairs = math.prod(axis.taps for axis in a.axes) ** 2
    if side > LARGEST_SIDE or (pairs > _MOST_PAIRS and a.rows * a.columns > _MOST_DENSE):
        return False
    rows, columns = a.sums
    taps = math.prod(axis.taps for axis in a.axes)
    # products in one entry: a tap of one side fixes that of the other, unless padding copies pixels
    meetings = taps * math.prod(int(axis.readers.max(initial=1.0)) for axis in a.axes) if a.copying else 1
    error = add_up(mul_up(gamma(max(a.weight.shape[1:3]) * taps * meetings + 8), mul_up(rows, columns)), TINY)
    for g in range(a.groups):
        weight = a.weight[g]
        if not weight.any():
            continue
        if pairs <= _MOST_PAIRS:
            gram = row_gram(weight, a) if a.rows <= a.columns else column_gram(weight, a)
        else:
            matrix = assembled(weight, a)
            gram = matrix @ matrix.T if a.rows <= a.columns else matrix.T @ matrix
        if not below(symmetric(gram), rest, error):
            return False
    return True


def row_gram(weight: np.ndarray, a: Windows) -> np.ndarray:
    """A A' of one group: rows are (output positions, output channels); weight (rows, columns, *taps)."""
    m = [axis.outputs for axis in a.axes]
    r, total = weight.shape[0], math.prod(m)
    gram = np.zeros((total, r, total, r))
    for t, u in itertools.product(list(a.tap_indices()), repeat=2):
        meet = [np.nonzero((axis.source[:, i][:, None] == axis.source[:, j][None, :]) & (axis.source[:, i][:, None] >= 0)) for axis, i, j in zip(a.axes, t, u)]
        if all(len(first) for first, _ in meet):
            gram[_flat([x for x, _ in meet], m), :, _flat([y for _, y in meet], m), :] += weight[(slice(None), slice(None), *t)] @ weight[(slice(None), slice(None), *u)].T
    return gram.reshape(total * r, total * r)


def column_gram(weight: np.ndarray, a: Windows) -> np.ndarray:
    """A' A of one group: rows are (pixels, input channels)."""
    n = [axis.inputs for axis in a.axes]
    c, total = weight.shape[1], math.prod(n)
    gram = np.zeros((total, c, total, c))
    for t, u in itertools.product(list(a.tap_indices()), repeat=2):
        seen = [axis.source[:, [i, j]][(axis.source[:, [i, j]] >= 0).all(axis=1)] for axis, i, j in zip(a.axes, t, u)]
        if all(len(pair) for pair in seen):
            block = weight[(slice(None), slice(None), *t)].T @ weight[(slice(None), slice(None), *u)]
            x, y = _flat([pair[:, 0] for pair in seen], n), _flat([pair[:, 1] for pair in seen], n)
            if a.copying:  # one pair of pixels may be read together by several outputs
                np.add.at(gram, (x, slice(None), y, slice(None)), block)  # type: ignore[arg-type]
            else:
                gram[x, :, y, :] += block
    return gram.reshape(total * c, total * c)


def assembled(weight: np.ndarray, a: Windows) -> np.ndarray:
    """The matrix of one group itself, (output positions, output channels) x (pixels, input channels)."""
    m, n = [axis.outputs for axis in a.axes], [axis.inputs for axis in a.axes]
    matrix = np.zeros((math.prod(m), weight.shape[0], math.prod(n), weight.shape[1]))
    for t in a.tap_indices():
        live = [np.nonzero(axis.source[:, i] >= 0)[0] for axis, i in zip(a.axes, t)]
        if all(len(o) for o in live):
            x = _flat([axis.source[o, i] for axis, o, i in zip(a.axes, live, t)], n)
            matrix[_flat(live, m), :, x, :] += weight[(slice(None), slice(None), *t)]  # each pair once per tap: no duplicates
    return matrix.reshape(math.prod(m) * weight.shape[0], -1)


def _flat(places: list[np.ndarray], sizes: list[int]) -> np.ndarray:
    """Flat indices of the product set of per-axis index lists."""
    flat = np.zeros(1, dtype=np.int64)
    for place, size in zip(places, sizes):
        flat = (flat[:, None] * size + place[None, :]).ravel()
    return flat
