"""GELU in both forms, the error function, sine and cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import InputError
from .base import TINY, Activation, Break, Pair, U, enclosure, negative, turn
from .sigmoids import ZERO, sigmoid, sigmoid_slope

INV_SQRT2 = enclosure("0.707106781186547524400844362104")
INV_SQRT_2PI = enclosure("0.398942280401432677939946059934")
TWO_OVER_SQRT_PI = enclosure("1.12837916709551257389615890312")


def _erf(x):
    from scipy.special import erf

    return erf(x)


@dataclass(frozen=True)
class Gelu(Activation):
    """x Phi(x) (approximate "none") or x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2 (approximate "tanh").
    Slopes [-0.1289..., 1.1289...] and [-0.1290..., 1.1290...]."""

    approximate: str = "none"
    kind: ClassVar[str] = "gelu"
    TWO_SQRT_2_OVER_PI: ClassVar[float] = 1.59576912160573071176  # within u of 2 sqrt(2/pi), as every literal
    CURVATURE_TOP: ClassVar[Pair] = enclosure("0.797884560802865355879892119868")
    # where f' peaks, its top, its bottom (at minus the same point), the least curvature
    EXACT: ClassVar[tuple[Pair, ...]] = tuple(
        map(enclosure, ("1.41421356237309504880168872420", "1.12890414518515478634074444226", "-0.128904145185154786340744442262", "-0.107981933026376103901128400821"))
    )
    TANH: ClassVar[tuple[Pair, ...]] = tuple(
        map(enclosure, ("1.41850400879082835554803354559", "1.12899306865877176545590447039", "-0.128993068658771765455904470399", "-0.107913515890367919286182399479"))
    )

    def __post_init__(self):
        if self.approximate not in ("none", "tanh"):
            raise InputError("unknown form of gelu", where="gelu.approximate", found=repr(self.approximate), expected="'none' or 'tanh'")

    def _argument(self, x):
        """2 sqrt(2/pi) (x + 0.044715 x^3) within 8u relative: x^2 u, 0.044715 2u, 1 + u, two products and a constant 3u."""
        with np.errstate(over="ignore"):
            return self.TWO_SQRT_2_OVER_PI * (x * (1.0 + 0.044715 * (x * x)))

    def value(self, x):
        x = np.asarray(x)
        if self.approximate == "none":
            return 0.5 * x * (1.0 + _erf(x * INV_SQRT2[0]))
        return x * sigmoid(self._argument(x))

    def derivative(self, x):
        x = np.clip(x, -100.0, 100.0)  # beyond, f' is within 1e-300 of its limit
        if self.approximate == "none":
            return 0.5 * (1.0 + _erf(x * INV_SQRT2[0])) + x * (np.exp(-0.5 * (x * x)) * INV_SQRT_2PI[0])
        y = self._argument(x)
        return sigmoid(y) + x * sigmoid_slope(y) * (self.TWO_SQRT_2_OVER_PI * (1.0 + 3.0 * 0.044715 * (x * x)))

    def derivative_rounding(self):
        # none: 7u + 12u * 0.25 + 0.6u. tanh: s 12u + 8u |y| s' (1.8u); second term 3 |y| s'(y) (24u + 10u + 8u |y|) <= 0.7 * 34u + 3 * 0.44 * 8u.
        return 64 * U

    def rounding(self):
        # none: z = x/sqrt2 within 3u: erf moves by at most 3u max(z erf'(z)) = 1.5u, library 8u, 1 + erf rounds 2u, times |x|/2 with one
        # rounding of at most 2 |x|/2: below 7u |x|. tanh: |x| (8u |y| s'(y) + 12u) + u |x| <= |x| (1.8u + 13u).
        return 16 * U, TINY

    def slope_range(self):
        _, top, bottom, _ = self._table()
        return bottom[0], top[1]

    def curvature_range(self):
        return self._table()[3][0], self.CURVATURE_TOP[1]

    def breaks(self):
        at, top, bottom, _ = self._table()
        return turn(negative(at), bottom), turn(at, top)

    def _table(self) -> tuple[Pair, ...]:
        return self.EXACT if self.approximate == "none" else self.TANH


@dataclass(frozen=True)
class Erf(Activation):
    """The error function. Slopes [0, 2/sqrt(pi)], curvature +- 0.9678..."""

    kind: ClassVar[str] = "erf"
    CURVATURE: ClassVar[Pair] = enclosure("0.967882898076573399191320771742")

    def value(self, x):
        return _erf(x)

    def derivative(self, x):
        x = np.clip(x, -100.0, 100.0)
        return TWO_OVER_SQRT_PI[0] * np.exp(-(x * x))

    def derivative_rounding(self):
        return 16 * U  # (8u + x^2 e^(-x^2) u + 3u) * 1.13

    def rounding(self):
        return 0.0, 9 * U

    def slope_range(self):
        return 0.0, TWO_OVER_SQRT_PI[1]

    def curvature_range(self):
        return -self.CURVATURE[1], self.CURVATURE[1]

    def breaks(self):
        return (turn(ZERO, TWO_OVER_SQRT_PI),)


class _Wave(Activation):
    """What sine and cosine share: slopes and curvature in [-1, 1], and f' turning at every multiple of pi (plus pi/2)."""

    def rounding(self):
        return 0.0, 9 * U

    def derivative_rounding(self):
        return 16 * U

    def slope_range(self):
        return -1.0, 1.0

    def curvature_range(self):
        return -1.0, 1.0

    def breaks(self) -> tuple[Break, ...]:
        raise InputError("a periodic function has infinitely many breaks: ask slope_range_on", where=f"activation {self.kind}")

    def slope_range_on(self, lower, upper):
        """Hull of f' at the ends and of the turning points at pi n (sine) or pi (n + 1/2) (cosine) inside; [-1, 1] beyond |x| = 1e6."""
        lower, upper = np.broadcast_arrays(np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64))
        if not (lower <= upper).all():
            raise InputError("slopes were asked for on an inverted or NaN interval", where=f"activation {self.kind}")
        near = (np.abs(lower) <= 1e6) & (np.abs(upper) <= 1e6)
        a, b = np.where(near, lower, 0.0), np.where(near, upper, 0.0)
        shift = 0.0 if self.kind == "sin" else 0.5
        # n from first to last turn inside; the slack of 1e-6 covers the rounding of x / pi for |x| <= 1e6 many times over.
        first, last = np.ceil(a / math.pi - shift - 1e-6), np.floor(b / math.pi - shift + 1e-6)
        even, odd = ((last > first) | ((last == first) & (first % 2 == parity)) for parity in (0, 1))
        top, bottom = (even, odd) if self.kind == "sin" else (odd, even)
        ends = self.derivative(a), self.derivative(b)
        lo, hi = np.maximum(np.minimum(*ends) - 16 * U, -1.0), np.minimum(np.maximum(*ends) + 16 * U, 1.0)
        return np.where(bottom | ~near, -1.0, lo), np.where(top | ~near, 1.0, hi)


@dataclass(frozen=True)
class Sin(_Wave):
    """sin x."""

    kind: ClassVar[str] = "sin"

    def value(self, x):
        return np.sin(x)

    def derivative(self, x):
        return np.cos(x)


@dataclass(frozen=True)
class Cos(_Wave):
    """cos x."""

    kind: ClassVar[str] = "cos"

    def value(self, x):
        return np.cos(x)

    def derivative(self, x):
        return -np.sin(x)
