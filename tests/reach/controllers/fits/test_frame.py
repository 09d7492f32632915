"""t = (z - m) / w stays in [-1, 1]: exact rationals."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from reach.controllers.fits.frame import FLOOR, difference_up, frame

FLOATS = st.floats(-(2.0**1000), 2.0**1000)


@given(FLOATS, FLOATS)
@example(0.1, 0.3)
@example(-1e300, 1.0)
@example(5e-324, 1e-323)
@example(1.0, 1.0)
@example(-1.0, 1.0)
def test_every_z_has_a_t(a, b):
    lower, upper = min(a, b), max(a, b)
    m, w = frame(lower, upper)
    assert w >= FLOOR and Fraction(m) - Fraction(w) <= Fraction(lower) and Fraction(upper) <= Fraction(m) + Fraction(w)
    if upper - lower > 1e-10 * max(abs(lower), abs(upper)):  # and no more than rounding is added
        assert Fraction(w) <= (Fraction(upper) - Fraction(lower)) / 2 * (1 + Fraction(1, 10**5)) + Fraction(FLOOR)


@given(FLOATS, FLOATS)
def test_differences_round_up_and_only_when_needed(a, b):
    exact, got = Fraction(a) - Fraction(b), Fraction(float(difference_up(a, b)))
    assert got >= exact and (got == exact or Fraction(a - b) != exact)
    assert float(difference_up(3.0, 1.0)) == 2.0
