"""Exact and correctly rounded numbers of the checker: rationals, square roots by their squares, pi, cosines without libm.

Everything here is integer arithmetic, so that no claim of the checker rests on a library's sine or on a printed constant.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np

from ..core.rounding import down, fraction_down, fraction_up, up

_BITS = 192
_ONE = 1 << _BITS


def covers(stored: float, exact: Fraction | int) -> bool:
    """stored >= exact, decided in rationals; False for NaN.

    >>> covers(0.1, Fraction(1, 10)), covers(float("nan"), 0)
    (True, False)
    """
    return math.isfinite(stored) and Fraction(stored) >= exact


def covers_root(stored: float, square: Fraction | int) -> bool:
    """stored >= sqrt(square), decided by squares.

    >>> covers_root(2**0.5, 2), covers_root(math.nextafter(2**0.5, 0), 2)
    (True, False)
    """
    return math.isfinite(stored) and stored >= 0 and Fraction(stored) ** 2 >= square


def root_up(square: Fraction) -> float:
    """A float >= sqrt(square), for messages and bounds: the nearest one where that is large enough, else the next."""
    root = math.sqrt(fraction_up(square))
    return root if Fraction(root) ** 2 >= square else up(root)


@functools.cache
def _pi() -> int:
    """floor(pi 2^192) within 64, by Machin's formula pi = 16 arctan(1/5) - 4 arctan(1/239)."""

    def arctan_inverse(n: int) -> int:
        total, term, k, sign = 0, _ONE // n, 1, 1
        while term:
            total += sign * (term // k)
            term //= n * n
            k, sign = k + 2, -sign
        return total

    return 16 * arctan_inverse(5) - 4 * arctan_inverse(239)


# Errors, in units of 2^-192: each arctan has at most 90 terms, each off by less than 2, so pi is off by less than 16*180 + 4*180 < 2^12.
# A series below has at most 60 terms for |x| <= 1, each off by less than 2 from its floor divisions and by at most 2^12 through x. So
# cosines and sines are within 2^-192 (60 * 2 + 2^13) < 2^-178, and rounding to float adds at most half a gap, 2^-54, of a number below 1.
_SLACK = Fraction(1, 1 << 178)


def _cosine_sine(q: int, n: int) -> tuple[int, int]:
    """cos(pi q/n), sin(pi q/n) times 2^192 for 0 <= q/n <= 1/4."""
    x = _pi() * q // n
    square = x * x >> _BITS
    cosine, sine, term, k = 0, 0, _ONE, 0
    while term:
        cosine += term if k % 4 == 0 else -term
        odd = (term * x >> _BITS) // (k + 1)
        sine += odd if k % 4 == 0 else -odd
        term = (term * square >> _BITS) // ((k + 1) * (k + 2))
        k += 2
    return cosine, sine


@functools.lru_cache(maxsize=32)
def unit_circle(n: int) -> np.ndarray:
    """(2n, 2) floats: cosine and sine of pi q / n for q = 0 .. 2n - 1, each within 2^-53 of the exact value.

    By octants: only 0 <= q/n <= 1/4 is summed, the rest are reflections, decided on the integers 4q and n.
    """
    table = np.empty((2 * n, 2))
    for q in range(2 * n):
        r, flips = q, []
        if r > n:
            r, flips = 2 * n - r, ["sine"]  # reflect in the real axis
        if 2 * r > n:
            r, flips = n - r, [*flips, "cosine"]  # reflect in the imaginary axis
        swap = 4 * r > n
        cosine, sine = _cosine_sine(n - 2 * r, 2 * n) if swap else _cosine_sine(r, n)
        if swap:
            cosine, sine = sine, cosine
        table[q] = (-1 if "cosine" in flips else 1) * float(Fraction(cosine, _ONE)), (-1 if "sine" in flips else 1) * float(Fraction(sine, _ONE))
    return table


def cosine_down(turn: Fraction) -> float:
    """A float <= cos(pi turn), for 0 <= turn < 1/2.

    >>> cosine_down(Fraction(1, 3)) <= 0.5 < cosine_down(Fraction(1, 3)) + 1e-15
    True
    """
    if 4 * turn <= 1:
        value = Fraction(_cosine_sine(turn.numerator, turn.denominator)[0], _ONE)
    else:
        rest = Fraction(1, 2) - turn
        value = Fraction(_cosine_sine(rest.numerator, rest.denominator)[1], _ONE)
    return max(fraction_down(value - _SLACK), 0.0)


def times_down(*factors: float) -> float:
    """A float <= the product of nonnegative factors."""
    value = 1.0
    for factor in factors:
        value = max(down(value * factor), 0.0)
    return value
