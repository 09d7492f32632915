"""Positive definiteness of a block-banded matrix by one float Cholesky factorisation that never leaves the band: `definite_banded`.

H Hermitian with square blocks H[j, i] of size q, zero for |j - i| > width. The factor of a banded matrix has the same band, so a matrix of any length
needs the memory of a few block columns. Blocks narrower than `step` are merged: LAPACK likes them wide.

**The criterion** is that of `cholesky`: scale to a diagonal in [1/4, 1) by powers of two (off-diagonal entries move by at most eta/2 each, below
n 2^-1000 in norm), subtract c >= g / (1 - g) tr + n 2^-1000 from the diagonal, rounded down, and factorise once. If that finishes with finite
entries and a positive diagonal, H is positive definite. A complex H is factorised through the real twins [[X, -Y], [Y, X]] of its blocks: up to
a permutation they are the twin of H (size 2n, the eigenvalues of H twice).

**Proof.** R upper triangular, computed by block columns of H (block rows of R): dpotrf of the diagonal block, dtrsm (substitution) for the
rest of the row, and one product per later block column that the row reaches, which is subtracted there. So every r_ij (i < j) is b_ij minus products
r_ki r_kj, k < i, summed in some order (inside LAPACK, inside a product, or as a sum of products subtracted at once), then divided by r_ii or multiplied
by fl(1 / r_ii); r_jj is the square root. Higham's Lemma 8.4 holds for any such order and counts the products that are formed. Those of a k whose
block row does not reach column j are not formed: r_kj = 0 exactly. A block row that begins at s and ends before e reaches the columns below
e + band (band = width blocks, e - s <= step), so a product is formed only for s <= k < i with s > j - band - step: fewer than K = min(n, band +
step), for every i <= j. Hence with g = gamma_(K+1), exactly as in `cholesky` where K = n (entries outside the band are zero on both sides),
    R'R = B + D,  |D_ij| <= g / (1 - g) sqrt((b_ii + t)(b_jj + t)) + t,  t <= (n + 1) eta,  |D|_2 <= g / (1 - g) tr S + 2^-1000  for n <= 2^36,
and S >= c I + B >= (c - |D|_2) I > 0. The trace is that of the whole matrix. []

Sources: Higham, Accuracy and Stability of Numerical Algorithms (2002), Lemma 8.4; Rump, Verification of positive definiteness, BIT 46 (2006), 433-452
(who also counts only the entries of a sparse factor). The hypothesis `cholesky.substitution` is checked: with another library behind SciPy small
matrices are assembled for the residual mode, and nothing is proved of larger ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import blas, lapack

from .cholesky import criterion_shift, definite, exponents, substitution
from .errors import InputError
from .rounding import TINY, down, exact_float64, require_ieee, sum_up

STEP = 96
_LARGEST_ASSEMBLED = 1024


def definite_banded(column: Callable[[int], np.ndarray], diagonal: np.ndarray, width: int, sign: float = 1.0, step: int = STEP) -> bool:
    """True only if M is positive definite: M = sign H off the diagonal, and on it at least `diagonal`.

    Args:
        column: column(i), 0 <= i < count, asked once each and in order: the blocks H[i, i], H[i + 1, i], .. H[i + width, i], those beyond the matrix left out,
            below each other: (rows, q), float64 or complex128 (all of one kind). Of H[i, i] only the part below the diagonal counts: the rest mirrors it.
        diagonal: (count, q) lower ends of the real diagonal of M.
        width: block columns beyond i that column i reaches, >= 0.
        sign: 1.0 or -1.0.
        step: least number of real columns that are factorised at once; any value is sound.

    Returns:
        True: proved. False: not proved (also for entries that are not finite); no statement.

    Raises:
        InputError: a column of the wrong shape or kind. SoundnessError: the arithmetic is not IEEE 754.

    Cost: n (band + step)^2 flops and about (band + step)^2 floats of memory, band = width q (twice that if complex).

    >>> second_difference = lambda i: np.array([[2.0], [-1.0]])[: 5 - i]
    >>> definite_banded(second_difference, np.full((5, 1), 2.0), 1), definite_banded(second_difference, np.full((5, 1), 1.7), 1)
    (True, False)
    """
    require_ieee()
    diagonal = exact_float64(diagonal, "a diagonal")
    if diagonal.ndim != 2 or width < 0 or step < 1:
        raise InputError("a banded matrix needs a diagonal (count, q), width >= 0 and step >= 1", found=f"{diagonal.shape}, {width}, {step}")
    if diagonal.size == 0:
        return True
    if not (np.isfinite(diagonal).all() and (diagonal > 0).all()):
        return False
    first = column(0)
    source = _Source(lambda i: first if i == 0 else column(i), diagonal, min(width, len(diagonal) - 1), sign, np.iscomplexobj(first))
    if not substitution():
        return source.size <= _LARGEST_ASSEMBLED and _assembled(source)
    step = min(source.size, source.block * -(-step // source.block))
    scaled = np.ldexp(diagonal, 2 * source.exponents)  # in [1/4, 1): exact
    trace = sum_up(scaled) * (source.block // diagonal.shape[1])  # times 1 or 2
    shifted = down(scaled - criterion_shift(min(source.size, source.band + step), trace, source.size * TINY))
    return bool((shifted > 0).all()) and _finishes(source, np.repeat(shifted[:, None], source.copies, axis=1).ravel(), step)


class _Source:
    """The columns of M, checked, scaled and as real twins."""

    def __init__(self, column: Callable[[int], np.ndarray], diagonal: np.ndarray, width: int, sign: float, twin: bool):
        self.column, self.diagonal, self.width, self.sign, self.copies = column, diagonal, width, sign, 2 if twin else 1
        self.count, self.q = diagonal.shape
        self.block = self.copies * self.q
        self.size, self.band = self.count * self.block, width * self.block
        self.exponents = exponents(diagonal)

    def blocks(self, i: int) -> np.ndarray:
        """(1 + blocks below, q, q) as given."""
        blocks = self.column(i)
        rows = (min(self.width, self.count - 1 - i) + 1) * self.q
        if blocks.shape != (rows, self.q) or blocks.dtype != (np.complex128 if self.copies == 2 else np.float64):
            raise InputError("a block column has the wrong shape or kind", found=f"{blocks.dtype} {blocks.shape}", expected=(rows, self.q))
        return blocks.reshape(-1, self.q, self.q)

    def scaled(self, i: int) -> np.ndarray:
        """Block column i of the scaled real matrix, (rows, block); above its diagonal the diagonal block holds anything."""
        blocks, e = self.blocks(i), self.exponents
        shift = e[i : i + len(blocks), :, None] + e[i]
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            x = self.sign * np.ldexp(blocks.real, shift)
            if self.copies == 1:
                return x.reshape(-1, self.q)
            y = self.sign * np.ldexp(blocks.imag, shift)
        y[0] = np.tril(y[0], -1) - np.tril(y[0], -1).T
        return np.concatenate([np.concatenate([x, -y], axis=2), np.concatenate([y, x], axis=2)], axis=1).reshape(-1, self.block)


def _finishes(source: _Source, diagonal: np.ndarray, step: int) -> bool:
    """The factorisation in merged block columns: finished, finite, positive diagonal."""
    n, pending = source.size, {}  # start -> (stop, rows from start to the end of the band)
    for start in range(0, n, step):
        reach = min(min(start + step, n) + source.band, n)
        for s in range(start, reach, step):
            if s not in pending:
                pending[s] = _merged(source, diagonal, s, min(s + step, n))
        stop, tall = pending.pop(start)
        high = stop - start
        r, info = lapack.dpotrf(tall[:high].T, lower=0, clean=0, overwrite_a=1)  # rows in C order are the Fortran order of the transpose: no copy
        if info != 0 or not (np.diagonal(r) > 0).all() or not np.isfinite(r).all():
            return False
        if stop == n:
            return True
        row = blas.dtrsm(1.0, r, tall[high:].T, side=0, lower=0, trans_a=1, overwrite_b=1).T  # of R, transposed: (reach - stop, high)
        if not np.isfinite(row).all():
            return False
        for s, (end, later) in pending.items():
            if s < reach:
                wide = min(end, reach) - s
                top, below = row[s - stop : s - stop + wide], row[s - stop + wide :]
                later[:wide, :wide] -= top @ top.T  # NumPy computes one triangle of it
                later[wide : reach - s, :wide] -= below @ top.T
    return False


def _merged(source: _Source, diagonal: np.ndarray, start: int, stop: int) -> tuple[int, np.ndarray]:
    tall = np.zeros((min(stop + source.band, source.size) - start, stop - start))
    for i in range(start // source.block, stop // source.block):
        at, blocks = i * source.block - start, source.scaled(i)
        tall[at : at + len(blocks), at : at + source.block] = blocks
    here = np.arange(stop - start)
    tall[here, here] = diagonal[start:stop]
    return stop, tall


def _assembled(source: _Source) -> bool:
    """The whole matrix by `cholesky.definite`, which then trusts only products and sums."""
    n = source.count * source.q
    full = np.zeros((n, n), dtype=np.complex128 if source.copies == 2 else np.float64)
    for i in range(source.count):
        blocks = source.blocks(i).reshape(-1, source.q)
        full[i * source.q : i * source.q + len(blocks), i * source.q : (i + 1) * source.q] = blocks
    lower = np.tril(full, -1)
    return bool(np.isfinite(lower).all()) and definite(lower + lower.conj().T, source.diagonal.ravel(), source.sign, 0)
