"""Taylor coefficients g^(i)(x) / i! of the functions of a plant, enclosed on intervals, by the checker's own formulas.

Each function returns order + 1 Intervals that hold for every x in the given one; see `values` for what the values rest on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from certify.core.errors import CertificateError
from certify.core.interval import Interval

from .values import HALF_PI, arc_tangent, hyperbolic_secant_squared, hyperbolic_tangent, integer_power, logarithm, real_power, require, trigonometric

_ONE = Interval.point(1.0)
PARTS = 48  # of an interval, where a recurrence is used


def coefficients(name: str, x: Interval, order: int, exponent: Any = None) -> list[Interval]:
    """Enclosures of g^(i)(x) / i!, i = 0 .. order; `exponent` is the rational p of "power".

    Raises:
        CertificateError: g is not smooth on the whole interval, or the checker has no formula for it.
    """
    if name not in _FUNCTIONS:
        raise CertificateError("the plant cannot be checked, because the checker has no formula for a function", found=name, expected=", ".join(sorted(_FUNCTIONS)))
    if not (np.isfinite(x.lower).all() and np.isfinite(x.upper).all()):
        raise CertificateError("an expression is unbounded on a stored set", found=name)
    return _FUNCTIONS[name](x, order) if name != "power" else _power(x, order, Fraction(exponent))


def _exponential(x: Interval, order: int) -> list[Interval]:
    out = [x.exp()]
    return [*out, *(out[0] / float(math.factorial(i)) for i in range(1, order + 1))]


def _logarithm(x: Interval, order: int) -> list[Interval]:
    out = [logarithm(x)]
    inverse = _ONE / x
    for i in range(1, order + 1):
        out.append(integer_power(inverse, i) * Interval.point(Fraction((-1) ** (i - 1), i)))
    return out


def _power(x: Interval, order: int, p: Fraction) -> list[Interval]:
    """binomial(p, i) x^(p - i); p a negative integer, or any rational on positive x."""
    if p.denominator == 1 and p < 0:
        require((x.lower > 0) | (x.upper < 0), "a division", x, "a divisor without zero")
    else:
        require(x.lower > 0, "a root or power", x, "a positive argument")
    out, binomial = [], Fraction(1)
    for i in range(order + 1):
        out.append(real_power(x, p - i) * Interval.point(binomial) if binomial != 1 else real_power(x, p - i))
        binomial *= (p - i) / Fraction(i + 1)
    return out


def _cycle(x: Interval, order: int, start: int) -> list[Interval]:
    sine, cosine = trigonometric(x)
    turns = [sine, cosine, -sine, -cosine]
    out = [turns[(start + i) % 4] for i in range(order + 1)]
    return [y if i < 2 else y / float(math.factorial(i)) for i, y in enumerate(out)]


def _in_parts(formula: Callable[[Interval, int], list[Interval]]) -> Callable[[Interval, int], list[Interval]]:
    """The hull of a formula's values on equal parts of each interval: recurrences forget how their terms depend on each other, less so on short intervals."""

    def better(x: Interval, order: int) -> list[Interval]:
        if (x.lower == x.upper).all():
            return formula(x, order)
        cuts = x.lower + (x.upper - x.lower) * (np.arange(1, PARTS) / PARTS)[:, None]
        ends = np.concatenate([x.lower[None], np.clip(cuts, x.lower, x.upper), x.upper[None]])
        found = formula(Interval(np.minimum(ends[:-1], ends[1:]).ravel(), np.maximum(ends[:-1], ends[1:]).ravel()), order)
        return [Interval(y.lower.reshape(PARTS, -1).min(0), y.upper.reshape(PARTS, -1).max(0)) for y in found]

    return better


def _hyperbolic_tangent(x: Interval, order: int) -> list[Interval]:
    """y' = 1 - y^2 as a recurrence of coefficients: (i + 1) y_(i+1) = -sum y_j y_(i-j), i >= 1; y_1 = 1 - y^2 by its own formula."""
    out = [hyperbolic_tangent(x)]
    if order >= 1:
        out.append(hyperbolic_secant_squared(x))
    for i in range(1, order):
        total = 2.0 * (out[0] * out[i])
        for j in range(1, i):
            total = total + out[j] * out[i - j]
        out.append(-total / float(i + 1))
    return out


def _arc_tangent(x: Interval, order: int) -> list[Interval]:
    """atan^(i)(x) / i! = cos(y)^i sin(i (y + pi / 2)) / i with y = atan x, i >= 1; cos y = 1 / sqrt(1 + x^2)."""
    y = arc_tangent(x)
    cosine = _ONE / (1.0 + x.square()).sqrt()
    out = [y]
    for i in range(1, order + 1):
        sine, _ = trigonometric((y + HALF_PI) * float(i))
        out.append(integer_power(cosine, i) * sine / float(i))
    return out


_FUNCTIONS: dict[str, Callable[..., list[Interval]]] = {
    "exp": _exponential,
    "log": _logarithm,
    "sin": lambda x, order: _cycle(x, order, 0),
    "cos": lambda x, order: _cycle(x, order, 1),
    "tanh": _in_parts(_hyperbolic_tangent),
    "atan": _in_parts(_arc_tangent),
    "power": _power,
}
