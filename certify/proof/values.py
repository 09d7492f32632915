"""Activations in float64 with proved errors: the checker's own formulas.

`ACTIVATIONS[kind](node)` gives (function, relative, absolute) with |fl(f(x)) - f(x)| <= relative |x| + absolute for every finite float x.
Assumed (recorded in the certificate): exp, expm1, log1p, erf, sin and cos are within 4 ulp, |fl - exact| <= 8u |exact| + 4 eta; TINY pays
for the eta terms. First-order terms are written beside each formula; the stated constants leave room for products of errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..core.graph import Node
from ..core.rounding import TINY, U
from .slopes import parameter, shrinkage

Value = tuple[Callable[[np.ndarray], np.ndarray], float, float]


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x) within 12u of itself and TINY: the exponential 8u, two roundings; it overflows only where the value is below e^-709 < TINY."""
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-x))


def _tanh(x: np.ndarray) -> np.ndarray:
    """1 - 2 / (e^2x + 1): q = 2 / (e + 1) moves by 8u 2e / (1 + e)^2 <= 4u, its roundings 2u q <= 4u, the difference u: below 12u."""
    with np.errstate(over="ignore"):
        return 1.0 - 2.0 / (np.exp(2.0 * x) + 1.0)


def _softplus(x: np.ndarray, beta: float) -> np.ndarray:
    """beta > 0: max(x, 0) + log1p(e^-|beta x|) / beta. The product moves e^-|z| by |z| e^-|z| u <= 0.37u, the exponential 8u, log1p (slope
    <= 1) 8u log 2, the quotient u log 2: below 16u / beta, and the sum u (|x| + log 2 / beta)."""
    with np.errstate(over="ignore"):
        return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(beta * x))) / beta


def _mish(x: np.ndarray) -> np.ndarray:
    """x n / (n + 2), n = w (w + 2), w = e^min(x, 30): n within 18u, n / (n + 2) moves by 18u 2n / (n + 2)^2 <= 4.5u, three roundings; the cut is
    at 1 - n / (n + 2) < 2e-26. Below 10u |x|."""
    w = np.exp(np.minimum(x, 30.0))
    n = w * (w + 2.0)
    return x * (n / (n + 2.0))


def _gelu(x: np.ndarray) -> np.ndarray:
    """x (1 + erf(x / sqrt 2)) / 2: the argument within 2u moves erf by 2u max z erf'(z) <= u, the library 8u, 1 + erf 2u; times |x| / 2, and
    one more rounding: below 7u |x|. (0.7071... is the float nearest to 1 / sqrt 2; the half is exact.)"""
    from scipy.special import erf

    return 0.5 * x * (1.0 + erf(x * 0.70710678118654752440))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    """x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)): the argument z within 8u moves the sigmoid by 8u max |z| s'(z) <= 1.8u; 12u and u: below 16u |x|."""
    with np.errstate(over="ignore"):
        return x * sigmoid(1.59576912160573071176 * (x * (1.0 + 0.044715 * (x * x))))


def _erf(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return erf(x)


def _hardswish(x: np.ndarray) -> np.ndarray:
    """Three roundings of a number of size at most 3 (6 before the division): below 10u."""
    middle = np.clip(x, -3.0, 3.0)
    return np.where(x >= 3.0, x, middle * (middle + 3.0) / 6.0)


def _elu(node: Node) -> Value:
    alpha = parameter(node, "alpha", 1.0)
    return lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0))), 0.0, 10 * U * abs(alpha) + TINY


def _celu(node: Node) -> Value:
    """The quotient z = x / alpha moves expm1 by |z| e^z u <= 0.37u; an overflowing one gives the limit -alpha."""
    alpha = parameter(node, "alpha", 1.0)

    def value(x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0) / alpha))

    return value, 0.0, 10 * U * alpha + TINY * max(1.0, alpha)


