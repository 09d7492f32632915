"""Next-up and next-down, and scalar operations whose result is a bound: exact stays as it is, inexact is rounded outward.

The model of one operation: fl(a + b) = (a + b)(1 + d), fl(a b) = a b (1 + d) + e with |d| <= u, |e| <= eta / 2, d e = 0; the same for
a / b, and sqrt has no e. Hence down(fl) <= exact <= up(fl) for each single + - * / sqrt, also near underflow: the exact value lies
within half a gap of fl. Whether fl itself already is on the wanted side is decided with integers: every finite float is an integer
over a power of two, so the sign of (exact - fl) is exact and no error term can underflow. Imported through `core.rounding`.
"""

from __future__ import annotations

import math
from typing import overload

import numpy as np

from .errors import InputError, SoundnessError

U = 2.0**-53
ETA = 2.0**-1074
TINY = 2.0**-1000
MAX = float(np.finfo(np.float64).max)


@overload
def up(x: float) -> float: ...
@overload
def up(x: np.ndarray) -> np.ndarray: ...
def up(x):
    """The float64 above x (entrywise); inf stays inf, NaN stays NaN.

    >>> up(1.0) - 1.0 == 2 * U
    True
    """
    return np.nextafter(x, math.inf) if isinstance(x, np.ndarray) else math.nextafter(x, math.inf)


@overload
def down(x: float) -> float: ...
@overload
def down(x: np.ndarray) -> np.ndarray: ...
def down(x):
    """The float64 below x (entrywise); -inf stays -inf, NaN stays NaN."""
    return np.nextafter(x, -math.inf) if isinstance(x, np.ndarray) else math.nextafter(x, -math.inf)


def scalar(x: float) -> float:
    """x as a Python float, refused where that would change its value (an integer beyond 2^53)."""
    try:
        value = float(x)
    except OverflowError:
        value = math.inf
    if type(x) is not float and value != x and value == value:
        raise InputError("a number has no exact float64", found=repr(x), hint="use fraction_up and fraction_down")
    return value


def outward(computed: float, sign: int, upward: bool) -> float:
    """`computed` if it already lies on the wanted side of the exact value, else its neighbour; sign = sign(exact - computed)."""
    if upward:
        return up(computed) if sign > 0 else computed
    return down(computed) if sign < 0 else computed


def special(name: str, computed: float, a: float, b: float, upward: bool) -> float:
    """Ends for a NaN or infinite result, or an infinite operand (a limit, hence exact)."""
    if computed != computed:
        raise SoundnessError(f"{name} has no value", found=f"{a!r}, {b!r}", expected="operands that are not NaN and no inf - inf, 0 * inf, inf / inf")
    if math.isinf(a) or math.isinf(b) or math.isfinite(computed):
        return computed
    if computed > 0:  # a finite result beyond the range of float64
        return math.inf if upward else MAX
    return -MAX if upward else -math.inf


def _add(a: float, b: float, upward: bool) -> float:
    a, b = scalar(a), scalar(b)
    s = a + b
    if not math.isfinite(s):
        return special("a sum", s, a, b, upward)
    (na, da), (nb, db), (ns, ds) = a.as_integer_ratio(), b.as_integer_ratio(), s.as_integer_ratio()
    rest = (na * db + nb * da) * ds - ns * da * db
    return outward(s, (rest > 0) - (rest < 0), upward)


def _mul(a: float, b: float, upward: bool) -> float:
    a, b = scalar(a), scalar(b)
    p = a * b
    if not math.isfinite(p):
        return special("a product", p, a, b, upward)
    (na, da), (nb, db), (np_, dp) = a.as_integer_ratio(), b.as_integer_ratio(), p.as_integer_ratio()
    rest = na * nb * dp - np_ * da * db
    return outward(p, (rest > 0) - (rest < 0), upward)


def _div(a: float, b: float, upward: bool) -> float:
    a, b = scalar(a), scalar(b)
    if b == 0.0:
        raise SoundnessError("a division by zero has no value", found=f"{a!r} / {b!r}", hint="the caller must decide what a zero denominator means")
    q = a / b
    if not math.isfinite(q) or math.isinf(b):
        return special("a quotient", q, a, b, upward)
    (na, da), (nb, db), (nq, dq) = a.as_integer_ratio(), b.as_integer_ratio(), q.as_integer_ratio()
    rest = na * db * dq - nq * da * nb
    if nb < 0:
        rest = -rest
    return outward(q, (rest > 0) - (rest < 0), upward)


def _sqrt(a: float, upward: bool) -> float:
    a = scalar(a)
    if not a >= 0.0:
        raise SoundnessError("a square root has no real value", found=repr(a), expected="a number >= 0")
    s = math.sqrt(a)
    if math.isinf(s):
        return s
    (na, da), (ns, ds) = a.as_integer_ratio(), s.as_integer_ratio()
    rest = na * ds * ds - ns * ns * da
    return outward(s, (rest > 0) - (rest < 0), upward)


def add_up(a: float, b: float) -> float:
    """Smallest float64 >= a + b (inf on overflow). NaN or inf - inf raises SoundnessError.

    >>> add_up(1.0, 1.0), add_up(1.0, 2.0**-80) == up(1.0)
    (2.0, True)
    """
    return _add(a, b, True)


def add_down(a: float, b: float) -> float:
    """Largest float64 <= a + b (the largest finite float on overflow). NaN or inf - inf raises SoundnessError."""
    return _add(a, b, False)


def sub_up(a: float, b: float) -> float:
    """Smallest float64 >= a - b."""
    return _add(a, -b, True)


def sub_down(a: float, b: float) -> float:
    """Largest float64 <= a - b."""
    return _add(a, -b, False)


def mul_up(a: float, b: float) -> float:
    """Smallest float64 >= a b, also when the product underflows. 0 * inf raises SoundnessError.

    >>> mul_up(3.0, 0.5), mul_up(1e-200, 1e-200) == ETA
    (1.5, True)
    """
    return _mul(a, b, True)


def mul_down(a: float, b: float) -> float:
    """Largest float64 <= a b."""
    return _mul(a, b, False)


def div_up(a: float, b: float) -> float:
    """Smallest float64 >= a / b. b = 0 and inf / inf raise SoundnessError; finite / inf is 0."""
    return _div(a, b, True)


def div_down(a: float, b: float) -> float:
    """Largest float64 <= a / b. b = 0 and inf / inf raise SoundnessError; finite / inf is 0."""
    return _div(a, b, False)


def sqrt_up(a: float) -> float:
    """Smallest float64 >= sqrt(a). a < 0 and NaN raise SoundnessError.

    >>> sqrt_up(9.0), sqrt_up(2.0) > 2**0.5 or sqrt_down(2.0) < 2**0.5
    (3.0, True)
    """
    return _sqrt(a, True)


def sqrt_down(a: float) -> float:
    """Largest float64 <= sqrt(a). a < 0 and NaN raise SoundnessError."""
    return _sqrt(a, False)
