"""PolynomialZonotope: {p(s) + E eps}, the set that reachability carries. s are the free initial coordinates, eps collects every remainder."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from certify.core.errors import InputError
from certify.core.regions import Box

from .base import as_box, direction_of, enclosing, matrix_of
from .cuts import cut_rows
from .kernels import TINY, U, poly_ranges
from .ring import Ring, ring


@dataclass(frozen=True, eq=False)
class PolynomialZonotope:
    """The set {p(s) + E eps : s in [-1, 1]^f, eps in [-1, 1]^m}; in a ring with time the last variable, tau, is in [0, 1].

    Args:
        ring: the polynomials' ring, f variables.
        coefficients: (n, M), one polynomial per coordinate.
        generators: (n, m), m >= 0; column j belongs to the symbol eps_j, shared by all coordinates.

    Guarantee: `box` and `support` enclose the set, rounding included. Sampled members are exact up to the rounding of their evaluation.
    Hypotheses: none. Source: Kochdumper & Althoff 2021 (polynomial zonotopes); the split into p and E follows methods of POLAR (Huang et al. 2022).

    >>> r = ring(1, 2)
    >>> z = PolynomialZonotope(r, np.array([[0.0, 0.0, 1.0]]), np.array([[0.5]]))       # s^2 +- 0.5
    >>> bool(z.box().lower[0] <= -0.5 and z.box().upper[0] >= 1.5), bool(z.support([-1.0]) >= 0.5)
    (True, True)
    """

    ring: Ring
    coefficients: np.ndarray
    generators: np.ndarray

    def __post_init__(self):
        c, e = np.asarray(self.coefficients, np.float64), np.asarray(self.generators, np.float64)
        if c.ndim != 2 or c.shape[1] != self.ring.size or e.ndim != 2 or len(e) != len(c):
            raise InputError("a polynomial zonotope's arrays do not fit", found=f"coefficients {c.shape}, generators {e.shape}", expected=f"(n, {self.ring.size}) and (n, m)")
        object.__setattr__(self, "coefficients", c)
        object.__setattr__(self, "generators", e)

    @classmethod
    def from_box(cls, lower, upper, order: int, free: np.ndarray | None = None) -> PolynomialZonotope:
        """The box [lower, upper] with one variable s_i per coordinate of positive width (or those named in `free`); other widths become generators.

        Raises InputError for an unbounded or inverted box.
        """
        lower, upper = np.asarray(lower, np.float64), np.asarray(upper, np.float64)
        if not (np.isfinite(lower).all() and np.isfinite(upper).all() and (lower <= upper).all()):
            raise InputError("a set starts from a bounded box", found=f"{lower.tolist()} .. {upper.tolist()}", expected="finite lower <= upper")
        middle = np.where(lower == upper, lower, 0.5 * lower + 0.5 * upper)
        radius = np.where(lower == upper, 0.0, np.nextafter(np.maximum(np.nextafter(upper - middle, math.inf), np.nextafter(middle - lower, math.inf)), math.inf))
        variables = np.flatnonzero(upper > lower) if free is None else np.asarray(free)
        r = ring(len(variables), order)
        c = np.zeros((len(lower), r.size))
        c[:, 0] = middle
        spare = np.array([i for i in range(len(lower)) if i not in set(variables.tolist()) and radius[i] > 0], int)
        if order >= 1:
            for j, i in enumerate(variables):
                c[i, r.variable(j)] = radius[i]
        else:
            spare = np.flatnonzero(radius > 0)
        e = np.zeros((len(lower), len(spare)))
        e[spare, np.arange(len(spare))] = radius[spare]
        return cls(r, c, e)

    @property
    def dimension(self) -> int:
        return len(self.coefficients)

    def spread(self) -> np.ndarray:
        """(n,) upper ends of the row sums |E| 1."""
        return row_sums(self.generators)

    def box(self, pieces: int | None = None) -> Box:
        """The smallest box we can prove; `pieces` cuts every variable of s in so many (default by their number), 1 is the plain range."""
        with np.errstate(all="ignore"):
            lower, upper = range_of(self.ring, self.coefficients, pieces)
            e = self.spread()
            return as_box(enclosing(np.nextafter(lower - e, -math.inf), np.nextafter(upper + e, math.inf)))

    def support(self, direction, pieces: int | None = None) -> float:
        """An upper bound of c . x over the set: the polynomials are combined first, so that their correlation survives."""
        c = direction_of(self.dimension, direction)
        with np.errstate(all="ignore"):
            along = self.affine(c[None])
            _, upper = range_of(self.ring, along.coefficients, pieces)
            bound = float(np.nextafter(upper[0] + along.spread()[0], math.inf))
        return bound if bound == bound else math.inf

    def affine(self, matrix, offset=None) -> PolynomialZonotope:
        """A superset of {W x + b}: the rounding of the products becomes one more generator per row."""
        w, b = matrix_of(self.dimension, matrix, offset)
        with np.errstate(all="ignore"):
            c, e = w @ self.coefficients, w @ self.generators
            c[:, 0] += b
            sizes = np.abs(self.coefficients).sum(1) + np.abs(self.generators).sum(1)
            error = ((w.shape[1] + 6) * U * (np.abs(w) @ sizes + np.abs(b))) * (1 + 1e-9 + (self.ring.size + self.generators.shape[1]) * 4 * U) + TINY
        return PolynomialZonotope(self.ring, c, np.hstack([e, np.diag(error)]))

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """(count, n) members, up to the rounding of evaluating them: half of them from corners of s and eps."""
        rng = np.random.default_rng(seed)
        s = rng.uniform(-1, 1, (count, self.ring.variables))
        eps = rng.uniform(-1, 1, (count, self.generators.shape[1]))
        corner = rng.random(count) < 0.5
        s[corner], eps[corner] = np.sign(s[corner]), np.sign(eps[corner])
        if self.ring.time:
            s[:, -1] = 0.5 + 0.5 * s[:, -1]
        return self.at(s, eps)

    def at(self, s, eps=None) -> np.ndarray:
        """p(s) + E eps for rows s (count, f) and eps (count, m); an estimate (rounded evaluation)."""
        s = np.asarray(s, np.float64).reshape(len(s), self.ring.variables)
        powers = np.prod(s[:, None, :] ** self.ring.exponents[None], axis=2)
        x = powers @ self.coefficients.T
        return x if eps is None else x + np.asarray(eps) @ self.generators.T


def row_sums(matrix: np.ndarray) -> np.ndarray:
    """(n,) upper ends of the rows' sums of absolute values; NaN stays NaN."""
    s = np.abs(matrix).sum(axis=1)
    return np.where(s == 0, 0.0, np.nextafter(s * (1 + (matrix.shape[1] + 2) * 2 * U), math.inf))


