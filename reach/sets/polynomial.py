"""Polynomial: rows of truncated polynomials over a ring, each with a remainder that covers truncation and rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from certify.core.errors import InputError
from certify.core.interval import Interval
from certify.core.regions import Box
from certify.core.rounding import down, norms_up, up

from .base import enclosing, image, matrix_of, plus, roundings
from .cuts import cut_rows
from .jit import jit
from .kernels import horner, multiply, poly_ranges
from .points import values
from .ring import Ring, ring
from .zonotope import Zonotope


@dataclass(frozen=True, eq=False)
class Polynomial:
    """n functions on the ring's domain ([-1, 1] per variable, [0, 1] for tau): every g with |g_i(s) - p_i(s)| <= remainder_i is meant.

    Claim: if g is meant by P and h by Q then g + h, g - h, g h, W g + b, g^k and c(g) are meant by P + Q, P - Q, P * Q, P.affine(W, b), P**k and P.compose(c).

    Args:
        ring: M monomials. coefficients: (n, M). remainder: (n,), >= 0, zeros by default; inf says that nothing is known.

    Guarantee: exact real arithmetic; truncation and the rounding of every step are in the remainder (`kernels`, `core.rounding`). A row that overflows
    becomes 0 with remainder inf. Two operands may have n rows or one row each (which is repeated).
    Raises: InputError for shapes, other rings, a negative or NaN remainder. Hypotheses: none. Cost: a product is at most M^2 multiplications a row.
    Source: methods/reach.md section 4; Makino & Berz, Int. J. Pure Appl. Math. 6 (2003).

    >>> x = Polynomial.variables(ring(1, 2))
    >>> y = (x - 1) * (x + 1)                      # s^2 - 1, exact
    >>> y.coefficients.tolist(), y.range().contains(-1.0), bool(y.remainder[0] < 1e-14)
    ([[-1.0, 0.0, 1.0]], True, True)
    """

    ring: Ring
    coefficients: np.ndarray
    remainder: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self):
        c = np.array(self.coefficients, np.float64)
        r = np.zeros(len(c)) if self.remainder is None else np.array(self.remainder, np.float64)
        if c.ndim != 2 or c.shape[1] != self.ring.size or r.shape != (len(c),):
            found = f"coefficients {c.shape}, remainder {r.shape}"
            raise InputError("a polynomial's arrays do not fit", where="Polynomial", found=found, expected=f"(n, {self.ring.size}) and (n,)")
        if not (np.isfinite(c).all() and (r >= 0).all()):
            raise InputError("a polynomial has an undefined entry", where="Polynomial", expected="finite coefficients and remainders >= 0")
        object.__setattr__(self, "coefficients", c)
        object.__setattr__(self, "remainder", r)

    @classmethod
    def of(cls, ring: Ring, coefficients: np.ndarray, remainder: np.ndarray) -> Polynomial:
        """The rows, with 0 +- inf in place of a row that overflowed."""
        good = np.isfinite(coefficients).all(axis=1) & (remainder >= 0)
        return cls(ring, np.where(good[:, None], coefficients, 0.0), np.where(good, remainder, math.inf))

    @classmethod
    def variables(cls, ring: Ring) -> Polynomial:
        """The f rows s_1, ..., s_f, exactly. Needs order >= 1."""
        if ring.order < 1 and ring.variables:
            raise InputError("a ring of order 0 has no variables", found=f"order {ring.order}", expected="order >= 1")
        c = np.zeros((ring.variables, ring.size))
        for i in range(ring.variables):
            c[i, ring.variable(i)] = 1.0
        return cls(ring, c)

    @classmethod
    def constant(cls, ring: Ring, numbers: ArrayLike) -> Polynomial:
        """One constant row per number, exactly."""
        numbers = np.atleast_1d(np.asarray(numbers, np.float64))
        c = np.zeros((len(numbers), ring.size))
        c[:, 0] = numbers
        return cls(ring, c)

    @classmethod
    def from_box(cls, ring: Ring, box: Box) -> Polynomial:
        """n rows c_i + r_i s_i around the box's intervals, for a ring with n variables over [-1, 1]."""
        z = Zonotope.from_box(box)
        if ring.variables != z.dimension or ring.time:
            raise InputError("a box needs one variable over [-1, 1] per coordinate", found=f"{ring.variables} variables{' and time' * ring.time}", expected=z.dimension)
        return cls.variables(ring).affine(np.diag(z.spread()), z.center)

    @property
    def rows(self) -> int:
        return len(self.coefficients)

    def __getitem__(self, index) -> Polynomial:
        """Some of the rows: an integer, slice or index array."""
        keep = np.atleast_1d(np.arange(self.rows)[index])
        return Polynomial(self.ring, self.coefficients[keep], self.remainder[keep])

    def _pair(self, other) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        q = other if isinstance(other, Polynomial) else Polynomial.constant(self.ring, other)
        if (q.ring.variables, q.ring.order, q.ring.time) != (self.ring.variables, self.ring.order, self.ring.time):
            raise InputError("two polynomials live in different rings", found=f"{self.ring} and {q.ring}", hint="build both with the same ring(...)")
        if q.rows != self.rows and 1 not in (q.rows, self.rows):
            raise InputError("two polynomials have different numbers of rows", found=f"{self.rows} and {q.rows}", expected="equal, or one")
        n = self.rows if q.rows == 1 else q.rows
        a, b = (np.broadcast_to(x, (n, self.ring.size)) for x in (self.coefficients, q.coefficients))
        ra, rb = (np.broadcast_to(x, n) for x in (self.remainder, q.remainder))
        return a, ra, b, rb

    def __add__(self, other) -> Polynomial:
        """The sum; its rounding is at most u |fl(a + b)| per coefficient."""
        a, ra, b, rb = self._pair(other)
        with np.errstate(all="ignore"):
            c = a + b
            rounded = np.where((a == 0.0) | (b == 0.0), 0.0, c)
            return Polynomial.of(self.ring, c, plus(ra, rb, roundings(rounded)))

    __radd__ = __add__

    def __neg__(self) -> Polynomial:
        return Polynomial(self.ring, -self.coefficients, self.remainder)

    def __sub__(self, other) -> Polynomial:
        return self + (-other if isinstance(other, Polynomial) else -np.asarray(other, np.float64))

    def __rsub__(self, other) -> Polynomial:
        return -self + other

    def __mul__(self, other) -> Polynomial:
        """The product, cut at the ring's order."""
        a, ra, b, rb = (np.array(x) for x in self._pair(other))  # writable and contiguous: one compiled variant serves all
        product, end, degree, _, order = self.ring.tables
        return Polynomial.of(self.ring, *_multiply_rows(a, ra, b, rb, product, end, degree, order))

    __rmul__ = __mul__

    def __pow__(self, exponent: int) -> Polynomial:
        """A power by repeated squaring, exponent >= 0."""
        if exponent != int(exponent) or exponent < 0:
            raise InputError("a polynomial's power is a natural number", found=exponent)
        made, square, k = None, self, int(exponent)
        while k:
            if k & 1:
                made = square if made is None else made * square
            k >>= 1
            square = square * square if k else square
        return Polynomial.constant(self.ring, np.ones(self.rows)) if made is None else made

    def affine(self, matrix: ArrayLike, offset: ArrayLike | None = None) -> Polynomial:
        """W p + b for W (k, n), b (k,): rounding from |W||p|, so cancellation is covered."""
        w, b = matrix_of(self.rows, matrix, offset)
        value, radius = image(w, self.coefficients)
        with np.errstate(all="ignore"):
            constant = value[:, 0] + b
            rounding = roundings(np.where((b == 0.0) | ~np.isfinite(constant), 0.0, constant)[:, None])  # a row that overflowed is dropped below
            carried = np.where((w == 0.0) | (self.remainder == 0.0), 0.0, up(np.abs(w) * self.remainder))  # 0 times an unbounded remainder is 0
            return Polynomial.of(self.ring, np.column_stack([constant, value[:, 1:]]), plus(norms_up(carried, "l1"), norms_up(radius, "l1"), rounding))

    def compose(self, outer: ArrayLike) -> Polynomial:
        """sum_j C[i, j] p_i^j for rows C (n, d + 1) of a univariate polynomial's coefficients, lowest power first; one row of C serves all."""
        c = np.atleast_2d(np.asarray(outer, np.float64))
        if c.ndim != 2 or len(c) not in (1, self.rows) or c.shape[1] < 1 or not np.isfinite(c).all():
            raise InputError("these are not the outer polynomials of the rows", found=f"shape {c.shape}", expected=f"({self.rows}, degree + 1), finite")
        c = np.array(np.broadcast_to(c, (self.rows, c.shape[1])))
        if c.shape[1] == 1:
            return Polynomial.constant(self.ring, c[:, 0])
        product, end, degree, _, order = self.ring.tables
        return Polynomial.of(self.ring, *horner(c, self.coefficients, self.remainder, product, end, degree, order))

    def truncate(self, order: int) -> Polynomial:
        """The same functions in the ring of a lower order: the dropped monomials' range goes to the remainder, its middle to the constant."""
        small = ring(self.ring.variables, order, self.ring.time)
        if order > self.ring.order:
            raise InputError("a polynomial is truncated to a lower order", found=order, expected=f"at most {self.ring.order}")
        c = np.array(self.coefficients)
        c[:, : small.size] = 0.0
        dropped = enclosing(*poly_ranges(c, self.ring.even))
        middle = dropped.midpoint
        radius = np.maximum(up(dropped.upper - middle), up(middle - dropped.lower))
        return Polynomial.of(small, self.coefficients[:, : small.size], radius) + Polynomial.constant(small, middle)._with(self.remainder)

    def _with(self, remainder: np.ndarray) -> Polynomial:
        return Polynomial(self.ring, self.coefficients, remainder)

    def cut(self, pieces: int | Sequence[int]) -> Polynomial:
        """The functions on every piece of a grid, as P n rows (all rows of a piece together); see `cuts.cut_rows` for the claim and the cost."""
        rows, error = cut_rows(self.ring, self.coefficients, pieces)
        return Polynomial.of(self.ring, rows.reshape(-1, self.ring.size), np.tile(plus(self.remainder, error), len(rows)))

    def range(self, pieces: int | Sequence[int] = 1) -> Interval:
        """(n,) enclosures of the values over the whole domain; `pieces` > 1 cuts the variables first (for outputs: the cost is pieces^f)."""
        lower, upper = poly_ranges(self.coefficients, self.ring.even)
        if np.any(np.asarray(pieces) != 1) and self.rows:
            rows, error = cut_rows(self.ring, self.coefficients, pieces)
            lo, hi = (e.reshape(-1, self.rows) for e in poly_ranges(rows.reshape(-1, self.ring.size), self.ring.even))
            lower, upper = np.maximum(lower, down(lo.min(axis=0) - error)), np.minimum(upper, up(hi.max(axis=0) + error))
        r = self.remainder
        return enclosing(np.where(r == 0.0, lower, down(lower - r)), np.where(r == 0.0, upper, up(upper + r)))

    def evaluate(self, points: ArrayLike) -> Interval:
        """(count, n) enclosures of the values at points (count, f) of the domain.

        Raises InputError for a point outside: a remainder says nothing there. Proof: `points.values`.
        """
        value, radius = values(self.ring, self.coefficients, points)
        with np.errstate(all="ignore"):
            radius = plus(radius, np.broadcast_to(self.remainder, radius.shape))
            return enclosing(down(value - radius), up(value + radius))


@jit
def _multiply_rows(a, ra, b, rb, product, end, degree, order):
    """`kernels.multiply` of every pair of rows."""
    c = np.empty(a.shape)
    r = np.empty(len(a))
    for i in range(len(a)):
        r[i] = multiply(a[i], ra[i], b[i], rb[i], c[i], product, end, degree, order)
    return c, r
