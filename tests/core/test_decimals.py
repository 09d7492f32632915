"""Printed bounds stay bounds."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from certify.core.decimals import decimal_down, decimal_up

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(x=FLOATS, digits=st.integers(1, 20))
def test_text_is_on_the_safe_side_and_near(x, digits):
    low, exact, high = Fraction(decimal_down(x, digits)), Fraction(x), Fraction(decimal_up(x, digits))
    assert low <= exact <= high
    assert high - low <= abs(exact) * Fraction(11, 10 ** (digits))
    assert len(decimal_up(x, digits).lstrip("-0.").split("e")[0].replace(".", "").rstrip("0")) <= digits


@given(x=st.integers(-999_999, 999_999))
def test_short_numbers_are_printed_exactly(x):
    for scale in (1, 4, 1024):
        assert Fraction(decimal_up(x / scale, 17)) == Fraction(decimal_down(x / scale, 17)) == Fraction(x, scale)


def test_what_is_not_finite():
    assert decimal_up(float("inf")) == "inf" and decimal_down(float("-inf")) == "-inf" and decimal_up(float("nan")) == "nan"