_PIECES = {0: 1, 1: 32, 2: 16, 3: 6, 4: 3}
_WORK = 1 << 21  # coefficients of all pieces together: a few milliseconds


def range_of(r: Ring, coefficients: np.ndarray, pieces: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Enclosures (lo, hi) of every row's range: the hull over a partition of every variable in `pieces`, met with the plain range."""
    lower, upper = poly_ranges(np.ascontiguousarray(coefficients), r.even)
    if pieces is None:
        pieces = _PIECES.get(r.variables, 2)
        if pieces**r.variables * r.size * len(coefficients) > _WORK:
            return lower, upper
    elif isinstance(pieces, bool) or not (isinstance(pieces, int) and pieces >= 1 and pieces**r.variables * r.size * len(coefficients) <= 64 * _WORK):
        expected = f"a whole number from 1 on with pieces^{r.variables} pieces in all not beyond {64 * _WORK // (r.size * len(coefficients))}"
        raise InputError("a set cannot be cut like this", where="argument pieces", found=repr(pieces)[:40], expected=expected)
    if pieces <= 1 or r.variables == 0 or r.order < 2 or not (np.isfinite(lower).all() and np.isfinite(upper).all()):
        return lower, upper
    rows, error = cut_rows(r, coefficients, pieces)
    lo, hi = poly_ranges(rows.reshape(-1, r.size), r.even)
    lo, hi = lo.reshape(-1, len(coefficients)).min(0) - error, hi.reshape(-1, len(coefficients)).max(0) + error
    return np.maximum(lower, np.nextafter(lo, -math.inf)), np.minimum(upper, np.nextafter(hi, math.inf))
