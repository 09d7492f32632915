"""Both readings of a decimal: hulls contain both, intersections lie in both, and neither is a float wider than it must be."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.core.errors import InputError
from reach.sets.readings import decimal_of, enclose_decimals, inside_decimals, readings

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(x=FLOATS)
def test_readings_are_tight(x: float):
    low, high = readings(x)
    both = (Fraction(x), Fraction(Decimal(repr(x))))
    assert decimal_of(x) == both[1] and float(both[1]) == x
    assert low <= min(both) and max(both) <= high
    assert both[0] == both[1] == low == high or (math.nextafter(low, math.inf) == high and x in (low, high))


@given(x=FLOATS, y=FLOATS)
def test_hulls_and_intersections(x: float, y: float):
    x, y = min(x, y), max(x, y)
    outer, inner = enclose_decimals([x], [y]), inside_decimals([x], [y])
    assert outer.lower[0] <= min(Fraction(x), decimal_of(x)) and max(Fraction(y), decimal_of(y)) <= outer.upper[0]
    if inner is None:
        assert math.nextafter(math.nextafter(x, math.inf), math.inf) >= y
    else:
        assert max(Fraction(x), decimal_of(x)) <= inner.lower[0] <= inner.upper[0] <= min(Fraction(y), decimal_of(y))


def test_exact_numbers_do_not_move():
    for numbers in ([0.0, -3.0, 0.5, 2.0**40, -0.25], [math.inf], [-math.inf]):
        assert enclose_decimals(numbers, numbers).lower.tolist() == numbers == enclose_decimals(numbers, numbers).upper.tolist()
    assert inside_decimals([-math.inf, 0], [math.inf, 0]).upper.tolist() == [math.inf, 0.0]
    assert inside_decimals([0.1], [0.1]) is None and inside_decimals([], []).lower.shape == (0,)


def test_the_known_sides():
    """0.1 as a float is above a tenth, 0.3 below three tenths."""
    assert readings(0.1) == (np.nextafter(0.1, 0), 0.1) and readings(0.3) == (0.3, np.nextafter(0.3, 1))
    assert readings(5e-324)[0] <= Fraction("5e-324") <= readings(5e-324)[1]


@pytest.mark.parametrize(("lower", "upper"), [([math.nan], [1.0]), ([2.0], [1.0]), ([0.0, 1.0], [2.0])])
def test_no_box(lower, upper):
    for read in (enclose_decimals, inside_decimals):
        with pytest.raises(InputError):
            read(lower, upper)
    with pytest.raises(InputError):
        readings(math.nan)
