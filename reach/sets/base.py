"""Set: what every set of states can do, and the small bounds that the sets share."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from certify.core.errors import InputError
from certify.core.interval import Interval
from certify.core.regions import Box
from certify.core.rounding import U, mul_up, norms_up, product_radius, sum_up, up

from ..errors import ReachError

LARGEST = 2**22  # vectors in one batch of pieces or nodes


@runtime_checkable
class Set(Protocol):
    """A set S in R^n, given by finitely many floats; every verb returns a superset or an upper bound.

    Guarantee: `box` and `support` enclose S and `affine` the image of S in exact real arithmetic, the rounding of our own computation included.
    An overflow widens to infinite ends or raises ReachError; no result is NaN. `sample` is an estimate: each row lies within a rounding error of a member.
    """

    @property
    def dimension(self) -> int:
        """n, the number of coordinates."""
        ...

    def box(self) -> Box:
        """A box that contains S."""
        ...

    def support(self, direction: ArrayLike) -> float:
        """An upper bound of c . x over x in S, for a finite direction c (n,); inf where no better one is proved."""
        ...

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """(count, n) members, extreme ones among them, the same for the same seed."""
        ...

    def affine(self, matrix: ArrayLike, offset: ArrayLike | None = None) -> Set:
        """A superset of {W x + b : x in S}, for a finite matrix W (k, n) and b (k,)."""
        ...


def _floats(value: ArrayLike, name: str) -> np.ndarray:
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} is not an array of numbers", found=repr(value)[:80], expected="numbers") from None


def direction_of(dimension: int, direction: ArrayLike) -> np.ndarray:
    """The direction as n finite floats, else InputError."""
    c = _floats(direction, "a direction")
    if c.shape != (dimension,) or not np.isfinite(c).all():
        raise InputError("a direction does not fit the set", found=f"shape {c.shape}", expected=f"{dimension} finite numbers")
    return c


def matrix_of(dimension: int, matrix: ArrayLike, offset: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """W (k, n) and b (k,) as finite floats, else InputError."""
    w = _floats(matrix, "a matrix")
    if w.ndim != 2 or w.shape[1] != dimension or not np.isfinite(w).all():
        raise InputError("a matrix does not fit the set", found=f"shape {w.shape}", expected=f"(k, {dimension}), finite")
    b = np.zeros(len(w)) if offset is None else _floats(offset, "an offset")
    if b.shape != (len(w),) or not np.isfinite(b).all():
        raise InputError("an offset does not fit the matrix", found=f"shape {b.shape}", expected=f"({len(w)},), finite")
    return w, b


def finite(kind: str, *arrays: np.ndarray) -> None:
    """ReachError unless every entry is a finite number."""
    if not all(np.isfinite(a).all() for a in arrays):
        raise ReachError(f"a {kind} left the range of float64", found="an infinite or undefined entry", expected="finite numbers", hint="scale the states, or split the set")


def image(w: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(fl(W X), radius) with |fl(W X) - W X| <= radius entrywise (`core.rounding.product_radius`); infinite or NaN after an overflow."""
    with np.errstate(all="ignore"):
        return w @ columns, product_radius(np.abs(w), np.abs(columns))


def weighted_up(c: np.ndarray, radius: np.ndarray) -> float:
    """Upper end of sum |c_i| r_i for r >= 0; a coordinate with c_i = 0 does not count, whatever its radius."""
    return total_up(np.array([mul_up(abs(v), r) for v, r in zip(c.tolist(), radius.tolist()) if v != 0.0]))


def plus(*parts: np.ndarray) -> np.ndarray:
    """Upper ends of entrywise sums of nonnegative arrays; adding an exact zero does not round."""
    total = parts[0]
    with np.errstate(over="ignore"):
        for part in parts[1:]:
            total = np.where(total == 0.0, part, np.where(part == 0.0, total, up(total + part)))
    return total


def roundings(values: np.ndarray) -> np.ndarray:
    """(n,) upper ends of u sum_j |v_ij|: what one rounding to v_ij of each entry can change (|fl(x) - x| <= u |fl(x)|; a sum below 2^-1021 is exact)."""
    size = norms_up(values, "l1")
    return np.where(size == 0.0, 0.0, up(U * size))


def total_up(values: np.ndarray) -> float:
    """Upper end of a sum; inf where an entry is not finite (unbounded, or an overflow before: nothing better is known)."""
    return sum_up(np.asarray(values, np.float64)) if np.isfinite(values).all() else math.inf


def enclosing(lower: np.ndarray, upper: np.ndarray) -> Interval:
    """[lower, upper]; an end that is NaN, or infinite on the wrong side, opens the entry to (-inf, inf)."""
    good = (lower <= upper) & (lower < math.inf) & (upper > -math.inf)
    return Interval(np.where(good, lower, -math.inf), np.where(good, upper, math.inf))


def as_box(ends: Interval) -> Box:
    """The same numbers as a region."""
    return Box(ends.lower, ends.upper)
