"""Boxes as sets: `BoxSet` lets certify's one public Box act in the contract, and boxes are cut so that the parts share their faces bit by bit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from certify.core.errors import InputError
from certify.core.interval import Interval
from certify.core.regions import Box
from certify.core.rounding import add_down, add_up, mul_up

from .base import Set, direction_of, matrix_of, total_up
from .zonotope import Zonotope


@dataclass(frozen=True, eq=False)
class BoxSet:
    """The set {x : lower <= x <= upper} of a region; infinite ends are legal.

    Guarantee: `box` is exact, `support` rounds each product and the sum upward once, samples are members exactly.
    `affine` gives a Zonotope (exact but for rounding), or the box hull where an end is infinite.

    >>> s = BoxSet(Box([0.0, -1.0], [1.0, 2.0]))
    >>> s.support([1.0, -2.0]), s.dimension
    (3.0, 2)
    """

    region: Box

    def __post_init__(self):
        if self.region.lower.ndim != 1:
            raise InputError("a set of states is a box of vectors", where="BoxSet", found=f"shape {self.region.lower.shape}", expected="(n,)")
        if not ((self.region.lower < math.inf).all() and (self.region.upper > -math.inf).all()):
            raise InputError("a box is empty: it begins or ends at the wrong infinity", where="BoxSet", expected="lower < inf and upper > -inf")

    @property
    def dimension(self) -> int:
        return len(self.region.lower)

    def box(self) -> Box:
        return self.region

    def support(self, direction: ArrayLike) -> float:
        c = direction_of(self.dimension, direction)
        end = np.where(c > 0, self.region.upper, self.region.lower)
        return total_up(np.array([mul_up(v, x) for v, x in zip(c.tolist(), end.tolist()) if v != 0.0]))

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """(count, n) members, exactly: half of them inside, half with every coordinate at an end. An infinite end is replaced by a finite one."""
        rng = np.random.default_rng(seed)
        lower = np.where(np.isinf(self.region.lower), np.minimum(self.region.upper, 0.0) - 1.0, self.region.lower)
        upper = np.where(np.isinf(self.region.upper), np.maximum(lower, 0.0) + 1.0, self.region.upper)
        t = rng.random((count, self.dimension))
        corner = rng.random(count) < 0.5
        t[corner] = np.round(t[corner])
        return np.clip((1.0 - t) * lower + t * upper, lower, upper)

    def affine(self, matrix: ArrayLike, offset: ArrayLike | None = None) -> Set:
        w, b = matrix_of(self.dimension, matrix, offset)
        if np.isfinite(self.region.lower).all() and np.isfinite(self.region.upper).all():
            return Zonotope.from_box(self.region).affine(w, b)
        lower = [add_down(-self.support(-row), t) for row, t in zip(w, b.tolist())]  # a coordinate that a row does not use does not count
        upper = [add_up(self.support(row), t) for row, t in zip(w, b.tolist())]
        return BoxSet(Box(np.array(lower), np.array(upper)))


def hull(boxes: Sequence[Box]) -> Box:
    """The smallest box that contains all of them, exactly."""
    if not boxes:
        raise InputError("the hull of no boxes is empty", expected="at least one box")
    return Box(np.min([b.lower for b in boxes], axis=0), np.max([b.upper for b in boxes], axis=0))


def inside(inner: Box, outer: Box) -> bool:
    """Whether inner is a subset of outer; written so that a wrong shape or NaN fails."""
    return bool(inner.lower.shape == outer.lower.shape and (outer.lower <= inner.lower).all() and (inner.upper <= outer.upper).all())


def split(box: Box, dimension: int, cut: float | None = None) -> tuple[Box, Box]:
    """The two parts of the box below and above `cut` (default: near the middle); both hold the bit-identical float as their face.

    Claim: the union of the parts is the box, exactly, and they share the face x_i = cut only.

    Raises:
        InputError: the cut is not strictly inside, the width is zero, or no float lies between the ends.

    >>> a, b = split(Box([0.0], [1.0]), 0)
    >>> a.upper[0] == b.lower[0] == 0.5
    np.True_
    """
    if not 0 <= dimension < box.lower.size or box.lower.ndim != 1:
        raise InputError("a box has no such dimension", where="split", found=dimension, expected=f"0 .. {box.lower.size - 1}")
    lower, upper = float(box.lower[dimension]), float(box.upper[dimension])
    middle = _middle(lower, upper) if cut is None else float(cut)
    if not lower < middle < upper:
        raise InputError("a box is cut strictly inside", where=f"dimension {dimension}", found=f"{middle!r} in [{lower!r}, {upper!r}]", expected="lower < cut < upper")
    below, above = np.array(box.upper), np.array(box.lower)
    below[dimension] = above[dimension] = middle
    return Box(box.lower, below), Box(above, box.upper)


def _middle(lower: float, upper: float) -> float:
    """A float near the middle, strictly inside where there is one."""
    if not lower < upper:
        return lower
    middle = float(Interval(np.array(lower), np.array(upper)).midpoint)
    return middle if lower < middle < upper else math.nextafter(lower, math.inf)


def grid(box: Box, parts: Sequence[int]) -> list[Box]:
    """The box cut into parts[i] pieces along dimension i, faces shared bit by bit; the last dimension runs fastest. Their union is the box exactly.

    Raises:
        InputError: an unbounded box, a wrong number of parts, or more parts than floats between the ends.

    >>> [b.lower.tolist() for b in grid(Box([0.0, 0.0], [1.0, 0.0]), [2, 1])]
    [[0.0, 0.0], [0.5, 0.0]]
    """
    counts = [int(p) for p in parts]
    if len(counts) != box.lower.size or min(counts, default=1) < 1 or not (np.isfinite(box.lower).all() and np.isfinite(box.upper).all()):
        raise InputError("this box cannot be cut so", where="grid", found=f"parts {counts}", expected=f"{box.lower.size} counts >= 1 and a bounded box")
    edges = [_edges(l, u, p) for l, u, p in zip(box.lower.tolist(), box.upper.tolist(), counts)]
    cells = np.indices(counts).reshape(len(counts), math.prod(counts))
    low, high = (np.array([e[i + k] for e, i in zip(edges, cells)]).reshape(cells.shape).T for k in (0, 1))
    return [Box(a, b) for a, b in zip(low, high)]


def _edges(lower: float, upper: float, parts: int) -> np.ndarray:
    """parts + 1 increasing floats from lower to upper."""
    t = np.arange(parts + 1) / parts
    edges = (1.0 - t) * lower + t * upper
    edges[0], edges[-1] = lower, upper
    if parts > 1 and not (np.diff(edges) > 0).all():
        raise InputError("a box has too few floats between its ends for so many parts", where="grid", found=f"[{lower!r}, {upper!r}] in {parts}")
    return edges
