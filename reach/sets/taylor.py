"""Taylor model: a polynomial with an interval remainder, for functions of the initial state (and of time) and for the sets that they sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from certify.core.errors import InputError
from certify.core.interval import Interval
from certify.core.regions import Box
from certify.core.rounding import mul_up

from .base import as_box, direction_of, matrix_of, total_up
from .points import domain_points, values
from .polynomial import Polynomial
from .ring import Ring


@dataclass(frozen=True, eq=False)
class TaylorModel:
    """n functions on the ring's domain: every g with g_i(s) - p_i(s) in [lower_i, upper_i] for all s. As a `Set`: {p(s) + r : s in the domain, lower <= r <= upper}.

    Claim: if g is meant by S and h by T then g + h, g - h, g h, g / h, W g + b, g^k and sin(g), ... are meant by S + T, S - T, S * T, S / T, S.affine(W, b),
    S**k and S.sin(), ...; the remainder of a product is p J + q I + I J in intervals, so one-sided remainders stay one-sided.

    Args:
        ring: M monomials. coefficients: (n, M), finite. lower, upper: (n,), zeros by default; infinite where nothing is known.

    Guarantee: exact real arithmetic, truncation and rounding included. A function that is undefined somewhere on the range gives an infinite remainder.
    Raises: InputError for shapes and other rings, SoundnessError for a NaN or inverted remainder.
    Source: Makino & Berz, Int. J. Pure Appl. Math. 6 (2003); methods/reach.md section 4.

    >>> from .ring import ring
    >>> x = TaylorModel.from_box(ring(1, 4), Box([0.0], [1.0]))
    >>> (x * (1 - x)).box().upper[0] < 0.7500001, (x * (1 - x)).box(8).upper[0] < 0.26
    (np.True_, np.True_)
    """

    ring: Ring
    coefficients: np.ndarray
    lower: np.ndarray = None  # type: ignore[assignment]
    upper: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self):
        exact = Polynomial(self.ring, self.coefficients)
        lower, upper = (np.zeros(exact.rows) if end is None else end for end in (self.lower, self.upper))
        rest = Interval(lower, upper)
        if rest.shape != (exact.rows,):
            raise InputError("a Taylor model's remainder does not fit", where="TaylorModel", found=f"{rest.shape}", expected=f"({exact.rows},)")
        for name, value in {"coefficients": exact.coefficients, "lower": rest.lower, "upper": rest.upper}.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, polynomial: Polynomial, rest: Interval | None = None) -> TaylorModel:
        """The functions that differ from the polynomial's by something in `rest`."""
        some = Interval(-polynomial.remainder, np.array(polynomial.remainder)) if polynomial.remainder.any() else Interval(*(np.zeros(polynomial.rows),) * 2)
        some = some if rest is None else some + rest
        return cls(polynomial.ring, polynomial.coefficients, some.lower, some.upper)

    @classmethod
    def from_box(cls, ring: Ring, box: Box) -> TaylorModel:
        """The identity on a box, coordinate i = c_i + r_i s_i; a ring with one variable per coordinate."""
        return cls.of(Polynomial.from_box(ring, box))

    @property
    def exact(self) -> Polynomial:
        """The polynomial part alone."""
        return Polynomial(self.ring, self.coefficients)

    @property
    def rest(self) -> Interval:
        """The remainder."""
        return Interval(self.lower, self.upper)

    @property
    def centred(self) -> Polynomial:
        """The same functions with a symmetric remainder: the middle of the remainder moves into the constants."""
        middle = self.rest.midpoint
        spread = np.maximum((self.rest - middle).upper, -(self.rest - middle).lower)
        return Polynomial(self.ring, self.coefficients, np.maximum(spread, 0.0)) + Polynomial.constant(self.ring, middle)

    @property
    def dimension(self) -> int:
        return len(self.coefficients)

    def _other(self, other) -> TaylorModel:
        return other if isinstance(other, TaylorModel) else TaylorModel.of(Polynomial.constant(self.ring, other))

    def __add__(self, other) -> TaylorModel:
        other = self._other(other)
        return TaylorModel.of(self.exact + other.exact, self.rest + other.rest)

    __radd__ = __add__

    def __neg__(self) -> TaylorModel:
        rest = -self.rest
        return TaylorModel(self.ring, -self.coefficients, rest.lower, rest.upper)

    def __sub__(self, other) -> TaylorModel:
        return self + -self._other(other)

    def __rsub__(self, other) -> TaylorModel:
        return -self + other

    def __mul__(self, other) -> TaylorModel:
        other = self._other(other)
        rest = self.exact.range() * other.rest + other.exact.range() * self.rest + self.rest * other.rest
        return TaylorModel.of(self.exact * other.exact, rest)

    __rmul__ = __mul__

    def __truediv__(self, other) -> TaylorModel:
        return self * self._other(other).reciprocal()

    def __pow__(self, exponent: int) -> TaylorModel:
        """A power, exponent >= 0."""
        return TaylorModel.of(self.centred**exponent)

    def compose(self, outer: ArrayLike) -> TaylorModel:
        """sum_j C[i, j] g_i^j, lowest power first (`Polynomial.compose`)."""
        return TaylorModel.of(self.centred.compose(outer))

    def _function(self, op: int) -> TaylorModel:
        """One of the tape's functions of every row: Taylor's polynomial at the middle of the range with Lagrange's remainder."""
        from ..dynamics import libm, tape_kernels  # above us: they need the kernels of this package

        libm.require_libm()
        p = self.centred
        product, end, degree, even, order = self.ring.tables
        made, rest = np.zeros_like(p.coefficients), np.full(self.dimension, math.inf)
        for i in range(self.dimension):
            rest[i] = tape_kernels.compose(op, p.coefficients[i], p.remainder[i], made[i], product, end, degree, even, order)
        return TaylorModel.of(Polynomial.of(self.ring, made, rest))

    def sin(self) -> TaylorModel:
        return self._function(_opcodes().SIN)

    def cos(self) -> TaylorModel:
        return self._function(_opcodes().COS)

    def exp(self) -> TaylorModel:
        return self._function(_opcodes().EXP)

    def log(self) -> TaylorModel:
        """Undefined where the range touches 0: an infinite remainder."""
        return self._function(_opcodes().LOG)

    def sqrt(self) -> TaylorModel:
        """Not smooth where the range touches 0: an infinite remainder."""
        return self._function(_opcodes().SQRT)

    def tanh(self) -> TaylorModel:
        return self._function(_opcodes().TANH)

    def atan(self) -> TaylorModel:
        return self._function(_opcodes().ATAN)

    def reciprocal(self) -> TaylorModel:
        """1 / g; an infinite remainder where the range contains 0."""
        return self._function(_opcodes().INV)

    def range(self, pieces: int | Sequence[int] = 1) -> Interval:
        """(n,) enclosures of the values; `pieces` cuts the variables first (`Polynomial.range`)."""
        return self.exact.range(pieces) + self.rest

    def evaluate(self, points: ArrayLike) -> Interval:
        """(count, n) enclosures of the values at points (count, f) of the domain."""
        return self.exact.evaluate(points) + self.rest

    def box(self, pieces: int | Sequence[int] = 1) -> Box:
        return as_box(self.range(pieces))

    def support(self, direction: ArrayLike, pieces: int | Sequence[int] = 1) -> float:
        """The rows are combined first, so their correlation survives; then the range, then the remainder's end."""
        c = direction_of(self.dimension, direction)
        end = np.where(c > 0, self.upper, self.lower)
        top = float(self.exact.affine(c[None]).range(pieces).upper[0])
        return total_up(np.array([top, *(mul_up(v, r) for v, r in zip(c.tolist(), end.tolist()) if v != 0.0)]))

    def affine(self, matrix: ArrayLike, offset: ArrayLike | None = None) -> TaylorModel:
        w, b = matrix_of(self.dimension, matrix, offset)
        return TaylorModel.of(self.exact.affine(w, b), w @ self.rest)

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """(count, n) members up to the rounding of evaluating them: half of them from corners of the domain. An infinite remainder counts as 0."""
        rng = np.random.default_rng(seed)
        value, _ = values(self.ring, self.coefficients, domain_points(self.ring, count, rng))
        lower, upper = (np.where(np.isinf(end), 0.0, end) for end in (self.lower, self.upper))
        return value + lower + rng.random((count, self.dimension)) * (upper - lower)


def _opcodes():
    from ..dynamics import opcodes

    return opcodes
