"""Float arithmetic on constants that is exact or not done at all.

A claim about "the stored weights" must not change them, so the loader computes with constants only where float64 holds the exact
result: data movement always, sums and products where the rounding error, found by the error-free transformations of Dekker and
Knuth (Ogita, Rump, Oishi 2005, algorithms 2.1-2.3), is zero.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_LOW, _HIGH = 2.0**-450, 2.0**450  # the transformations neither overflow nor underflow inside: 2^(-900 - 106) is a normal number
_BLOCK = 1 << 18

# one block of two operands -> (float64 result, is every entry exact)
Block = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, bool]]


def _blocks(block: Block, a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """Apply to blocks of the broadcast operands, so that the scratch space of the transformations stays small."""
    a, b = np.broadcast_arrays(np.asarray(a), np.asarray(b))
    result = np.empty(a.shape)
    flat = result.reshape(-1)
    for i in range(0, a.size, _BLOCK):
        x, y = (np.asarray(v.flat[i : i + _BLOCK], dtype=np.float64) for v in (a, b))
        if not (_safe(x) and _safe(y)):
            return None
        flat[i : i + _BLOCK], good = block(x, y)
        if not good:
            return None
    return result


def exact_sum(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """a + b in float64 if every entry is exact, else None.

    >>> exact_sum(np.float32([0.5]), np.float32([0.25])), exact_sum(np.array([1e16]), np.array([1.0]))
    (array([0.75]), None)
    """
    return _blocks(_sum, a, b)


def exact_product(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """a * b in float64 if every entry is exact, else None. Always exact for two float32 operands.

    >>> exact_product(np.float32([0.1]), np.float32([0.3])) is not None, exact_product(np.array([0.1]), np.array([0.3])) is None
    (True, True)
    """
    return _blocks(_product, a, b)


def exact_quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """a / b in float64 if every entry is exact, else None.

    >>> exact_quotient(np.array([1.0]), np.array([4.0])), exact_quotient(np.array([1.0]), np.array([3.0]))
    (array([0.25]), None)
    """
    return _blocks(_quotient, a, b)


def _sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, bool]:
    s = a + b
    t = s - a
    return s, bool(np.all((a - (s - t)) + (b - t) == 0))


def _product(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, bool]:
    p = a * b
    ah, bh = _high(a), _high(b)
    al, bl = a - ah, b - bh
    return p, bool(np.all(al * bl - (((p - ah * bh) - al * bh) - ah * bl) == 0))


def _quotient(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, bool]:
    if not np.all(b != 0):
        return a, False
    q = a / b
    if not _safe(q):
        return q, False
    back, good = _product(q, b)
    return q, good and bool(np.all(back == a))


def _safe(a: np.ndarray) -> bool:
    size = np.abs(a)
    return bool(np.all((size == 0) | ((size > _LOW) & (size < _HIGH))))


def _high(a: np.ndarray) -> np.ndarray:
    """The upper 26 bits (Veltkamp's splitting)."""
    c = 134217729.0 * a
    return c - (c - a)
