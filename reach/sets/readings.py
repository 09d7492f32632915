"""What a decimal means: a float that was typed as a decimal is read both ways, as the float and as the decimal.

0.1 is no float: `Box([0], [0.1])` may mean the float nearest to a tenth, or a tenth. Claims hold for both readings, so initial boxes, disturbances
and unsafe sets take the hull of the two and goals their intersection. A float's decimal is its shortest text, `repr`; it differs from the float by
less than half a gap, so each end moves by one float at most.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from certify.core.errors import InputError
from certify.core.regions import Box
from certify.core.rounding import exact_float64, fraction_down, fraction_up


def decimal_of(x: float) -> Fraction:
    """The shortest decimal that rounds to the float x, exactly.

    >>> decimal_of(0.1), decimal_of(0.25), decimal_of(1e-4)
    (Fraction(1, 10), Fraction(1, 4), Fraction(1, 10000))
    """
    return Fraction(repr(float(x)))


def readings(x: float) -> tuple[float, float]:
    """(lower, upper): the tightest floats around both readings of x; infinite ends stay, NaN raises InputError.

    >>> readings(0.5), readings(0.1) == (math.nextafter(0.1, 0), 0.1)
    ((0.5, 0.5), True)
    """
    x = float(x)
    if x != x:
        raise InputError("a number is NaN", expected="a decimal")
    if math.isinf(x):
        return x, x
    both = (Fraction(x), decimal_of(x))
    return fraction_down(min(both)), fraction_up(max(both))


def enclose_decimals(lower: ArrayLike, upper: ArrayLike) -> Box:
    """The smallest float box that contains [lower, upper] in both readings of its numbers: initial sets, disturbances, unsafe sets.

    Raises:
        InputError: NaN, different shapes or inverted ends.

    >>> box = enclose_decimals([0.1, 0.5], [0.1, 1.0])
    >>> box.lower.tolist(), box.upper.tolist()
    ([0.09999999999999999, 0.5], [0.1, 1.0])
    """
    box = Box(exact_float64(lower, "lower"), exact_float64(upper, "upper"))
    return Box(_each(box.lower, lambda x: readings(x)[0]), _each(box.upper, lambda x: readings(x)[1]))


def inside_decimals(lower: ArrayLike, upper: ArrayLike) -> Box | None:
    """The largest float box inside [lower, upper] in both readings of its numbers: goals and safe sets. None where no float box is inside both.

    >>> inside_decimals([0.1], [0.3]).lower.tolist(), inside_decimals([0.1], [0.1])
    ([0.1], None)
    """
    box = Box(exact_float64(lower, "lower"), exact_float64(upper, "upper"))
    inner_lower, inner_upper = _each(box.lower, _greater), _each(box.upper, _smaller)
    return Box(inner_lower, inner_upper) if (inner_lower <= inner_upper).all() else None


def _greater(x: float) -> float:
    """Smallest float that is >= both readings."""
    return readings(x)[1]


def _smaller(x: float) -> float:
    """Largest float that is <= both readings."""
    return readings(x)[0]


def _each(values: np.ndarray, change) -> np.ndarray:
    return np.array([change(x) for x in values.ravel().tolist()], np.float64).reshape(values.shape)
