"""Interval: outward-rounded float64 arrays that contain the true numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from . import elementary
from .errors import HypothesisError, InputError, SoundnessError
from .interval_ops import finite_matrix, hull, outward, product, quiet, sum_end
from .rounding import down, exact_float64, fraction_down, fraction_up, gamma, up


@dataclass(frozen=True, eq=False)
class Interval:
    """The set of real arrays x with lower <= x <= upper, entry by entry.

    Guarantee: for real x in self and y in other, the exact x op y lies in self op other. Each operation rounds outward by one ulp
    where it rounds at all; sums and products add the gamma_n term of `core.rounding`; exp .. erf rest on `core.elementary`'s assumption.
    Infinite ends are legal (the entry is unbounded there). Numbers, float arrays and Fractions mix in: the first two as exact points.

    Args:
        lower, upper: arrays of one shape, lower <= upper, in the unit of whatever they enclose. Copied, read-only.
    Raises:
        SoundnessError: a NaN, inverted ends, lower = inf or upper = -inf. InputError: shapes differ, or a dtype that float64 cannot hold.

    Hypotheses: IEEE 754 (`require_ieee`). Cost: about 10 numpy operations each. Source: Moore, Kearfott, Cloud (2009), chapters 2-5; Rump (2010) for products.

    >>> x = Interval.from_text("0.1")
    >>> (x + x + x).contains(Fraction(3, 10)), Interval.point(0.1).contains(Fraction(1, 10))
    (True, False)
    """

    lower: np.ndarray
    upper: np.ndarray
    __array_ufunc__ = None  # array + Interval comes to __radd__

    def __post_init__(self):
        self._set(np.array(exact_float64(self.lower, "the lower end")), np.array(exact_float64(self.upper, "the upper end")))

    def _set(self, lower: np.ndarray, upper: np.ndarray) -> None:
        if lower.shape != upper.shape:
            raise InputError("the ends of an interval have different shapes", found=f"{lower.shape} and {upper.shape}")
        good = (lower <= upper) & (lower < math.inf) & (upper > -math.inf)
        if not good.all():
            i = tuple(int(j) for j in np.argwhere(~good)[0])
            raise SoundnessError("not an interval", where=f"entry {i}", found=f"[{lower[i]!r}, {upper[i]!r}]", expected="lower <= upper, no NaN, not both infinite of one sign")
        lower.setflags(write=False)
        upper.setflags(write=False)
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)

    @classmethod
    def _new(cls, lower: Any, upper: Any) -> Interval:
        """An interval of fresh float64 arrays: checked, not copied."""
        made = object.__new__(cls)
        made._set(np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64))
        return made

    @classmethod
    def point(cls, x: Any) -> Interval:
        """[x, x] for exact floats; the outward pair for a Fraction."""
        if isinstance(x, Fraction):
            return cls._new(fraction_down(x), fraction_up(x))
        return cls(x, x)

    @classmethod
    def from_text(cls, text: str | Sequence[Any]) -> Interval:
        """The tightest interval around decimal text such as "0.1", "1e-3" or "1/3"; a (nested) list of texts gives an array.

        Raises:
            InputError: text that is not a rational number ("nan", "inf" included).
        """
        if not isinstance(text, str):
            parts = [cls.from_text(t) for t in text]
            return cls._new(np.array([p.lower for p in parts]), np.array([p.upper for p in parts]))
        try:
            return cls.point(Fraction(text.strip()))
        except (ValueError, ZeroDivisionError):
            raise InputError("this text is not a number", found=repr(text), expected='a decimal or a fraction: "0.1", "1e-3", "1/3"') from None

    def __reduce__(self):
        return Interval, (np.array(self.lower), np.array(self.upper))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.lower.shape

    @property
    def ndim(self) -> int:
        return self.lower.ndim

    @property
    def size(self) -> int:
        return self.lower.size

    def __len__(self) -> int:
        return len(self.lower)

    def __getitem__(self, index: Any) -> Interval:
        return Interval._new(np.array(self.lower[index]), np.array(self.upper[index]))

    def reshape(self, *shape: Any) -> Interval:
        return Interval._new(self.lower.reshape(*shape).copy(), self.upper.reshape(*shape).copy())

    def __repr__(self) -> str:
        return f"Interval({self.lower.tolist()!r}, {self.upper.tolist()!r})" if self.size <= 8 else f"Interval(shape={self.shape}, widest={float(self.width.max())!r})"

    def contains(self, x: Any) -> bool:
        """Whether every entry of x (array, number, Fraction: compared exactly; Interval: as a subset) lies inside. NaN does not."""
        if isinstance(x, Fraction):
            return all(lo <= x <= hi for lo, hi in zip(self.lower.ravel().tolist(), self.upper.ravel().tolist(), strict=True))
        other = _interval(x)
        return bool((self.lower <= other.lower).all() and (other.upper <= self.upper).all())

    @property
    def width(self) -> np.ndarray:
        """Upper end of upper - lower; 0 for a point."""
        with quiet():
            return np.where(self.lower == self.upper, 0.0, up(np.asarray(self.upper - self.lower)))

    @property
    def midpoint(self) -> np.ndarray:
        """A finite float inside, near the middle (not the exact middle); 0 or the finite end of an unbounded entry."""
        with quiet():
            low, high = np.isinf(self.lower), np.isinf(self.upper)
            middle = np.clip(0.5 * self.lower + 0.5 * self.upper, self.lower, self.upper)
            return np.where(low & high, 0.0, np.where(low, self.upper, np.where(high, self.lower, middle)))

    def __and__(self, other: Any) -> Interval:
        """Intersection of two enclosures of the same numbers. Empty: SoundnessError that names both, for one of them is wrong."""
        other = _interval(other)
        lower, upper = np.broadcast_arrays(np.maximum(self.lower, other.lower), np.minimum(self.upper, other.upper))
        if not (lower <= upper).all():
            i = tuple(int(j) for j in np.argwhere(~(lower <= upper))[0])
            (a, b), (c, d) = ((np.broadcast_to(e, lower.shape)[i].item() for e in (z.lower, z.upper)) for z in (self, other))
            found = f"[{a!r}, {b!r}] and [{c!r}, {d!r}]"
            raise SoundnessError("two enclosures of the same number have nothing in common", where=f"entry {i}", found=found, hint="one of them is wrong")
        return Interval._new(lower.copy(), upper.copy())

    __rand__ = __and__

    def __neg__(self) -> Interval:
        return Interval._new(-self.upper, -self.lower)

    def __abs__(self) -> Interval:
        inside = (self.lower <= 0) & (self.upper >= 0)
        a, b = np.abs(self.lower), np.abs(self.upper)
        return Interval._new(np.where(inside, 0.0, np.minimum(a, b)), np.maximum(a, b))

    def __add__(self, other: Any) -> Interval:
        other = _interval(other)
        return Interval._new(sum_end(self.lower, other.lower, -1), sum_end(self.upper, other.upper, 1))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Interval:
        return self + -_interval(other)

    def __rsub__(self, other: Any) -> Interval:
        return _interval(other) + -self

    def __mul__(self, other: Any) -> Interval:
        """Hull of the four products of ends, rounded outward; 0 times an unbounded entry is 0, for both are sets of real numbers."""
        other = _interval(other)
        with quiet():
            corners = [np.asarray(a * b) for a in (self.lower, self.upper) for b in (other.lower, other.upper)]
            return Interval._new(*hull(corners, (self.lower, self.upper), (other.lower, other.upper)))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Interval:
        """Hull of the four quotients. A divisor that contains zero raises HypothesisError."""
        other = _interval(other)
        if not ((other.lower > 0) | (other.upper < 0)).all():
            raise HypothesisError("a division needs a divisor without zero", found=repr(other), expected="lower > 0 or upper < 0")
        with quiet():
            corners = [np.asarray(a / b) for a in (self.lower, self.upper) for b in (other.lower, other.upper)]
            return Interval._new(*hull(corners, (self.lower, self.upper), (other.lower, other.upper)))

    def __rtruediv__(self, other: Any) -> Interval:
        return _interval(other) / self

    def square(self) -> Interval:
        """{x^2}: never below zero, and tighter than x * x when zero lies inside."""
        size = abs(self)
        with quiet():
            upper = np.where(size.upper == 0, 0.0, up(np.asarray(np.square(size.upper))))
            return Interval._new(np.maximum(down(np.asarray(np.square(size.lower))), 0.0), upper)

    def sqrt(self) -> Interval:
        """{sqrt(x)}; an entry that reaches below zero raises HypothesisError."""
        if not (self.lower >= 0).all():
            raise HypothesisError("a square root needs a nonnegative interval", found=repr(self), expected="lower >= 0")
        lower, upper = np.asarray(np.sqrt(self.lower)), np.asarray(np.sqrt(self.upper))
        return Interval._new(np.where(lower == 0, 0.0, down(lower)), np.where(upper == 0, 0.0, up(upper)))

    def minimum(self, other: Any) -> Interval:
        """{min(x, y)}, exact ends."""
        other = _interval(other)
        return Interval._new(np.minimum(self.lower, other.lower), np.minimum(self.upper, other.upper))

    def maximum(self, other: Any) -> Interval:
        """{max(x, y)}, exact ends."""
        other = _interval(other)
        return Interval._new(np.maximum(self.lower, other.lower), np.maximum(self.upper, other.upper))

    def sum(self, axis: int | tuple[int, ...] | None = None) -> Interval:
        """Sum over axes: float sums of the ends, moved outward by gamma_(n-1) times the sum of absolute values (no eta: sums do not underflow)."""
        axes = tuple(range(self.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        n = math.prod(self.shape[i] for i in axes)
        if n <= 1:
            return Interval._new(self.lower.sum(axes), self.upper.sum(axes))
        with quiet():
            ends = []
            for end, sign in ((self.lower, -1.0), (self.upper, 1.0)):
                radius = up(np.asarray(np.abs(end).sum(axes) * (gamma(n - 1) * (1 + 4 * gamma(n + 2)))))
                ends.append(outward(np.asarray(end.sum(axes) + sign * radius), sign))
        return Interval._new(*ends)

    def __rmatmul__(self, matrix: Any) -> Interval:
        """Exact float matrix (m, n) times an Interval vector (n,) or batch (..., n, k)."""
        return Interval._new(*product(finite_matrix(matrix), self.lower, self.upper, left=True))

    def __matmul__(self, matrix: Any) -> Interval:
        """Batch (..., n) times an exact float matrix (n, k)."""
        return Interval._new(*product(finite_matrix(matrix), self.lower, self.upper, left=False))

    def exp(self) -> Interval:
        return Interval._new(elementary.exp(self.lower)[0], elementary.exp(self.upper)[1])

    def expm1(self) -> Interval:
        return Interval._new(elementary.expm1(self.lower)[0], elementary.expm1(self.upper)[1])

    def log1p(self) -> Interval:
        if not (self.lower > -1).all():
            raise HypothesisError("log1p needs an interval above -1", found=repr(self), expected="lower > -1")
        return Interval._new(elementary.log1p(self.lower)[0], elementary.log1p(self.upper)[1])

    def erf(self) -> Interval:
        return Interval._new(elementary.erf(self.lower)[0], elementary.erf(self.upper)[1])


def _interval(x: Any) -> Interval:
    return x if isinstance(x, Interval) else Interval.point(x)
