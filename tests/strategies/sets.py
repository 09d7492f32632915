"""One way to build every kind of set, with exact members: a class without an entry in BUILD fails the contract test.

BUILD[name](rng) gives (set, member), where member(rng) is one point of the set as exact fractions, extreme points among them.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from strategies.polynomials import coefficients, rings
from truth.polynomials import fractions, point, value

from certify.core.regions import Box
from reach.sets.bernstein import BernsteinForm
from reach.sets.box import BoxSet
from reach.sets.polyzonotope import PolynomialZonotope
from reach.sets.taylor import TaylorModel
from reach.sets.union import SetUnion
from reach.sets.zonotope import Zonotope

Member = Callable[[np.random.Generator], list[Fraction]]
KINDS = ("normal", "normal", "integers", "sparse", "zero", "ones", "wild", "cancelling", "lost", "decimal", "huge", "tiny")


def numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """An array of one kind of numbers each time."""
    return coefficients(rng, int(np.prod(shape)), str(rng.choice(KINDS))).reshape(shape)


def unit(rng: np.random.Generator) -> Fraction:
    """A number of [-1, 1], its ends first of all."""
    return Fraction(int(rng.choice([-1, 1]))) if rng.random() < 0.6 else Fraction(int(rng.integers(-7, 8)), 7)


def ends(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Finite ends of n intervals, some of zero width."""
    a, b = numbers(rng, n), numbers(rng, n)
    b = np.where(rng.random(n) < 0.25, a, b)
    return np.minimum(a, b), np.maximum(a, b)


def between(rng: np.random.Generator, lower: float, upper: float) -> Fraction:
    l, u, t = Fraction(float(lower)), Fraction(float(upper)), (unit(rng) + 1) / 2
    return l + (u - l) * t


def dimension(rng: np.random.Generator) -> int:
    return int(rng.integers(1, 4))


def build_box(rng: np.random.Generator) -> tuple[BoxSet, Member]:
    lower, upper = ends(rng, dimension(rng))
    open_below, open_above = rng.random((2, len(lower))) < 0.1
    region = Box(np.where(open_below, -np.inf, lower), np.where(open_above, np.inf, upper))

    def member(rng):
        x = [between(rng, l, u) for l, u in zip(lower, upper)]
        return [v - below * 10 ** int(rng.integers(0, 200)) + above * 10 ** int(rng.integers(0, 200)) for v, below, above in zip(x, open_below.tolist(), open_above.tolist())]

    return BoxSet(region), member


def build_zonotope(rng: np.random.Generator) -> tuple[Zonotope, Member]:
    n, m = dimension(rng), int(rng.integers(0, 6))
    z = Zonotope(numbers(rng, n), numbers(rng, n, m))

    def member(rng):
        eps = [unit(rng) for _ in range(m)]
        return [Fraction(float(c)) + sum((e * Fraction(float(g)) for e, g in zip(eps, row)), Fraction(0)) for c, row in zip(z.center, z.generators)]

    return z, member


def build_polynomial_zonotope(rng: np.random.Generator) -> tuple[PolynomialZonotope, Member]:
    n, m, r = dimension(rng), int(rng.integers(0, 5)), rings(rng, 3, 4, 35)
    r = r if not r.time else rings(rng, 0)  # its variables are all over [-1, 1]
    z = PolynomialZonotope(r, np.stack([numbers(rng, r.size) for _ in range(n)]), numbers(rng, n, m))

    def member(rng):
        s, eps = point(r, rng), [unit(rng) for _ in range(m)]
        return [value(r, row, s) + sum((e * g for e, g in zip(eps, fractions(line))), Fraction(0)) for row, line in zip(z.coefficients, z.generators)]

    return z, member


def build_taylor_model(rng: np.random.Generator) -> tuple[TaylorModel, Member]:
    n, r = dimension(rng), rings(rng, 3, 4, 35)
    lower, upper = ends(rng, n) if rng.random() < 0.8 else (np.zeros(n), np.zeros(n))
    t = TaylorModel(r, np.stack([numbers(rng, r.size) for _ in range(n)]), lower, upper)

    def member(rng):
        s = point(r, rng)
        return [value(r, row, s) + between(rng, l, u) for row, l, u in zip(t.coefficients, lower, upper)]

    return t, member


def build_bernstein_form(rng: np.random.Generator) -> tuple[BernsteinForm, Member]:
    f, n = int(rng.integers(0, 3)), dimension(rng)
    lower, upper = ends(rng, f)
    degrees = [int(rng.integers(0, 5)) if l < u else 0 for l, u in zip(lower, upper)]
    b = numbers(rng, n, *(d + 1 for d in degrees))
    form = BernsteinForm(b, lower, upper, np.abs(numbers(rng, n)) if rng.random() < 0.5 else None)

    def member(rng):
        y = [(unit(rng) + 1) / 2 for _ in range(f)]
        return [bernstein_value(row, y) + unit(rng) * Fraction(float(e)) for row, e in zip(form.coefficients, form.error)]

    return form, member


def bernstein_value(b: np.ndarray, y: list[Fraction]) -> Fraction:
    """sum_k b_k prod_j C(d_j, k_j) y_j^k_j (1 - y_j)^(d_j - k_j) in exact arithmetic."""
    from math import comb

    total = Fraction(0)
    for k in np.ndindex(b.shape):
        term = Fraction(float(b[k]))
        for i, d, t in zip(k, b.shape, y):
            term *= comb(d - 1, i) * t**i * (1 - t) ** (d - 1 - i)
        total += term
    return total


def build_union(rng: np.random.Generator) -> tuple[SetUnion, Member]:
    parts: list[Any] = []
    n = None
    while len(parts) < 3:
        build = (build_box, build_zonotope, build_polynomial_zonotope, build_taylor_model, build_bernstein_form)[int(rng.integers(0, 5))]
        made = build(rng)
        n = made[0].dimension if n is None else n
        parts += [made] if made[0].dimension == n else []
    return SetUnion(tuple(s for s, _ in parts)), lambda rng: parts[int(rng.integers(0, len(parts)))][1](rng)


BUILD: dict[str, Callable[[np.random.Generator], tuple[Any, Member]]] = {
    "BoxSet": build_box,
    "Zonotope": build_zonotope,
    "PolynomialZonotope": build_polynomial_zonotope,
    "TaylorModel": build_taylor_model,
    "BernsteinForm": build_bernstein_form,
    "SetUnion": build_union,
}
