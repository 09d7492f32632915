"""Integer trigonometry and comparisons in rationals, against mpmath."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf

from certify.proof import exact

fractions = st.fractions(min_value=0, max_value=Fraction(499, 1000), max_denominator=10**6)


@pytest.mark.parametrize("n", [*range(1, 40), 57, 114, 1000])
def test_the_unit_circle_is_within_one_u(n):
    table = exact.unit_circle(n)
    with mp.workdps(60):
        for q in range(2 * n):
            angle = mp.pi * q / n
            assert abs(mpf(table[q, 0]) - mp.cos(angle)) <= mpf(2) ** -53 and abs(mpf(table[q, 1]) - mp.sin(angle)) <= mpf(2) ** -53


@given(fractions)
def test_cosines_are_below_and_close(turn):
    with mp.workdps(60):
        true = mp.cos(mp.pi * turn.numerator / turn.denominator)
        found = exact.cosine_down(turn)
        assert mpf(found) <= true <= mpf(found) + mpf(2) ** -52


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False), st.fractions(min_value=0))
def test_covers_is_the_comparison_of_the_numbers(stored, true):
    assert exact.covers(stored, true) == (Fraction(stored) >= true)
    assert exact.covers_root(stored, true) == (Fraction(stored) ** 2 >= true)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nothing_covers_by_being_no_number(bad):
    assert not exact.covers(bad, 0) and not exact.covers_root(bad, 0)


@given(st.lists(st.floats(min_value=0, max_value=1e300), max_size=5))
def test_products_are_rounded_down(factors):
    true = Fraction(1)
    for f in factors:
        true *= Fraction(f)
    assert Fraction(exact.times_down(*factors)) <= true


@given(st.fractions(min_value=0, max_value=10**30))
def test_roots_are_rounded_up(square):
    assert Fraction(exact.root_up(square)) ** 2 >= square
