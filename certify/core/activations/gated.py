"""SiLU, QuickGELU and Mish: x times a smooth gate. Error conventions as in sigmoids.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import TINY, Activation, Pair, U, enclosure, negative, turn
from .sigmoids import sigmoid, sigmoid_slope


@dataclass(frozen=True)
class Silu(Activation):
    """x sigmoid(x), also called swish. Slopes [-0.0998..., 1.0998...], curvature [-0.0369..., 1/2]."""

    kind: ClassVar[str] = "silu"
    AT: ClassVar[Pair] = enclosure("2.39935728051546766783273969728")
    SLOPES: ClassVar[tuple[Pair, Pair]] = (enclosure("-0.0998393201288669169581849243205"), enclosure("1.09983932012886691695818492432"))
    CURVATURE: ClassVar[Pair] = enclosure("-0.0369143731998931856382917797722")

    def value(self, x):
        return x * sigmoid(x)

    def derivative(self, x):
        x = np.clip(x, -800.0, 800.0)  # beyond, f' is within 1e-300 of its limit and inf * 0 must not arise
        return sigmoid(x) + x * sigmoid_slope(x)

    def derivative_rounding(self):
        return 32 * U  # 12u, 25u * max|x s'| (0.23), the addition 1.1u

    def rounding(self):
        return 16 * U, TINY  # |x| 12u and one rounding

    def slope_range(self):
        return self.SLOPES[0][0], self.SLOPES[1][1]

    def curvature_range(self):
        return self.CURVATURE[0], 0.5

    def breaks(self):
        return turn(negative(self.AT), self.SLOPES[0]), turn(self.AT, self.SLOPES[1])


@dataclass(frozen=True)
class QuickGelu(Activation):
    """x sigmoid(1.702 x). Slopes as SiLU, curvature 1.702 times that of SiLU."""

    kind: ClassVar[str] = "quick_gelu"
    AT: ClassVar[Pair] = enclosure("1.40972813191270970965495869405")
    CURVATURE: ClassVar[tuple[Pair, Pair]] = (enclosure("-0.0628282631862182019563726091723"), enclosure("0.851000000000000000000000000000"))

    def value(self, x):
        with np.errstate(over="ignore"):
            return x * sigmoid(1.702 * np.asarray(x))

    def derivative(self, x):
        z = 1.702 * np.clip(x, -500.0, 500.0)
        return sigmoid(z) + z * sigmoid_slope(z)

    def derivative_rounding(self):
        return 32 * U

    def rounding(self):
        # 1.702 as a float is within 2^-53 * 1.702 of the decimal, the product adds u: 2u |z| s'(z) <= 0.45u on top of SiLU's.
        return 16 * U, TINY

    def slope_range(self):
        return Silu.SLOPES[0][0], Silu.SLOPES[1][1]

    def curvature_range(self):
        return self.CURVATURE[0][0], self.CURVATURE[1][1]

    def breaks(self):
        return turn(negative(self.AT), Silu.SLOPES[0]), turn(self.AT, Silu.SLOPES[1])


@dataclass(frozen=True)
class Mish(Activation):
    """x tanh(log(1 + e^x)). Slopes [-0.1125..., 1.0884...], curvature [-0.0590..., 0.6442...]."""

    kind: ClassVar[str] = "mish"
    LOW: ClassVar[tuple[Pair, Pair]] = (enclosure("-2.25637639636079312000574854395"), enclosure("-0.112526122389462556407327901148"))
    HIGH: ClassVar[tuple[Pair, Pair]] = (enclosure("1.49057117945428545929441890819"), enclosure("1.08849816125172786128282936273"))
    CURVATURE: ClassVar[tuple[Pair, Pair]] = (enclosure("-0.0590333569539362929787750168028"), enclosure("0.644204637236972429517659047056"))

    def value(self, x):
        # With t = e^-|x|: x >= 0: (1+2t)/(1+2t+2t^2), x < 0: n/(n+2) with n = t(t+2); no cancellation, no overflow.
        x = np.asarray(x)
        t = np.exp(-np.abs(x))
        upper, lower = 1.0 + 2.0 * t, t * (t + 2.0)
        return x * np.where(x >= 0, upper / (upper + 2.0 * (t * t)), lower / (lower + 2.0))

    def derivative(self, x):
        # f' = T + x (1 - T^2) s, T = tanh(softplus), s = sigmoid; 1 - T^2 = 4 (1+e^x)^2 / (1 + (1+e^x)^2)^2 written in t as above.
        x = np.clip(x, -800.0, 800.0)
        t = np.exp(-np.abs(x))
        upper, lower = 1.0 + 2.0 * t, t * (t + 2.0)
        high, low = upper + 2.0 * (t * t), lower + 2.0
        factor = np.where(x >= 0, upper / high, lower / low)
        return factor + x * (4.0 * (1.0 + t) * np.where(x >= 0, t * t / (high * high), t / (low * low)))

    def derivative_rounding(self):
        return 64 * U  # factor 12u (see rounding), the second term 45u relative of at most 0.35

    def rounding(self):
        # x < 0: t 8u, t + 2 at most 4u, product: n within 13u, n/(n+2) <= 3/5 with condition 2/(n+2) <= 1: 15u * 3/5 = 9u.
        # x >= 0: ratio = 1/(1+q), q = 2t^2/(1+2t) <= 2/3 within 17u + 6.4u; condition q/(1+q) <= 0.4: 9.4u + 2u. Last product u.
        return 16 * U, TINY

    def slope_range(self):
        return self.LOW[1][0], self.HIGH[1][1]

    def curvature_range(self):
        return self.CURVATURE[0][0], self.CURVATURE[1][1]

    def breaks(self):
        return turn(*self.LOW), turn(*self.HIGH)
