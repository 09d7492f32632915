"""What an activation is: its value, its slopes, its curvature, and how far its float value can be from the exact one.

Everything else (product rule, local slopes, linear relaxations, fits) is derived from this description. A constant is
an outward-rounded pair of floats around the exact real number. Citation of the table: methods/network_lipschitz.md
section 3 (branch and bound with ball arithmetic); recomputed here to 30 digits and tested against a dense mpmath search.

Assumption of every float error stated in this folder (recorded in certificates): exp, expm1, log1p, erf, sin and cos of
numpy/scipy are within 4 ulp, that is |fl - exact| <= 8u |exact| + 4 eta with u = 2^-53, eta = 2^-1074
(methods/rounding.md section 5). +, -, *, / and comparisons are IEEE 754.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError

U = 2.0**-53
# Every underflow of a formula costs at most a few eta = 2^-1074, times a parameter where one multiplies: paid by this.
TINY = 2.0**-1000

Pair = tuple[float, float]


def enclosure(digits: str) -> Pair:
    """Floats around any real number whose decimal expansion starts with `digits` (30 significant ones here), either rounding of the last.

    >>> lo, hi = enclosure("1.41421356237309504880168872420")
    >>> lo * lo < 2 < hi * hi and hi == math.nextafter(lo, 2)
    True
    """
    exact = Fraction(digits)
    slack = Fraction(1, 10 ** len(digits.partition(".")[2]))
    lower, upper = float(exact - slack), float(exact + slack)
    lower = lower if Fraction(lower) <= exact - slack else math.nextafter(lower, -math.inf)
    return lower, upper if Fraction(upper) >= exact + slack else math.nextafter(upper, math.inf)


def negative(pair: Pair) -> Pair:
    """The enclosure of the opposite number."""
    return -pair[1], -pair[0]


@dataclass(frozen=True, eq=False)
class Break:
    """A point where f' turns or jumps: `at` encloses the point, `left` and `right` the one-sided limits of f' there (pairs; arrays for prelu)."""

    at: tuple[Any, Any]
    left: tuple[Any, Any]
    right: tuple[Any, Any]


def turn(at: Pair, slope: Pair) -> Break:
    """A break where f' is continuous: a local maximum or minimum of f'."""
    return Break(at, slope, slope)


@dataclass(frozen=True)
class Activation(ABC):
    """The mathematics of one elementwise function f; a frozen object whose fields are the function's parameters.

    Contract, for the exact real function f with these exact parameters:
    - `value(x)`: float64 array; |value(x) - f(x)| <= relative |x| + absolute with (relative, absolute) = `rounding()`, every finite float x
      (overflow gives inf or NaN, never a wrong finite number beyond that).
    - `slope_range()`: lo <= (f(a) - f(b)) / (a - b) <= hi for all real a != b.
    - `slope_range_on(lower, upper)`: the same for a, b in [lower, upper], entrywise; infinite ends are legal.
    - `curvature_range()`: f' is Lipschitz with derivative in [lo, hi] almost everywhere; None when f' jumps.
    - `derivative(x)`: f'(x) within `derivative_rounding()`; at a kink one of the two one-sided values.
    - `breaks()`: every point between which f' is monotone.
    """

    kind: ClassVar[str]

    @abstractmethod
    def value(self, x: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def derivative(self, x: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def rounding(self) -> Pair: ...

    @abstractmethod
    def slope_range(self) -> Pair: ...

    @abstractmethod
    def breaks(self) -> tuple[Break, ...]: ...

    def derivative_rounding(self) -> float:
        """Bound on |derivative(x) - f'(x)| for every x, infinite ones included."""
        return 0.0

    def curvature_range(self) -> Pair | None:
        return None

    def lipschitz(self) -> float:
        """max(|lo|, |hi|) of `slope_range`: the best global constant in every p norm, since f acts entry by entry."""
        lo, hi = self.slope_range()
        return max(abs(lo), abs(hi))

    def slope_range_on(self, lower: Any, upper: Any) -> tuple[np.ndarray, np.ndarray]:
        """Slopes between two points of [lower, upper], entrywise: the hull of f' at the ends and of the breaks inside. [f' is monotone between breaks]"""
        lower, upper = np.broadcast_arrays(np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64))
        if not (lower <= upper).all():
            raise InputError("slopes were asked for on an inverted or NaN interval", where=f"activation {self.kind}")
        least, most = np.full(lower.shape, np.inf), np.full(lower.shape, -np.inf)
        plain = [np.ones(lower.shape, bool), np.ones(lower.shape, bool)]
        single = lower == upper
        for b in self.breaks():
            inside = [(lower < b.at[1]) & (upper >= b.at[0]), (lower <= b.at[1]) & (upper > b.at[0])]
            point = single & (lower >= b.at[0]) & (lower <= b.at[1])
            for hit, (lo, hi) in zip(inside, (b.left, b.right), strict=True):
                least = np.where(hit | point, np.minimum(least, lo), least)
                most = np.where(hit | point, np.maximum(most, hi), most)
            if b.at[0] == b.at[1]:  # at an exact kink the one-sided limit of the inner side has just been taken
                plain = [mask & (end != b.at[0]) for mask, end in zip(plain, (lower, upper), strict=True)]
        e = self.derivative_rounding()
        for end, mask in zip((lower, upper), plain, strict=True):
            d = self.derivative(end)
            least = np.where(mask, np.minimum(least, np.nextafter(d - e, -np.inf) if e else d), least)
            most = np.where(mask, np.maximum(most, np.nextafter(d + e, np.inf) if e else d), most)
        lo, hi = self.slope_range()
        return np.maximum(least, lo), np.minimum(most, hi)


def finite(kind: str, **parameters: float) -> None:
    """Refuse a NaN or infinite parameter by name."""
    for name, value in parameters.items():
        if not math.isfinite(value):
            raise InputError("an activation has a parameter that is not finite", where=f"{kind}.{name}", found=value, expected="a finite number")
