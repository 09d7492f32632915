"""Exact constants of a plant as pairs of rationals around them: sums, products, powers and square roots of rationals, pi and E to fifty digits."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp

from certify.core.interval import Interval
from certify.core.rounding import fraction_down, fraction_up

Number = tuple[Fraction, Fraction]
"""(low, high) with the real number in between; equal for a rational one."""

_DIGITS = Fraction(1, 10**50)
_PI = Fraction("3.14159265358979323846264338327950288419716939937510")
_E = Fraction("2.71828182845904523536028747135266249775724709369995")
_MOST = 4000  # bits of a rational that is still computed with


def exact(value: int | Fraction) -> Number:
    """A rational as a pair."""
    return Fraction(value), Fraction(value)


def as_interval(value: Number) -> Interval:
    """The tightest float interval around both ends."""
    return Interval(np.array(fraction_down(value[0])), np.array(fraction_up(value[1])))


def around(value: Number) -> tuple[float, float]:
    """(c, r): the float nearest to the middle, and a radius around both ends."""
    c = float((value[0] + value[1]) / 2)
    return c, fraction_up(max(value[1] - Fraction(c), Fraction(c) - value[0]))


def rational(e: sp.Basic) -> Number | None:
    """The pair of an expression in rationals, pi and E with sums, products, integer powers and square roots; None for anything else."""
    if e.is_Rational:
        return exact(Fraction(int(e.p), int(e.q)))  # type: ignore[attr-defined]
    if e is sp.pi or e is sp.E:
        value = _PI if e is sp.pi else _E
        return value - _DIGITS, value + _DIGITS
    if e.is_Add or e.is_Mul:
        total = exact(0 if e.is_Add else 1)
        for part in e.args:
            other = rational(part)
            if other is None:
                return None
            total = (total[0] + other[0], total[1] + other[1]) if e.is_Add else _product(total, other)
        return total
    if e.is_Pow and e.args[1].is_Rational:
        base = rational(e.args[0])
        return None if base is None else _power(base, Fraction(int(e.args[1].p), int(e.args[1].q)))  # type: ignore[attr-defined]
    return None


def _product(a: Number, b: Number) -> Number:
    corners = [x * y for x in a for y in b]
    return min(corners), max(corners)


def _power(base: Number, p: Fraction) -> Number | None:
    """base^p for a positive base and p an integer or a half of one, of moderate size."""
    if not base[0] > 0 or p.denominator not in (1, 2) or abs(p) * max(v.numerator.bit_length() + v.denominator.bit_length() for v in base) > _MOST:
        return None
    low, high = (_root(base[0])[0], _root(base[1])[1]) if p.denominator == 2 else base
    n = p.numerator
    return (low**n, high**n) if n >= 0 else (high**n, low**n)


def _root(x: Fraction) -> Number:
    """Rationals around sqrt(x), 200 bits."""
    n = math.isqrt(int(x * (1 << 400)))
    return Fraction(n, 1 << 200), Fraction(n + 1, 1 << 200)
