"""ELU, CELU, SELU: linear above zero, an exponential below."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import InputError, UnsupportedLayerError
from .base import TINY, Activation, Break, Pair, U, enclosure, finite


@dataclass(frozen=True)
class Elu(Activation):
    """x for x > 0, alpha (e^x - 1) for x <= 0. Slopes [0, max(1, alpha)], for alpha < 0 [alpha, 1]."""

    alpha: float = 1.0
    kind: ClassVar[str] = "elu"

    def __post_init__(self):
        finite(self.kind, alpha=self.alpha)

    def value(self, x):
        return np.where(np.asarray(x) > 0, x, self.alpha * np.expm1(np.minimum(x, 0.0)))

    def derivative(self, x):
        return np.where(np.asarray(x) > 0, 1.0, self.alpha * np.exp(np.minimum(x, 0.0)))

    def derivative_rounding(self):
        return 16 * U * abs(self.alpha) + TINY

    def rounding(self):
        # |expm1| <= 1: 8u by the library, u by the product; an underflow of either is eta-sized times max(1, |alpha|).
        return 0.0, 10 * U * abs(self.alpha) + TINY

    def slope_range(self):
        return min(0.0, self.alpha), max(1.0, self.alpha)

    def curvature_range(self):
        return (0.0, 1.0) if self.alpha == 1 else None

    def breaks(self):
        return (Break((0.0, 0.0), (self.alpha, self.alpha), (1.0, 1.0)),)


@dataclass(frozen=True)
class Celu(Activation):
    """x for x > 0, alpha (e^(x/alpha) - 1) for x <= 0; alpha > 0. Slopes [0, 1], curvature [0, 1/alpha]."""

    alpha: float = 1.0
    kind: ClassVar[str] = "celu"

    def __post_init__(self):
        finite(self.kind, alpha=self.alpha)
        if self.alpha == 0:
            raise InputError("celu divides by alpha = 0", where="celu.alpha", expected="alpha > 0")
        if self.alpha < 0:
            what = "celu with a negative alpha grows exponentially: it has no finite Lipschitz constant"
            raise UnsupportedLayerError(what, where="celu.alpha", found=self.alpha, expected="alpha > 0")

    def _scaled(self, x):
        with np.errstate(over="ignore"):
            return np.minimum(x, 0.0) / self.alpha

    def value(self, x):
        return np.where(np.asarray(x) > 0, x, self.alpha * np.expm1(self._scaled(x)))

    def derivative(self, x):
        return np.where(np.asarray(x) > 0, 1.0, np.exp(self._scaled(x)))

    def derivative_rounding(self):
        return 16 * U  # |z| e^z u <= 0.37u from z = x/alpha, 8u from exp

    def rounding(self):
        # z = fl(x/alpha) = (x/alpha)(1 + d) + e: expm1 moves by |z| e^z u <= 0.37u (z <= 0) and by eta/2, the library adds 8u, the
        # product u; all times alpha. Overflow of z gives -inf and the exact limit -alpha, e^z being below 2^-1000 there.
        return 0.0, 10 * U * self.alpha + TINY * max(1.0, self.alpha)

    def slope_range(self):
        return 0.0, 1.0

    def curvature_range(self):
        return 0.0, math.nextafter(1.0 / self.alpha, math.inf)

    def breaks(self):
        return (Break((0.0, 0.0), (1.0, 1.0), (1.0, 1.0)),)


@dataclass(frozen=True)
class Selu(Activation):
    """scale x for x > 0, scale alpha (e^x - 1) for x <= 0, with the published decimals. Slopes [0, scale alpha]."""

    kind: ClassVar[str] = "selu"
    SCALE: ClassVar[Pair] = enclosure("1.0507009873554804934193349852946")
    PRODUCT: ClassVar[Pair] = enclosure("1.7580993408473768599402175208123")

    def value(self, x):
        return np.where(np.asarray(x) > 0, self.SCALE[0] * np.asarray(x), self.PRODUCT[0] * np.expm1(np.minimum(x, 0.0)))

    def derivative(self, x):
        return np.where(np.asarray(x) > 0, self.SCALE[0], self.PRODUCT[0] * np.exp(np.minimum(x, 0.0)))

    def derivative_rounding(self):
        return 32 * U

    def rounding(self):
        # x > 0: the stored scale is within 2^-52 of the exact one (2u), the product adds u * 1.06: below 4u |x|.
        # x <= 0: stored product within 2u, library 8u, product u, all times 1.7581: below 2u + 16u.
        return 4 * U, 20 * U

    def slope_range(self):
        return 0.0, self.PRODUCT[1]

    def breaks(self):
        return (Break((0.0, 0.0), self.PRODUCT, self.SCALE),)
