"""Polynomials in exact rational arithmetic, and the claims of the kernels as checks of any implementation (so that mutants can be handed in).

Floats are exact: an integer times 2^-1074. Nothing here uses the library's product tables; monomials are identified by their exponents.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

SHIFT = 1074


def integer(x: float) -> int:
    """x 2^1074, an integer for every finite float."""
    n, d = float(x).as_integer_ratio()
    return n << (SHIFT + 1 - d.bit_length())


def fractions(row) -> list[Fraction]:
    return [Fraction(float(x)) for x in row]


def value(ring, row, s: list[Fraction]) -> Fraction:
    """sum_a c_a s^a, exactly."""
    powers = [[x**e for e in range(ring.order + 1)] for x in s]
    total = Fraction(0)
    for c, exponents in zip(row, ring.exponents.tolist()):
        if c:
            term = Fraction(float(c))
            for x, e in zip(powers, exponents):
                term *= x[e]
            total += term
    return total


def product(ring, a, b) -> dict[tuple[int, ...], int]:
    """Exponents -> coefficient times 2^2148 of the whole product, nothing cut."""
    left = [(tuple(e), integer(x)) for e, x in zip(ring.exponents.tolist(), a) if x]
    right = [(tuple(e), integer(x)) for e, x in zip(ring.exponents.tolist(), b) if x]
    made: dict[tuple[int, ...], int] = {}
    for e, x in left:
        for g, y in right:
            key = tuple(i + j for i, j in zip(e, g))
            made[key] = made.get(key, 0) + x * y
    return made


def point(ring, rng: np.random.Generator) -> list[Fraction]:
    """A rational point of the domain: corners, zeros, thirds and dyadics; tau in [0, 1]."""
    s = []
    for _ in range(ring.variables):
        choices = (Fraction(-1), Fraction(1), Fraction(0), Fraction(int(rng.integers(-3, 4)), 3), Fraction(int(rng.integers(-64, 65)), 64))
        s.append(choices[int(rng.choice(5, p=(0.3, 0.3, 0.1, 0.1, 0.2)))])
    if ring.time:
        s[-1] = (s[-1] + 1) / 2
    return s


def multiply_holds(multiply, ring, a, ra: float, b, rb: float) -> bool:
    """The kernel's claim, coefficient by coefficient: rounding of what is kept + what is dropped + the operands' remainders <= r.

    An infinite or NaN remainder claims nothing, and is right only where something is beyond the range of float64.
    """
    tables, out = ring.tables, np.full(ring.size, np.nan)
    r = multiply(a, ra, b, rb, out, tables[0], tables[1], tables[2], tables[4])
    na, nb = sum(abs(integer(x)) for x in a), sum(abs(integer(x)) for x in b)
    if not np.isfinite(r):
        return Fraction(max(na + integer(ra), 1) * max(nb + integer(rb), 1), 1 << 2 * SHIFT) > Fraction(1e300)
    if not np.isfinite(out).all():
        return False
    full = product(ring, a, b)
    error = 0
    for exponents, computed in zip(ring.exponents.tolist(), out):
        error += abs((integer(computed) << SHIFT) - full.pop(tuple(exponents), 0))
    error += sum(abs(c) for c in full.values())
    error += na * integer(rb) + nb * integer(ra) + integer(ra) * integer(rb)
    return error <= integer(r) << SHIFT


def multiply_holds_at(multiply, ring, a, ra: float, b, rb: float, s: list[Fraction]) -> bool:
    """The same claim at one point of the domain, for the worst operands there: no table of the ring is used."""
    tables, out = ring.tables, np.empty(ring.size)
    r = multiply(a, ra, b, rb, out, tables[0], tables[1], tables[2], tables[4])
    if not np.isfinite(r):
        return True
    x, y, z = value(ring, a, s), value(ring, b, s), value(ring, out, s)
    return all(abs((x + i * Fraction(ra)) * (y + j * Fraction(rb)) - z) <= Fraction(r) for i in (-1, 0, 1) for j in (-1, 0, 1))


def range_holds(poly_range, ring, c, s: list[Fraction]) -> bool:
    """lo <= p(s) <= hi."""
    lo, hi = poly_range(c, ring.even)
    return bool(np.isfinite(lo) and np.isfinite(hi)) and Fraction(float(lo)) <= value(ring, c, s) <= Fraction(float(hi))


def horner_holds(horner, ring, outer, x, rx, s: list[Fraction]) -> bool:
    """|sum_j C_j (X(s) + d)^j - H(s)| <= r for every row, at the ends and the middle of |d| <= rx, for H, r = horner(outer, x, rx, ring)."""
    h, r = horner(outer, x, rx, ring)
    for c, row, slack, made, radius in zip(outer, x, rx, h, r):
        if not np.isfinite(radius):
            continue
        middle, got = value(ring, row, s), value(ring, made, s)
        for side in (-1, 0, 1):
            z = middle + side * Fraction(float(slack))
            if not abs(sum((Fraction(float(v)) * z**j for j, v in enumerate(c)), Fraction(0)) - got) <= Fraction(float(radius)):
                return False
    return True
