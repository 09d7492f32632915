"""Short decimal text of a bound, rounded the safe way: what is printed is as true as what is stored."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal


def decimal_up(x: float, digits: int = 6) -> str:
    """Text of at most `digits` significant digits whose value is >= x: for upper ends.

    >>> decimal_up(2.0000000000000053), decimal_up(2.0), decimal_up(1e-12 / 3, 3), decimal_up(float("inf"))
    ('2.00001', '2', '3.34e-13', 'inf')
    """
    return _text(x, digits, ROUND_CEILING)


def decimal_down(x: float, digits: int = 6) -> str:
    """Text of at most `digits` significant digits whose value is <= x: for lower ends, radii and certified accuracies.

    >>> decimal_down(1.9999999999), decimal_down(0.5), decimal_down(123456789.0)
    ('1.99999', '0.5', '123456000')
    """
    return _text(x, digits, ROUND_FLOOR)


def _text(x: float, digits: int, rounding: str) -> str:
    if not math.isfinite(x):
        return str(float(x))
    value = Context(prec=digits, rounding=rounding).plus(Decimal(float(x))).normalize()
    if value == 0:
        return "0"
    return format(value, "f" if -5 <= value.adjusted() < 16 else "e").replace("e+", "e")
