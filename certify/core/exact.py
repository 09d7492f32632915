"""Exact on the way in, one outward rounding on the way out: sums, fractions, powers of two, dtypes. Imported through `core.rounding`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from .errors import InputError, SoundnessError
from .scalar import ETA, MAX, outward, scalar, special

__all__ = ["ETA", "exact_float64", "fraction_down", "fraction_up", "ldexp_up", "sum_down", "sum_up"]


def exact_float64(array: ArrayLike, what: str = "an array") -> np.ndarray:
    """The array as float64, or InputError when that would change a value (int64 beyond 2^53, longdouble, complex, objects)."""
    a = np.asarray(array)
    if a.dtype == np.float64:
        return a
    if a.dtype.kind in "iub":
        if a.dtype.itemsize == 8 and a.size and max(int(a.max()), -int(a.min())) > 2**53:
            raise InputError(f"{what} holds integers that float64 cannot represent", found=f"{a.dtype} beyond 2^53")
        return a.astype(np.float64)
    if a.dtype in (np.float16, np.float32):
        return a.astype(np.float64)
    if a.size == 0:
        return np.zeros(a.shape)
    raise InputError(f"{what} has a dtype that is not exact in float64", found=a.dtype, expected="float64, float32, float16, bool or integers")


def _sum(values: Iterable[float], upward: bool) -> float:
    data = exact_float64(values).ravel().tolist() if isinstance(values, np.ndarray) else [scalar(v) for v in values]
    if any(v != v for v in data):
        raise SoundnessError("a sum has no value: a term is NaN", where=f"term {next(i for i, v in enumerate(data) if v != v)} of {len(data)}")
    try:
        s = math.fsum(data)
        if math.isinf(s):  # an infinite term: fsum itself never overflows silently
            return s
        rest = math.fsum([*data, -s])  # not zero unless the sum is exact: fsum keeps every bit until its last rounding
        return outward(s, (rest > 0) - (rest < 0), upward)
    except ValueError:
        raise SoundnessError("a sum has no value", found="inf and -inf among the terms") from None
    except OverflowError:  # a partial sum overflowed; the sum itself may not
        return _fraction(sum(map(Fraction, data), Fraction(0)), upward)


def sum_up(values: Iterable[float]) -> float:
    """Smallest float64 >= the sum of the values (an empty sum is 0). NaN, or inf with -inf, raises SoundnessError.

    `math.fsum` rounds once; the sign of what it dropped is taken by a second call. Cost: about 0.1 us per term.

    >>> from certify.core.rounding import up
    >>> sum_up([0.5, 0.25]), sum_up([1.0, 1e-30]) == up(1.0), sum_up([1e308, 1e308, -1e308])
    (0.75, True, 1e+308)
    """
    return _sum(values, True)


def sum_down(values: Iterable[float]) -> float:
    """Largest float64 <= the sum of the values."""
    return _sum(values, False)


def _fraction(value: Fraction, upward: bool) -> float:
    try:
        q = float(value)  # int / int is correctly rounded in Python, subnormals included
    except OverflowError:
        q = math.inf if value > 0 else -math.inf
    if math.isinf(q):
        return special("a fraction", q, 0.0, 0.0, upward)
    exact = Fraction(q)
    return outward(q, (value > exact) - (value < exact), upward)


def fraction_up(value: Fraction) -> float:
    """Smallest float64 >= the rational number; the way decimal text enters: fraction_up(Fraction("0.1")).

    >>> from certify.core.rounding import down
    >>> fraction_up(Fraction("0.1")) == 0.1, fraction_down(Fraction("0.1")) == down(0.1), fraction_up(Fraction("0.25"))
    (True, True, 0.25)
    """
    return _fraction(Fraction(value), True)


def fraction_down(value: Fraction) -> float:
    """Largest float64 <= the rational number."""
    return _fraction(Fraction(value), False)


def ldexp_up(value: float, k: int) -> float:
    """Upper end of value 2^k: exact unless it is subnormal (rounded up) or overflows (inf, or the lowest finite float); -ldexp_up(-v, k) is the lower end.

    >>> ldexp_up(1.0, -1074) == ETA, ldexp_up(1.0, -2000) == ETA, ldexp_up(1.0, 1024)
    (True, True, inf)
    """
    value = scalar(value)
    if value == 0.0 or not math.isfinite(value):
        return special("a scaled number", value, value, 0.0, True)
    try:
        back = math.ldexp(value, k)
    except OverflowError:
        return math.inf if value > 0 else -MAX
    n, d = value.as_integer_ratio()
    nb, db = back.as_integer_ratio()
    rest = (n * db << k) - nb * d if k >= 0 else n * db - (nb * d << -k)
    return outward(back, (rest > 0) - (rest < 0), True)
