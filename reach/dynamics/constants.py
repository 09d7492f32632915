"""Exact constants -> floats that enclose them: (c, r) with the true number in [c - r, c + r]."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import sympy as sp
from mpmath import mp
from mpmath.ctx_iv import MPIntervalContext

from certify.core.errors import InputError
from certify.core.rounding import MAX, fraction_up

from .refusals import refuse_head

_BITS = 320


def enclose_rational(value: Fraction, where: str) -> tuple[float, float]:
    """(c, r): c the nearest float, r >= |value - c|, r = 0 exactly when value is a float.

    >>> enclose_rational(Fraction(1, 2), ""), enclose_rational(Fraction(1, 10), "")[1] < 1e-17
    ((0.5, 0.0), True)
    """
    return _around(value, value, where)


def enclose_number(expression: sp.Expr, where: str) -> tuple[float, float]:
    """(c, r) of an expression without symbols, such as sqrt(2)*pi/3: interval arithmetic with 320 bits, then one outward rounding.

    mpmath's intervals round each operation outward; atan and tanh are built from monotone or interval parts. Source of pi and e: mpmath's interval constants.

    Raises:
        InputError: undefined (log or a root of a negative number, a divisor that cannot be told from zero), complex, or beyond float64.
    """
    if expression.is_Rational:
        return enclose_rational(Fraction(int(expression.p), int(expression.q)), where)
    context = MPIntervalContext()
    context.prec = _BITS
    try:
        low, high = _interval(expression, context, where)._mpi_
        ends = _fraction(low, True), _fraction(high, False)
    except InputError:
        raise
    except (ValueError, ArithmeticError):  # mpmath's ComplexResult is a ValueError
        raise InputError("a constant has no finite real value that can be enclosed", where=where, found=str(expression)[:80]) from None
    return _around(*ends, where)


def _around(low: Fraction, high: Fraction, where: str) -> tuple[float, float]:
    middle = (low + high) / 2
    if abs(low) > Fraction(MAX) or abs(high) > Fraction(MAX):
        raise InputError("a constant is beyond the range of float64", where=where, expected=f"at most {MAX:.3g} in size")
    c = float(middle)
    exact = Fraction(c)
    return c, fraction_up(max(high - exact, exact - low))


def _fraction(end: Any, downward: bool) -> Fraction:
    """A rational at or outside one end of an mpmath interval (sign, mantissa, exponent, bits); ValueError unless finite and below 2^1100."""
    sign, mantissa, exponent, bits = end
    if mantissa == 0 and exponent == 0:
        return Fraction(0)
    if mantissa == 0 or exponent + bits > 1100:  # mantissa 0 with another exponent: infinity or NaN
        raise ValueError("not a finite float64")
    if exponent + bits < -4000:  # far below the smallest float: 0 or 2^-4000 is outside
        return Fraction(-int(sign) if downward else 1 - int(sign), 2**4000)
    value = Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    return -value if sign else value


def _interval(e: sp.Expr, context: Any, where: str) -> Any:
    """An mpmath interval around a number."""
    if e.is_Rational:
        return context.mpf(int(e.p)) / context.mpf(int(e.q))
    if e is sp.pi:
        return +context.pi
    if e is sp.E:
        return +context.e
    parts = [_interval(part, context, where) for part in e.args]
    if e.is_Add or e.is_Mul:
        total = context.mpf(0 if e.is_Add else 1)
        for part in parts:
            total = total + part if e.is_Add else total * part
        return total
    if e.is_Pow:
        return _power(parts[0], e.exp, parts[1], context)
    name = type(e).__name__
    if name not in _FUNCTIONS:
        refuse_head(name, where)
        raise InputError(f"there is no rule for the constant {name}", where=where, found=str(e)[:80], expected="pi, E and " + ", ".join(_FUNCTIONS))
    return _FUNCTIONS[name](parts[0], context)


def _power(base: Any, exponent: sp.Expr, value: Any, context: Any) -> Any:
    if exponent.is_Integer:
        n = int(exponent)
        return base**n if n >= 0 else 1 / _apart(base ** (-n))
    return context.exp(value * context.log(_positive(base)))


def _apart(x: Any) -> Any:
    if not (x.a > 0 or x.b < 0):
        raise ValueError("a divisor that cannot be told from zero")
    return x


def _positive(x: Any) -> Any:
    if not x.a > 0:
        raise ValueError("not proved positive")
    return x


def _atan(x: Any, context: Any) -> Any:
    """atan is increasing: mpmath's values at the ends with 64 bits to spare, moved outward by 2^-300 of themselves."""
    with mp.workprec(_BITS + 64):
        low, high = mp.atan(mp.make_mpf(x._mpi_[0])), mp.atan(mp.make_mpf(x._mpi_[1]))
        slack = mp.mpf(2) ** -300
        return context.mpf([low - abs(low) * slack, high + abs(high) * slack])


def _tanh(x: Any, context: Any) -> Any:
    """1 - 2 / (exp(2 x) + 1): x occurs once."""
    return 1 - 2 / (context.exp(2 * x) + 1)


_FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "exp": lambda x, c: c.exp(x),
    "log": lambda x, c: c.log(_positive(x)),
    "sin": lambda x, c: c.sin(x),
    "cos": lambda x, c: c.cos(x),
    "tan": lambda x, c: c.sin(x) / _apart(c.cos(x)),
    "cot": lambda x, c: c.cos(x) / _apart(c.sin(x)),
    "sec": lambda x, c: 1 / _apart(c.cos(x)),
    "csc": lambda x, c: 1 / _apart(c.sin(x)),
    "sinh": lambda x, c: (c.exp(x) - c.exp(-x)) / 2,
    "cosh": lambda x, c: (c.exp(x) + c.exp(-x)) / 2,
    "tanh": _tanh,
    "atan": _atan,
}