def _selu(node: Node) -> Value:
    """The published decimals as floats (within u), the product of two of them 3u, expm1 8u, two roundings: below 20u."""
    return lambda x: np.where(x > 0, 1.0507009873554804934 * x, 1.7580993408473768600 * np.expm1(np.minimum(x, 0.0))), 4 * U, 24 * U


def _leaky(node: Node) -> Value:
    alpha = parameter(node, "alpha", 0.01)
    return lambda x: np.where(x > 0, x, alpha * x), math.nextafter(U * abs(alpha), math.inf), TINY


def _prelu(node: Node) -> Value:
    slope = np.asarray(node.float64("slope"))
    return lambda x: np.where(x > 0, x, slope * x), math.nextafter(U * float(np.abs(slope).max()), math.inf), TINY


def _soft(node: Node) -> Value:
    """beta < 0 is the mirror image: softplus_beta(x) = -softplus_|beta|(-x)."""
    beta = parameter(node, "beta", 1.0)
    size = abs(beta)
    absolute = 20 * U / size * (1 + 4 * U) + TINY * max(1.0, 1.0 / size)
    return (lambda x: _softplus(x, size)) if beta > 0 else (lambda x: -_softplus(-x, size)), 2 * U, absolute


def _hardtanh(node: Node) -> Value:
    low, high = parameter(node, "min", -1.0, infinite=True), parameter(node, "max", 1.0, infinite=True)
    return lambda x: np.minimum(np.maximum(x, low), high), 0.0, 0.0


def _softshrink(node: Node) -> Value:
    size = shrinkage(node)
    return lambda x: x - np.clip(x, -size, size), U, 0.0


def _gelus(node: Node) -> Value:
    return (_gelu, 8 * U, TINY) if node.attrs.get("approximate", "none") == "none" else (_gelu_tanh, 16 * U, TINY)


_PLAIN: dict[str, Value] = {
    "relu": (lambda x: np.maximum(x, 0.0), 0.0, 0.0),
    "abs": (np.abs, 0.0, 0.0),
    "sigmoid": (sigmoid, 0.0, 12 * U),
    "tanh": (_tanh, 0.0, 12 * U),
    "tanhshrink": (lambda x: x - _tanh(x), 2 * U, 14 * U),
    "softsign": (lambda x: x / (1.0 + np.abs(x)), 0.0, 3 * U),
    "logsigmoid": (lambda x: -_softplus(-x, 1.0), 2 * U, 20 * U),
    "silu": (lambda x: x * sigmoid(x), 14 * U, TINY),
    "quick_gelu": (lambda x: x * sigmoid(1.702 * np.clip(x, -1e300, 1e300)), 16 * U, TINY),  # 1.702 and the product 2u: 0.45u more
    "mish": (_mish, 12 * U, TINY),
    "erf": (_erf, 0.0, 9 * U),
    "sin": (np.sin, 0.0, 9 * U),
    "cos": (np.cos, 0.0, 9 * U),
    "hardsigmoid": (lambda x: np.clip(x + 3.0, 0.0, 6.0) / 6.0, 0.0, 3 * U),  # x + 3 is at most 6 where it counts: 6u / 6 + u
    "hardswish": (_hardswish, 0.0, 10 * U),
}
_WITH_PARAMETERS: dict[str, Callable[[Node], Value]] = {
    "leaky_relu": _leaky, "prelu": _prelu, "elu": _elu, "celu": _celu, "selu": _selu, "softplus": _soft, "hardtanh": _hardtanh, "softshrink": _softshrink,
    "gelu": _gelus,
}  # fmt: skip
KINDS = frozenset([*_PLAIN, *_WITH_PARAMETERS])


def value_of(node: Node) -> Value:
    """(function, relative, absolute) of an activation node whose slope `slopes.slope` knows."""
    kind = node.attrs["kind"]
    return _PLAIN[kind] if kind in _PLAIN else _WITH_PARAMETERS[kind](node)
