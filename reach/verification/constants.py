"""Numbers of a specification: what they may mean, and floats around it."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Rational, Real
from typing import Any

import numpy as np
import sympy as sp

from certify.core.errors import InputError
from certify.core.rounding import fraction_down, fraction_up

from ..sets.readings import decimal_of


def meanings(value: Any, where: str) -> tuple[Fraction, Fraction] | float:
    """(least, greatest) exact value that a number of a specification may mean; an infinite one is returned as a float.

    A Python or numpy float means itself and its shortest decimal; an integer, Fraction, Decimal, sympy number or text is exact (a sympy Float is its decimal).

    Raises:
        InputError: NaN, or not a number.

    >>> meanings("0.1", "")[0], meanings(0.5, ""), meanings(float("-inf"), "")
    (Fraction(1, 10), (Fraction(1, 2), Fraction(1, 2)), -inf)
    """
    try:
        if isinstance(value, bool | np.bool_):
            raise ValueError
        if isinstance(value, sp.Float):
            exact = Fraction(repr(float(value)) if value._prec == 53 else str(value))
            return exact, exact
        if isinstance(value, sp.Rational):
            return (Fraction(int(value.p), int(value.q)),) * 2
        if isinstance(value, Integral | Rational | str | Decimal):
            exact = Fraction(int(value)) if isinstance(value, Integral) else Fraction(value)  # type: ignore[arg-type]
            return exact, exact
        if value in (sp.oo, -sp.oo):
            return math.inf if value == sp.oo else -math.inf
        if isinstance(value, Real):
            number = float(value)
            if math.isinf(number):
                return number
            if number == number:
                both = Fraction(number), decimal_of(number)
                return min(both), max(both)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        pass
    raise InputError("this is not a number", where=where, found=repr(value)[:80], expected='a number, or text such as "0.2" or "1/3"')


def floats(ends: tuple[Fraction, Fraction], where: str) -> tuple[float, float]:
    """Floats (low, high) with low <= least and greatest <= high; InputError beyond float64."""
    low, high = fraction_down(ends[0]), fraction_up(ends[1])
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError("a number is beyond the range of float64", where=where)
    return low, high


def around(ends: tuple[Fraction, Fraction], where: str) -> tuple[float, float]:
    """(c, r): a float c and a radius with both ends in [c - r, c + r]; r = 0 exactly when both are c."""
    low, high = floats(ends, where)
    c = low if low == high else float((ends[0] + ends[1]) / 2)
    exact = Fraction(c)
    return c, fraction_up(max(exact - ends[0], ends[1] - exact))


def short(value: Any) -> str:
    """Text of at most 80 characters, for messages."""
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
