"""Activations made of straight pieces (and Hardswish, whose middle piece is a parabola)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError, UnsupportedLayerError
from .base import TINY, Activation, Break, Pair, U, enclosure, finite


def _kink(at: float, left: Any, right: Any) -> Break:
    return Break((at, at), (left, left), (right, right))


@dataclass(frozen=True)
class Relu(Activation):
    """max(x, 0). Slopes [0, 1]."""

    kind: ClassVar[str] = "relu"

    def value(self, x):
        return np.maximum(x, 0.0)

    def derivative(self, x):
        return np.where(np.isnan(x), x, (np.asarray(x) > 0).astype(np.float64))

    def rounding(self):
        return 0.0, 0.0

    def slope_range(self):
        return 0.0, 1.0

    def breaks(self):
        return (_kink(0.0, 0.0, 1.0),)


@dataclass(frozen=True)
class LeakyRelu(Activation):
    """x for x > 0, alpha x for x <= 0; any alpha, also negative or above 1. Slopes [min(1, alpha), max(1, alpha)]."""

    alpha: float = 0.01
    kind: ClassVar[str] = "leaky_relu"

    def __post_init__(self):
        finite(self.kind, alpha=self.alpha)

    def value(self, x):
        return np.where(np.asarray(x) > 0, x, self.alpha * np.asarray(x))

    def derivative(self, x):
        return np.where(np.isnan(x), x, np.where(np.asarray(x) > 0, 1.0, self.alpha))

    def rounding(self):
        # One product: alpha x (1 + d) + e, |d| <= u, |e| <= eta/2; nextafter pays for an underflow of u |alpha|.
        return (0.0, 0.0) if self.alpha in (0.0, 1.0, -1.0) else (math.nextafter(U * abs(self.alpha), math.inf), TINY)

    def slope_range(self):
        return min(1.0, self.alpha), max(1.0, self.alpha)

    def breaks(self):
        return (_kink(0.0, self.alpha, 1.0),)


@dataclass(frozen=True, eq=False)
class Prelu(Activation):
    """x for x > 0, slope x for x <= 0 with a slope per entry (an array broadcastable to x without its batch axis)."""

    slope: np.ndarray
    kind: ClassVar[str] = "prelu"

    def __post_init__(self):
        object.__setattr__(self, "slope", np.asarray(self.slope, dtype=np.float64))
        if not (self.slope.size and np.isfinite(self.slope).all()):
            raise InputError("prelu needs finite slopes", where="prelu.slope", found=f"shape {self.slope.shape}")

    def value(self, x):
        return np.where(np.asarray(x) > 0, x, self.slope * np.asarray(x))

    def derivative(self, x):
        return np.where(np.isnan(x), x, np.where(np.asarray(x) > 0, 1.0, self.slope))

    def rounding(self):
        return math.nextafter(U * float(np.abs(self.slope).max()), math.inf), TINY  # as leaky_relu

    def slope_range(self):
        return min(1.0, float(self.slope.min())), max(1.0, float(self.slope.max()))

    def breaks(self):
        return (_kink(0.0, self.slope, 1.0),)


@dataclass(frozen=True)
class Hardtanh(Activation):
    """min(max(x, min), max); ReLU6 is 0..6, a one-sided clamp has an infinite end. Slopes [0, 1]."""

    min: float = -1.0
    max: float = 1.0
    kind: ClassVar[str] = "hardtanh"

    def __post_init__(self):
        if not (self.min <= self.max and self.min < math.inf and self.max > -math.inf):
            raise InputError("hardtanh needs min <= max and a value in between", where="hardtanh", found=f"min {self.min}, max {self.max}")

    def value(self, x):
        return np.minimum(np.maximum(x, self.min), self.max)

    def derivative(self, x):
        x = np.asarray(x)
        return np.where(np.isnan(x), x, ((x > self.min) & (x < self.max) | (np.isinf(x) & (x >= self.min) & (x <= self.max))).astype(np.float64))

    def rounding(self):
        return 0.0, 0.0

    def slope_range(self):
        constant, identity = self.min == self.max, math.isinf(self.min) and math.isinf(self.max)
        return (1.0 if identity else 0.0), (0.0 if constant else 1.0)

    def breaks(self):
        inner = 0.0 if self.min == self.max else 1.0
        ends = (_kink(self.min, 0.0, inner), _kink(self.max, inner, 0.0))
        return tuple(b for b in ends if math.isfinite(b.at[0]))


@dataclass(frozen=True)
class Hardsigmoid(Activation):
    """min(max(x + 3, 0), 6) / 6. Slopes [0, 1/6]."""

    kind: ClassVar[str] = "hardsigmoid"
    SIXTH: ClassVar[Pair] = enclosure("0.166666666666666666666666666666")

    def value(self, x):
        return np.minimum(np.maximum(np.asarray(x) + 3.0, 0.0), 6.0) / 6.0

    def derivative(self, x):
        x = np.asarray(x)
        return np.where(np.isnan(x), x, np.where((x > -3) & (x < 3), self.SIXTH[1], 0.0))

    def derivative_rounding(self):
        return U

    def rounding(self):
        # x + 3 loses u |x + 3| <= 6u(1 + u) where it is not clipped, the division u: 6u/6 + u. Clipping is 1-Lipschitz.
        return 0.0, 3 * U

    def slope_range(self):
        return 0.0, self.SIXTH[1]

    def breaks(self):
        return Break((-3.0, -3.0), (0.0, 0.0), self.SIXTH), Break((3.0, 3.0), self.SIXTH, (0.0, 0.0))


@dataclass(frozen=True)
class Hardswish(Activation):
    """x min(max(x + 3, 0), 6) / 6: 0 below -3, x above 3. Slopes [-1/2, 3/2], both limits at -+3."""

    kind: ClassVar[str] = "hardswish"

    def value(self, x):
        x = np.asarray(x)
        middle = np.clip(x, -3.0, 3.0)
        return np.where(x >= 3, x, middle * (middle + 3.0) / 6.0)

    def derivative(self, x):
        x = np.asarray(x)
        middle = np.clip(x, -3.0, 3.0)
        return np.where(x >= 3, 1.0, np.where(x <= -3, 0.0, (2.0 * middle + 3.0) / 6.0))

    def derivative_rounding(self):
        return 4 * U  # an addition (|2x + 3| <= 9) and a division

    def rounding(self):
        # Three roundings of a number of size at most |x| |x + 3| / 6 <= 3 on [-3, 3]: gamma_3 * 3 < 10u.
        return 0.0, 10 * U

    def slope_range(self):
        return -0.5, 1.5

    def breaks(self):
        return _kink(-3.0, 0.0, -0.5), _kink(3.0, 1.5, 1.0)


@dataclass(frozen=True)
class Abs(Activation):
    """|x|. Slopes [-1, 1]."""

    kind: ClassVar[str] = "abs"

    def value(self, x):
        return np.abs(x)

    def derivative(self, x):
        return np.where(np.isnan(x), x, np.where(np.asarray(x) >= 0, 1.0, -1.0))

    def rounding(self):
        return 0.0, 0.0

    def slope_range(self):
        return -1.0, 1.0

    def breaks(self):
        return (_kink(0.0, -1.0, 1.0),)


@dataclass(frozen=True)
class Softshrink(Activation):
    """x - lambda above lambda, x + lambda below -lambda, 0 between; lambda >= 0 (a negative one makes it jump). Slopes [0, 1]."""

    lambda_: float = 0.5
    kind: ClassVar[str] = "softshrink"

    def __post_init__(self):
        finite(self.kind, **{"lambda": self.lambda_})
        if not self.lambda_ >= 0:
            what = "softshrink with a negative lambda jumps at 0: it has no finite Lipschitz constant"
            raise UnsupportedLayerError(what, where="softshrink.lambda", found=self.lambda_, expected="lambda >= 0")

    def value(self, x):
        return x - np.clip(x, -self.lambda_, self.lambda_)

    def derivative(self, x):
        return np.where(np.isnan(x), x, np.where((np.abs(x) > self.lambda_) | (self.lambda_ == 0), 1.0, 0.0))

    def rounding(self):
        return U, 0.0  # one subtraction whose exact result is at most |x|; no underflow

    def slope_range(self):
        return (1.0 if self.lambda_ == 0 else 0.0), 1.0

    def breaks(self):
        return () if self.lambda_ == 0 else (_kink(-self.lambda_, 1.0, 0.0), _kink(self.lambda_, 0.0, 1.0))
