"""Sigmoid and tanh, and their relatives: softplus, log-sigmoid, tanhshrink, softsign.

Errors, with |fl(exp) - exp| <= 8u exp and so on (base.py). Only first-order terms are written; the stated constants
leave at least a twentieth for the products of errors, which are below 1e-14 of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import InputError
from .base import TINY, Activation, Pair, U, enclosure, finite, turn

ZERO: Pair = (0.0, 0.0)
TANH_CURVATURE = enclosure("0.769800358919501019345531707335")  # 4 / (3 sqrt 3)


def sigmoid(x):
    """1 / (1 + e^-x) within 12u (absolute): t = e^-|x| has error 8u t; x >= 0: 1/(1+t) moves by 8u t/(1+t)^2 <= 2u, two more roundings
    2u; x < 0: t/(1+t), relative 8u + 8u/2 + 2u of at most 1/2, 7u. Relative to the result it is within 16u in both cases."""
    t = np.exp(-np.abs(x))
    return np.where(np.asarray(x) >= 0, 1.0, t) / (1.0 + t)


def tanh(x):
    """Within 20u |tanh x|: m = expm1(-2|x|) in (-1, 0] is within 8u |m|; -m/(2+m) has relative condition 2/(2+m) <= 2: 16u, two roundings 2u."""
    with np.errstate(over="ignore"):
        m = np.expm1(-2.0 * np.abs(x))
    return np.copysign(-m / (2.0 + m), x)


def sigmoid_slope(x):
    """t / (1+t)^2 within 24u relative (8u + 8u + 4 roundings): the derivative of the sigmoid, at most 1/4."""
    t = np.exp(-np.abs(x))
    return t / ((1.0 + t) * (1.0 + t))


@dataclass(frozen=True)
class Sigmoid(Activation):
    """1 / (1 + e^-x). Slopes [0, 1/4], curvature +- sqrt(3)/18."""

    kind: ClassVar[str] = "sigmoid"
    CURVATURE: ClassVar[Pair] = enclosure("0.0962250448649376274181914634169")

    def value(self, x):
        return sigmoid(x)

    def derivative(self, x):
        return sigmoid_slope(x)

    def derivative_rounding(self):
        return 8 * U

    def rounding(self):
        return 0.0, 12 * U

    def slope_range(self):
        return 0.0, 0.25

    def curvature_range(self):
        return -self.CURVATURE[1], self.CURVATURE[1]

    def breaks(self):
        return (turn(ZERO, (0.25, 0.25)),)


@dataclass(frozen=True)
class Tanh(Activation):
    """tanh x. Slopes [0, 1], curvature +- 4/(3 sqrt 3)."""

    kind: ClassVar[str] = "tanh"

    def value(self, x):
        return tanh(x)

    def derivative(self, x):
        with np.errstate(over="ignore"):
            return 4.0 * sigmoid_slope(2.0 * np.asarray(x))

    def derivative_rounding(self):
        return 32 * U

    def rounding(self):
        return 0.0, 20 * U

    def slope_range(self):
        return 0.0, 1.0

    def curvature_range(self):
        return -TANH_CURVATURE[1], TANH_CURVATURE[1]

    def breaks(self):
        return (turn(ZERO, (1.0, 1.0)),)


@dataclass(frozen=True)
class Tanhshrink(Activation):
    """x - tanh x. Slopes [0, 1], curvature +- 4/(3 sqrt 3)."""

    kind: ClassVar[str] = "tanhshrink"

    def value(self, x):
        return x - tanh(x)

    def derivative(self, x):
        t = tanh(x)
        return t * t

    def derivative_rounding(self):
        return 48 * U  # twice 20u, one rounding

    def rounding(self):
        return 2 * U, 21 * U  # tanh 20u; the subtraction u |x - tanh x + 20u| <= u |x| + 20u^2

    def slope_range(self):
        return 0.0, 1.0

    def curvature_range(self):
        return -TANH_CURVATURE[1], TANH_CURVATURE[1]

    def breaks(self):
        return (turn(ZERO, ZERO),)


@dataclass(frozen=True)
class Softsign(Activation):
    """x / (1 + |x|). Slopes [0, 1], curvature [-2, 2]."""

    kind: ClassVar[str] = "softsign"

    def value(self, x):
        return x / (1.0 + np.abs(x))

    def derivative(self, x):
        d = 1.0 + np.abs(x)
        with np.errstate(over="ignore"):
            return 1.0 / (d * d)

    def derivative_rounding(self):
        return 6 * U

    def rounding(self):
        return 0.0, 3 * U  # two roundings of a result below 1

    def slope_range(self):
        return 0.0, 1.0

    def curvature_range(self):
        return -2.0, 2.0

    def breaks(self):
        return (turn(ZERO, (1.0, 1.0)),)


@dataclass(frozen=True)
class Softplus(Activation):
    """log(1 + e^(beta x)) / beta, the mathematical function (an executed one may switch to x above a threshold). Slopes [0, 1], curvature
    [0, beta/4]; beta < 0 is the mirror image -softplus_|beta|(-x), curvature [beta/4, 0]."""

    beta: float = 1.0
    kind: ClassVar[str] = "softplus"

    def __post_init__(self):
        finite(self.kind, beta=self.beta)
        if self.beta == 0:
            raise InputError("softplus divides by beta = 0", where="softplus.beta", expected="a number that is not 0")

    def value(self, x):
        x, b = np.asarray(x), abs(self.beta)
        with np.errstate(over="ignore"):
            small = np.log1p(np.exp(-np.abs(b * x))) / b
        return np.maximum(x, 0.0) + small if self.beta > 0 else np.minimum(x, 0.0) - small

    def derivative(self, x):
        with np.errstate(over="ignore"):
            return sigmoid(self.beta * np.asarray(x))

    def derivative_rounding(self):
        return 16 * U  # 12u and |z| s'(z) u <= 0.23u from z = beta x

    def rounding(self):
        # z = fl(beta x): e^-|z| moves by |z| e^-|z| u <= 0.37u (and eta/2), the library adds 8u: log1p moves by at most that (slope <= 1) and
        # its own 8u log 2; over beta: 14u/beta + u/beta; the last addition u |x| + u/beta.
        return 2 * U, math.nextafter(20 * U / abs(self.beta), math.inf) + TINY * max(1.0, 1 / abs(self.beta)) if 1 / abs(self.beta) < math.inf else math.inf

    def slope_range(self):
        return 0.0, 1.0

    def curvature_range(self):
        return (0.0, self.beta / 4 + TINY) if self.beta > 0 else (self.beta / 4 - TINY, 0.0)

    def breaks(self):
        return ()


@dataclass(frozen=True)
class Logsigmoid(Activation):
    """log(1 / (1 + e^-x)) = -softplus(-x). Slopes [0, 1], curvature [-1/4, 0]."""

    kind: ClassVar[str] = "logsigmoid"

    def value(self, x):
        return np.minimum(x, 0.0) - np.log1p(np.exp(-np.abs(x)))

    def derivative(self, x):
        return sigmoid(-np.asarray(x))

    def derivative_rounding(self):
        return 16 * U

    def rounding(self):
        return 2 * U, 20 * U  # as softplus with beta = 1

    def slope_range(self):
        return 0.0, 1.0

    def curvature_range(self):
        return -0.25, 0.0

    def breaks(self):
        return ()
