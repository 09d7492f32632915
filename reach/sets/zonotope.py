"""Zonotope: {c + G eps}, closed under linear maps and sums; Girard's order reduction with rounded row sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from certify.core.errors import InputError
from certify.core.interval import Interval
from certify.core.regions import Box
from certify.core.rounding import U, down, norms_up, up

from .base import as_box, direction_of, enclosing, finite, image, matrix_of, total_up


@dataclass(frozen=True, eq=False)
class Zonotope:
    """The set {c + G eps : eps in [-1, 1]^m}.

    Args:
        center: (n,) c. generators: (n, m) G, m >= 0.

    Guarantee: as `Set`; each verb adds the rounding of its own products, as fresh axis-parallel generators where a set is returned.
    Raises: InputError for shapes that do not fit, ReachError for an entry that is not finite. Hypotheses: none. Cost: one pass over G each.
    Source: Kuehn, Computing 61 (1998); Girard, HSCC 2005 (order reduction).

    >>> z = Zonotope([0.0, 0.0], [[1.0, 1.0], [1.0, -1.0]])
    >>> z.support([1.0, 0.0]) >= 2.0, z.affine([[1.0, 1.0]]).box().upper[0] < 2.0000001
    (True, np.True_)
    """

    center: np.ndarray
    generators: np.ndarray

    def __post_init__(self):
        c, g = np.array(self.center, np.float64), np.array(self.generators, np.float64)
        if c.ndim != 1 or g.ndim != 2 or len(g) != len(c):
            raise InputError("a zonotope's arrays do not fit", where="Zonotope", found=f"center {c.shape}, generators {g.shape}", expected="(n,) and (n, m)")
        finite("zonotope", c, g)
        c.setflags(write=False)
        g.setflags(write=False)
        object.__setattr__(self, "center", c)
        object.__setattr__(self, "generators", g)

    @classmethod
    def from_box(cls, box: Box) -> Zonotope:
        """A zonotope around the box: one generator per coordinate of positive width; a point stays exactly this point. ReachError for an infinite end."""
        finite("box", box.lower, box.upper)
        middle = np.asarray(Interval(box.lower, box.upper).midpoint)
        with np.errstate(over="ignore"):
            radius = np.where(box.lower == box.upper, 0.0, up(np.maximum(box.upper - middle, middle - box.lower)))
        return cls(middle, _columns(radius))

    @property
    def dimension(self) -> int:
        return len(self.center)

    @property
    def columns(self) -> int:
        """m, the number of generators."""
        return self.generators.shape[1]

    def spread(self) -> np.ndarray:
        """(n,) upper ends of the row sums |G| 1: the half-widths of the hull."""
        return norms_up(self.generators, "l1")

    def box(self) -> Box:
        r = self.spread()
        with np.errstate(over="ignore"):
            lower, upper = np.where(r == 0.0, self.center, down(self.center - r)), np.where(r == 0.0, self.center, up(self.center + r))
        return as_box(enclosing(lower, upper))

    def hull(self) -> Zonotope:
        """The interval hull, as a zonotope with axis-parallel generators."""
        return Zonotope.from_box(self.box())

    def support(self, direction: ArrayLike) -> float:
        """Upper end of c . center + sum_j |c . g_j|; the rounding of each inner product is added, the sum is rounded once."""
        c = direction_of(self.dimension, direction)
        value, radius = image(c[None], np.column_stack([self.center, self.generators]))
        return total_up(np.concatenate([value[0, :1], np.abs(value[0, 1:]), radius[0]]))

    def affine(self, matrix: ArrayLike, offset: ArrayLike | None = None) -> Zonotope:
        """A superset of {W x + b}: the rounding of W G and W c + b becomes one generator per row. ReachError on overflow."""
        w, b = matrix_of(self.dimension, matrix, offset)
        value, radius = image(w, np.column_stack([self.center, self.generators]))
        with np.errstate(all="ignore"):
            center = value[:, 0] + b
        finite("zonotope", center, value, radius)
        error = up(norms_up(radius, "l1") + up(U * np.abs(center)))  # |fl(x + b) - (x + b)| <= u |fl(x + b)|
        return Zonotope(center, np.column_stack([value[:, 1:], _columns(error)]))

    def minkowski_sum(self, other: Zonotope) -> Zonotope:
        """A superset of {x + y : x in self, y in other}, x and y independent."""
        if other.dimension != self.dimension:
            raise InputError("two sets of different dimension have no sum", found=f"{self.dimension} and {other.dimension}")
        with np.errstate(all="ignore"):
            center = self.center + other.center
        error = np.where((self.center == 0.0) | (other.center == 0.0), 0.0, up(U * np.abs(center)))
        return Zonotope(center, np.column_stack([self.generators, other.generators, _columns(error)]))

    def reduce(self, columns: int) -> tuple[Zonotope, np.ndarray]:
        """(superset with at most `columns` generators, which columns were boxed); unchanged when there are few enough. See `girard`."""
        generators, boxed = girard(self.generators, columns)
        return (self, boxed) if not len(boxed) else (Zonotope(self.center, generators), boxed)

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """(count, n) members up to the rounding of evaluating them: half of them with every eps at an end."""
        rng = np.random.default_rng(seed)
        eps = rng.uniform(-1, 1, (count, self.columns))
        corner = rng.random(count) < 0.5
        eps[corner] = np.sign(eps[corner])
        return self.center + eps @ self.generators.T


def girard(generators: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """(reduced, boxed): the columns `boxed` are replaced by their box, so that at most `columns` remain.

    Claim: {G eps} is a subset of {reduced eps'}, because sum over boxed j of g_j eps_j lies in the box of its row sums. The columns with the smallest
    |g|_1 - |g|_inf after scaling the rows are boxed: axis-parallel ones cost nothing. Kept columns stay first, in their order.

    Args:
        generators: (n, m). columns: at least n.
    Returns:
        reduced: (n, k), k <= columns. boxed: increasing column numbers, empty when m <= columns; the box's radii are the last columns of `reduced`.
    Raises:
        InputError: columns < n.
    Source: Girard, HSCC 2005, section 3.4.

    >>> girard(np.array([[1.0, 0.0, 0.5, 2.0], [0.0, 3.0, 0.5, 2.0]]), 3)[1].tolist()
    [0, 1, 2]
    """
    n, m = generators.shape
    if columns < n:
        raise InputError("a reduced set needs a generator per coordinate", where="reduce", found=columns, expected=f"at least {n}")
    if m <= columns:
        return generators, np.zeros(0, np.int64)
    size = np.abs(generators)
    with np.errstate(all="ignore"):  # a score only ranks: any choice is sound
        scale = size.max(axis=1)
        scaled = size / np.where(scale > 0, scale, 1.0)[:, None] if n else size
        score = scaled.sum(axis=0) - scaled.max(axis=0, initial=0.0)
    order = np.argsort(score, kind="stable")
    boxed = np.sort(order[: m - (columns - n)])
    kept = np.setdiff1d(np.arange(m), boxed)
    return np.column_stack([generators[:, kept], _columns(norms_up(generators[:, boxed], "l1"))]), boxed


def _columns(radius: np.ndarray) -> np.ndarray:
    """Axis-parallel generators of a box around zero: one per positive radius."""
    some = np.flatnonzero(radius != 0.0)  # NaN and inf stay and are refused by the constructor
    made = np.zeros((len(radius), len(some)))
    made[some, np.arange(len(some))] = radius[some]
    return made
