"""The checker's own tables of monomials, and truncated products of many polynomials at once.

A polynomial in f variables is a column of M coefficients, one per monomial of total degree <= order, in graded order, the first variable's highest power
first: 1, x1, x2, x1^2, x1 x2, x2^2, ... Certificates store rows in this order. Space variables range over [-1, 1]; with `time` the last variable, tau,
ranges over [0, 1].
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from certify.core.errors import CertificateError
from certify.core.rounding import TINY, gamma

LARGEST = 20_000  # monomials
_PAIRS = 4_000_000  # products that are added up at a time
_CHUNK = 1 << 18


@dataclass(frozen=True, eq=False)
class Monomials:
    """Tables of one size.

    Attributes:
        size: M. exponents (M, f), degree (M,). end (order + 1,): number of monomials of degree <= d. positive (M,): the monomial ranges over [0, 1]
        (even in every space variable), any other over [-1, 1]; the constant is False.
        left, right, target (Q,): every pair of monomials whose product has degree <= order, sorted by the product. most: pairs per product, at most.
        grow: 1 + 4 gamma(M + 64): a sum of so many nonnegative numbers, computed in any order and followed by a few operations, times this is an upper bound.
    """

    variables: int
    order: int
    time: bool
    size: int
    exponents: np.ndarray
    degree: np.ndarray
    end: np.ndarray
    positive: np.ndarray
    keys: np.ndarray
    base: np.ndarray
    left: np.ndarray
    right: np.ndarray
    target: np.ndarray
    most: int
    grow: float

    def where(self, exponents: np.ndarray) -> np.ndarray:
        """Positions (-1 where the degree is too large) of the monomials with these exponents (count, f)."""
        good = exponents.sum(1) <= self.order
        sort = np.argsort(self.keys, kind="stable")
        found = sort[np.searchsorted(self.keys, np.where(good, exponents @ self.base, 0), sorter=sort)]
        return np.where(good, found, -1)


def _exponents(variables: int, degree: int) -> list[tuple[int, ...]]:
    if variables == 0:
        return [()] if degree == 0 else []
    if variables == 1:
        return [(degree,)]
    return [(first, *rest) for first in range(degree, -1, -1) for rest in _exponents(variables - 1, degree - first)]


@functools.lru_cache(maxsize=32)
def monomials(variables: int, order: int, time: bool = False) -> Monomials:
    """The tables of that size.

    Raises:
        CertificateError: more monomials or products than the checker takes on.
    """
    size, pairs = math.comb(variables + order, order), math.comb(2 * variables + order, order)
    if size > LARGEST or pairs > _PAIRS or (order + 1) ** variables >= 1 << 62:
        what = "the set cannot be checked, because its polynomials have too many monomials"
        raise CertificateError(what, found=f"{variables} variables, order {order}", expected=f"at most {LARGEST} monomials")
    rows = [e for d in range(order + 1) for e in _exponents(variables, d)]
    exponents = np.array(rows, np.int64).reshape(size, variables)
    degree = exponents.sum(1)
    end = np.searchsorted(degree, np.arange(order + 1), side="right")
    space = exponents[:, : variables - 1] if time else exponents
    positive = (space % 2 == 0).all(1) & (degree > 0)
    base = (order + 1) ** np.arange(variables, dtype=np.int64)
    keys = exponents @ base
    left = np.concatenate([np.full(end[order - d], i) for i, d in enumerate(degree.tolist())])
    right = np.concatenate([np.arange(end[order - d]) for d in degree.tolist()])
    sort = np.argsort(keys, kind="stable")
    target = sort[np.searchsorted(keys, keys[left] + keys[right], sorter=sort)]
    by = np.argsort(target, kind="stable")
    left, right, target = left[by].astype(np.int32), right[by].astype(np.int32), target[by].astype(np.int32)
    most = int(np.bincount(target, minlength=1).max())
    return Monomials(variables, order, time, size, exponents, degree, end, positive, keys, base, left, right, target, most, 1 + 4 * gamma(size + 64))


def product(t: Monomials, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(c, r): truncated products (M, B) of the columns of a and b, and (B,) bounds of |a b - c| on the domain: what was cut off, and rounding.

    Claim. A coefficient is a sum of at most `most` products, so it is within gamma(most) of the sum of their sizes (Higham 2002, Lemma 3.1) and most eta;
    each pair occurs once, so all together are within gamma(most) |a|_1 |b|_1. Cut off: pairs of degrees i + j > order, at most the sum of
    alpha_i beta_j with alpha_i the absolute sum over degree i. An overflow gives an infinite or NaN bound.
    """
    use = np.any(a, axis=1)[t.left] & np.any(b, axis=1)[t.right]
    left, right, target = (t.left, t.right, t.target) if use.all() else (t.left[use], t.right[use], t.target[use])
    count, width = len(left), a.shape[1]
    c = np.zeros((t.size, width))
    if count:
        add = sparse.csr_matrix((np.ones(count), np.arange(count), np.searchsorted(target, np.arange(t.size + 1))), shape=(t.size, count))
        step = max(1, _CHUNK // count)
        for i in range(0, width, step):
            part = slice(i, i + step)
            c[:, part] = add @ (a[left, part] * b[right, part])
    alpha, beta = by_degree(t, a), by_degree(t, b)
    na, nb = alpha.sum(0), beta.sum(0)
    dropped = np.zeros(width)
    tail = np.zeros(width)
    for i in range(1, t.order + 1):
        tail += beta[t.order + 1 - i]
        dropped += alpha[i] * tail
    return c, (dropped + gamma(t.most) * (na * nb)) * t.grow + TINY


def by_degree(t: Monomials, a: np.ndarray) -> np.ndarray:
    """(order + 1, B): absolute sums over each degree, rounded to nearest."""
    if t.variables == 0:
        return np.concatenate([np.abs(a), np.zeros((t.order, a.shape[1]))])
    return np.add.reduceat(np.abs(a), np.concatenate([[0], t.end[:-1]]), axis=0)


def ranges(t: Monomials, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(lower, upper), each (B,): enclosures of the polynomials' ranges, monomial by monomial."""
    size = np.abs(a)
    free = ~t.positive
    free[0] = False
    swing = size[free].sum(0)
    lower = a[0] + np.minimum(a[t.positive], 0.0).sum(0) - swing
    upper = a[0] + np.maximum(a[t.positive], 0.0).sum(0) + swing
    slack = (gamma(t.size + 4) * size.sum(0)) * t.grow
    return np.nextafter(lower - slack, -math.inf), np.nextafter(upper + slack, math.inf)


def norm(t: Monomials, a: np.ndarray) -> np.ndarray:
    """(B,) upper ends of the absolute sums: a bound of the polynomial on the domain."""
    return np.abs(a).sum(0) * t.grow


def largest(t: Monomials, a: np.ndarray) -> np.ndarray:
    """(B,) upper ends of |a| on the domain: the smaller of the absolute sum and the range's larger end."""
    lower, upper = ranges(t, a)
    return np.minimum(norm(t, a), np.maximum(np.abs(lower), np.abs(upper)))


@functools.lru_cache(maxsize=64)
def embedding(variables: int, order: int, larger: int, time: bool) -> np.ndarray:
    """Positions of the monomials of (variables, order, time) among those of order `larger`."""
    return monomials(variables, larger, time).where(monomials(variables, order, time).exponents)


@functools.lru_cache(maxsize=64)
def lifting(variables: int, order: int, larger: int) -> np.ndarray:
    """Positions of the monomials in s of (variables, order) among those in (s, tau) of order `larger`."""
    e = monomials(variables, order).exponents
    return monomials(variables + 1, larger, True).where(np.hstack([e, np.zeros((len(e), 1), np.int64)]))


def widen(rows: np.ndarray, positions: np.ndarray, size: int) -> np.ndarray:
    """Columns (size, B) from rows (B, M) of coefficients at the given positions."""
    out = np.zeros((size, len(rows)))
    out[positions] = rows.T
    return out
