"""MidRad: matrices known up to an entrywise radius, dense or sparse, with sums and products that enclose.

Claim: a MidRad holds every matrix A with |A - mid| <= rad entrywise (rad None: A = mid exactly). Each operation returns a MidRad that holds the
result for every choice of its operands. Proof of the product, inner length n with at most t nonzero terms in any sum: the float product of the midpoints is
off by gamma_t |A||B| + t eta (a product with 0 is 0 and adding 0 is exact), the rest by |A| S + R (|B| + S); three nonnegative float products are below
the true ones by a factor 1 - gamma_n, and at most eight further roundings meet an entry: everything times 1 + 4 gamma_(n+8), plus 2^-1000
(methods/rounding.md, section 4). Sums of products in any order, with or without fma; sparse products are such sums too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .rounding import TINY, U, gamma, require_ieee, up

Matrix = Any  # np.ndarray (m, n), or scipy.sparse.csr_array of the same

_SPARSE_FROM = 1 << 22  # entries: smaller matrices are kept dense
_SPARSE_SHARE = 0.2
_SMALL = 2.0**-400  # sparse factors below this are made dense: only there an underflow term fits on entries that are structurally zero


@dataclass(frozen=True, eq=False)
class MidRad:
    """All matrices within `rad` of `mid`, entrywise; rad None means exactly mid.

    >>> a = MidRad(np.array([[1.0, 2.0]]))
    >>> (a @ a.T).mid.tolist(), bool((a @ a.T).rad[0, 0] < 1e-14)
    ([[5.0]], True)
    """

    mid: Matrix
    rad: Matrix | None = None

    def __post_init__(self):
        require_ieee()

    @property
    def shape(self) -> tuple[int, int]:
        return self.mid.shape

    @property
    def T(self) -> MidRad:
        return MidRad(turned(self.mid), None if self.rad is None else turned(self.rad))

    def dense(self) -> MidRad:
        return MidRad(full(self.mid), None if self.rad is None else full(self.rad))

    def radius(self) -> np.ndarray:
        """The radius as a dense array, zeros where exact."""
        return np.zeros(self.shape) if self.rad is None else full(self.rad)

    def __add__(self, other: MidRad) -> MidRad:
        return self._sum(other, 1.0)

    def __sub__(self, other: MidRad) -> MidRad:
        return self._sum(other, -1.0)

    def _sum(self, other: MidRad, sign: float) -> MidRad:
        a, b = self, other
        if is_sparse(a.mid) != is_sparse(b.mid):
            a, b = a.dense(), b.dense()
        mid = a.mid + sign * b.mid
        if not overlap(a.mid, b.mid):  # every sum has one term: exact
            return MidRad(mid, plus_up(a.rad, b.rad))
        return MidRad(mid, plus_up(plus_up(a.rad, b.rad), 2 * U * abs(mid)))

    def __matmul__(self, other: MidRad) -> MidRad:
        a, b = self, other
        if is_sparse(a.mid) and is_sparse(b.mid) and not all(m is None or _ordinary(m) for m in (a.mid, a.rad, b.mid, b.rad)):
            a, b = a.dense(), b.dense()
        mid = a.mid @ b.mid
        if a.rad is None and b.rad is None and (_copies(a.mid) or _copies(turned(b.mid))):
            return MidRad(mid)  # every entry is one product with 0, 1 or -1: exact
        terms = min(most_nonzeros(a.mid), most_nonzeros(turned(b.mid)))
        size_a, size_b = abs(a.mid), abs(b.mid)
        radius = (size_a @ size_b) * gamma(terms + 4)
        if b.rad is not None:
            radius = radius + size_a @ b.rad
        if a.rad is not None:
            radius = radius + a.rad @ (size_b if b.rad is None else size_b + b.rad)
        radius = grown(radius, 1.0 + 4 * gamma(a.shape[1] + 8))
        if isinstance(radius, np.ndarray):  # what meets zeros only is zero: no term for underflow there
            nothing = _meets_nothing(a, b)[:, None] | _meets_nothing(b.T, a.T)[None, :]
            if nothing.any():
                mid, radius = np.where(nothing, 0.0, full(mid)), np.where(nothing, 0.0, radius)
        return MidRad(mid, radius)

    def rows(self, factors: np.ndarray) -> MidRad:
        """diag(factors) A for exact float factors."""
        if is_sparse(self.mid):
            return self._sparse_rows(factors)
        mid, size = factors[:, None] * self.mid, np.abs(factors)[:, None]
        if self.rad is None and np.isin(size, (0.0, 1.0)).all():
            return MidRad(mid)
        radius = 2 * U * np.abs(mid) + (0.0 if self.rad is None else size * self.rad)
        return MidRad(mid, grown(radius, 1.0 + 8 * U))

    def _sparse_rows(self, factors: np.ndarray) -> MidRad:
        mid = self.mid._with_data(np.repeat(factors, np.diff(self.mid.indptr)) * self.mid.data)
        if self.rad is None and np.isin(np.abs(factors), (0.0, 1.0)).all():
            return MidRad(mid)
        radius = abs(mid)._with_data(grown(2 * U * np.abs(mid.data), 1.0 + 8 * U))
        if self.rad is not None:
            rad = self.rad.tocsr()
            radius = radius + rad._with_data(grown(np.repeat(np.abs(factors), np.diff(rad.indptr)) * rad.data, 1.0 + 8 * U))
        return MidRad(mid, radius)


def is_sparse(a: Matrix) -> bool:
    return not isinstance(a, np.ndarray)


def full(a: Matrix) -> np.ndarray:
    return a if isinstance(a, np.ndarray) else a.toarray()


def turned(a: Matrix) -> Matrix:
    return a.T if isinstance(a, np.ndarray) else a.T.tocsr()


def kept(a: Matrix) -> Matrix:
    """The matrix dense where it is small or full, sparse where that pays."""
    if isinstance(a, np.ndarray):
        return a
    entries = a.shape[0] * a.shape[1]
    return a.toarray() if entries <= _SPARSE_FROM or a.nnz > _SPARSE_SHARE * entries else a


def most_nonzeros(a: Matrix) -> int:
    """The largest number of nonzero entries in a row, at least 1."""
    counts = np.count_nonzero(a, axis=1) if isinstance(a, np.ndarray) else np.diff(a.indptr)
    return max(1, int(counts.max(initial=0)))


def overlap(a: Matrix, b: Matrix) -> bool:
    """Whether some entry is nonzero in both."""
    if isinstance(a, np.ndarray):
        return bool(((a != 0) & (b != 0)).any())
    return bool((abs(a) != 0).multiply(abs(b) != 0).nnz)


def plus_up(a: Matrix | None, b: Matrix | None) -> Matrix | None:
    """a + b of nonnegative matrices, rounded up; None is zero."""
    if a is None or b is None:
        return b if a is None else a
    return grown(a + b, 1.0 + 4 * U)


def grown(radius: Matrix, factor: float) -> Matrix:
    """radius * factor + 2^-1000, rounded up; a sparse one on its stored entries (its factors are ordinary: nothing else is reached)."""
    if isinstance(radius, np.ndarray):
        return up(radius * factor) + TINY
    return radius._with_data(up(radius.data * factor) + TINY)


def _meets_nothing(a: MidRad, b: MidRad) -> np.ndarray:
    """Rows of a whose every entry that may differ from 0 meets a row of b that is exactly 0. A NaN or an infinity is no zero."""
    occupied = ~_zero_rows(b.mid, b.rad)
    if occupied.all():
        return _zero_rows(a.mid, a.rad)
    return _zero_rows(full(a.mid)[:, occupied], None if a.rad is None else full(a.rad)[:, occupied])


def _zero_rows(mid: Matrix, rad: Matrix | None) -> np.ndarray:
    """Which rows are exactly 0, radius included; a comparison that NaN fails."""
    zero = (full(mid) == 0).all(axis=1)
    return zero if rad is None else zero & (full(rad) == 0).all(axis=1)


def _ordinary(a: Matrix) -> bool:
    size = np.abs(a.data)
    return bool((size >= _SMALL).all())


def _copies(a: Matrix) -> bool:
    """Whether every row has at most one nonzero entry, and that is 1 or -1."""
    values = a if isinstance(a, np.ndarray) else a.data
    return bool(np.isin(np.abs(values), (0.0, 1.0)).all()) and most_nonzeros(a) <= 1
