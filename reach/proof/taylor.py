"""Taylor models of the checker: (c, r) stands for every function that differs from the polynomial c by at most r on the domain; a batch at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from certify.core.interval import Interval
from certify.core.rounding import TINY, U, up

from .monomials import Monomials, largest, norm, product, ranges
from .univariate import coefficients

Constant = tuple[float, float]  # (c, r): a real number in [c - r, c + r]


@dataclass(frozen=True, eq=False)
class Model:
    """B functions at once: c (M, B), r (B,)."""

    table: Monomials
    c: np.ndarray
    r: np.ndarray

    @classmethod
    def constant(cls, table: Monomials, number: Constant, width: int) -> Model:
        c = np.zeros((table.size, width))
        c[0] = number[0]
        return cls(table, c, np.full(width, number[1]))

    def range(self) -> Interval:
        """Enclosures of the functions' values on the domain."""
        lower, upper = ranges(self.table, self.c)
        return Interval(np.nextafter(lower - self.r, -math.inf), np.nextafter(upper + self.r, math.inf))


def add(parts: Sequence[Model], constant: Constant | None = None) -> Model:
    """The sum of the models and of one number. k terms: each coefficient within gamma(k) of the terms' sizes, here one addition at a time, u of each result."""
    total = parts[0]
    for other in parts[1:]:
        c = total.c + other.c
        total = Model(total.table, c, (total.r + other.r + U * norm(total.table, c)) * total.table.grow)
    if constant is not None:
        c = total.c.copy()
        c[0] += constant[0]
        total = Model(total.table, c, up(np.asarray((total.r + U * np.abs(c[0]) + constant[1]) * total.table.grow)))
    return total


def scale(a: Model, constant: Constant) -> Model:
    """A number times the model."""
    t, (c, r) = a.table, constant
    if r == 0.0 and math.frexp(c)[0] in (0.5, -0.5) and abs(c) >= 1.0:  # a power of two: exact
        return Model(t, c * a.c, up(np.asarray(abs(c) * a.r)))
    size = norm(t, a.c)
    return Model(t, c * a.c, ((abs(c) + r) * a.r + (U * abs(c) + r) * size) * t.grow + TINY)


def multiply(a: Model, b: Model) -> Model:
    """(a +- ra)(b +- rb): the truncated product; |a| rb + |b| ra + ra rb with |.| the largest value on the domain."""
    t = a.table
    c, rest = product(t, a.c, b.c)
    return Model(t, c, (rest + largest(t, a.c) * b.r + largest(t, b.c) * a.r + a.r * b.r) * t.grow + TINY)


def power(a: Model, n: int) -> Model:
    """a^n, n >= 1, one factor at a time."""
    result = a
    for _ in range(n - 1):
        result = multiply(result, a)
    return result


def compose(a: Model, name: str, exponent: object = None) -> Model:
    """g(a) for the function `name` of `univariate`: Taylor's formula at the middle m of the range, of degree K = order, with Lagrange's remainder.

    |g(x) - sum_{i <= K} g_i(m) (x - m)^i| <= sup |g_{K+1}| rho^(K+1) for every x within rho of m, g_i = g^(i) / i!.
    """
    t = a.table
    values = a.range()
    m = values.midpoint
    rho = up(np.maximum(values.upper - m, m - values.lower))
    order = t.order
    whole = coefficients(name, values, order + 1, exponent)[order + 1]
    sup = np.maximum(np.abs(whole.lower), np.abs(whole.upper))
    at = coefficients(name, Interval.point(m), order, exponent)
    d = a.c.copy()
    d[0] -= m
    x = Model(t, d, up(np.asarray((a.r + U * np.abs(d[0])) * t.grow)))
    h = _point(t, at[order])
    for i in range(order - 1, -1, -1):
        h = multiply(h, x)
        middle = at[i].midpoint
        c = h.c
        c[0] += middle
        h = Model(t, c, (h.r + U * np.abs(c[0]) + _radius(at[i], middle)) * t.grow)
    lagrange = sup
    for _ in range(order + 1):
        lagrange = lagrange * rho
    return Model(t, h.c, (h.r + lagrange) * t.grow + TINY)


def _radius(x: Interval, middle: np.ndarray) -> np.ndarray:
    return np.where(x.lower == x.upper, 0.0, up(np.asarray(np.maximum(x.upper - middle, middle - x.lower))))


def _point(t: Monomials, x: Interval) -> Model:
    c = np.zeros((t.size, len(x)))
    c[0] = x.midpoint
    return Model(t, c, _radius(x, c[0]))
