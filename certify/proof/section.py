"""||B|| <= u for one exact section (methods/layer_norms.md 4.7): a finite block Toeplitz matrix with complex taps, by a banded Cholesky of u^2 I - B B*.

B has m block rows and n block columns; block (o, x) is K[t] where s o + t - p = x, 0 <= t < k (p may be negative). Its smaller side is taken: the blocks of
B B* (outputs that share a pixel, at most (k - 1) // s apart) or of B' conj(B) (pixels that share an output, at most k - 1 apart), products of taps.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from ..core.banded import STEP, definite_banded
from ..core.rounding import down, gamma, mul_up
from .grid import gram_error
from .undilated import Reduced

MOST_BYTES = 1 << 30


def error(taps: np.ndarray, stride: int, dims: int) -> float:
    """Upper end of the error of `Section`'s Gram matrix, taps R (outer shifts, k, a, b).

    K[t] = sum_j R[j, t] exp(i <w, j>) is computed within the bounds of `grid.gram_error`, entry by entry in terms of P[t] = sum_j |R[j, t]|, so B by those in terms
    of the section M of P, of spectral norm squared at most linf * l1: a block row of M holds each P[t] at most once, a block column those of one
    residue t mod s. An entry of the Gram matrix is a sum of at most k inner products of length 2a or 2b: no product meets more than 2 max(a, b) + k + 1 roundings.
    """
    size = np.abs(taps).sum(axis=0)
    rows = float(size.sum(axis=(0, 2)).max())
    columns = max(float(size[r::stride].sum(axis=(0, 1)).max()) for r in range(min(stride, len(size))))
    count, k, a, b = taps.shape
    spread = mul_up(mul_up(rows, columns), 1.0 + 8.0 * gamma(count + k * (a + b)))
    return gram_error(spread, count, dims, 2 * max(a, b) + k + 1)


def _by_rows(sizes: tuple[int, int, int], a: int, b: int) -> bool:
    n, _, m = sizes
    return m * a <= n * b


def cost(sizes: tuple[int, int, int], inner: Reduced, a: int, b: int) -> tuple[float, float]:
    """(flops, bytes) of one section, counted as complex."""
    rows = _by_rows(sizes, a, b)
    count, q, other = (sizes[2], a, b) if rows else (sizes[0], b, a)
    reach = (inner.taps - 1) // inner.stride if rows else inner.taps - 1
    meetings = inner.taps if rows else inner.shifts
    width = min(reach, count - 1)
    tall = width * 2 * q + max(STEP, 2 * q)
    kept = (width + 1) * (1 if rows else inner.stride)
    flops = count * (2.0 * q * tall * tall + (width + 1) * 8.0 * q * q * other * meetings + 1e6 * (width + 1) + 1e5 * inner.taps)
    return flops, 8.0 * (tall * tall * 1.5 + 2.0 * kept * q * q + 10.0 * (width + 1) * q * q + 6.0 * q * (other + q) * meetings)


class Section:
    """The section of taps x + i y, (k, a, b), y None for real ones; n inputs, low padding p, m outputs, stride s."""

    def __init__(self, x: np.ndarray, y: np.ndarray | None, n: int, p: int, m: int, s: int):
        self.n, self.p, self.m, self.s, self.k = n, p, m, s, len(x)
        self.rows = _by_rows((n, p, m), x.shape[1], x.shape[2])
        self.count = m if self.rows else n
        self.reach = (self.k - 1) // s if self.rows else self.k - 1
        self.x, self.y = (x, y) if self.rows else (x.transpose(0, 2, 1), None if y is None else y.transpose(0, 2, 1))  # B' conj(B) has the same eigenvalues as B* B
        self.kept: OrderedDict[tuple[tuple[int, int], ...], np.ndarray] = OrderedDict()
        self.most = (min(self.reach, self.count - 1) + 1) * (1 if self.rows else s)

    def below(self, level: float) -> bool:
        """lambda_max of the Gram matrix as computed <= level."""
        squares = np.square(self.x).sum(axis=2) + (0.0 if self.y is None else np.square(self.y).sum(axis=2))
        diagonal = np.stack([squares[list(self.partners(i).values())].sum(axis=0) for i in range(self.count)])
        return definite_banded(self.column, down(level - diagonal), self.reach, -1.0)

    def partners(self, i: int) -> dict[int, int]:
        """Tap by partner: the pixels of output i, or the outputs of pixel i."""
        if self.rows:
            first = self.s * i - self.p
            return {first + t: t for t in range(max(0, -first), min(self.k, self.n - first))}
        place = i + self.p
        lowest, highest = max(0, -((self.k - 1 - place) // self.s)), min(self.m - 1, place // self.s)
        return {o: place - self.s * o for o in range(lowest, highest + 1)}

    def column(self, i: int) -> np.ndarray:
        """The blocks (i, i), (i + 1, i), .. of the Gram matrix, (rows, q)."""
        here = self.partners(i)
        blocks = []
        for j in range(i, min(i + self.reach, self.count - 1) + 1):
            there = self.partners(j)
            blocks.append(self.block(tuple((there[y], here[y]) for y in sorted(here.keys() & there.keys()))))
        return np.concatenate(blocks)

    def block(self, pairs: tuple[tuple[int, int], ...]) -> np.ndarray:
        """sum over (t, u) of K[t] K[u]*; the same pairs come back from column to column."""
        if pairs in self.kept:
            self.kept.move_to_end(pairs)
            return self.kept[pairs]
        q = self.x.shape[1]
        left, right = [t for t, _ in pairs], [u for _, u in pairs]
        if self.y is None:
            found = (self.x[left] @ self.x[right].transpose(0, 2, 1)).sum(axis=0) if pairs else np.zeros((q, q))
        else:
            found = np.zeros((q, q), dtype=np.complex128)
            if pairs:
                z, x, y = np.concatenate([self.x[left], self.y[left]], axis=2), self.x[right], self.y[right]
                found.real = (z @ np.concatenate([x, y], axis=2).transpose(0, 2, 1)).sum(axis=0)
                found.imag = (z @ np.concatenate([-y, x], axis=2).transpose(0, 2, 1)).sum(axis=0)
        self.kept[pairs] = found
        if len(self.kept) > self.most:
            self.kept.popitem(last=False)
        return found

