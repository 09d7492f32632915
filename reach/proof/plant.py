"""The checker's own reading of a plant: a walk over its exact sympy formulas, once in Taylor models and once in intervals with forward derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from certify.core.errors import CertificateError
from certify.core.interval import Interval

from . import taylor
from .numbers import Number, around, as_interval, exact, rational
from .univariate import coefficients
from .values import integer_power

_NAMES = ("sin", "cos", "exp", "log", "tanh", "atan")


class Walk:
    """One evaluation of formulas over an algebra: the value of every subexpression is made once.

    An algebra has add(parts, number), scale(part, number), multiply(a, b), power(a, n), function(name, a, exponent) and constant(number); a number is a pair of rationals
    around it (`numbers`). `constants`: whether the formulas have no symbols and are taken apart. Raises CertificateError for what it has no rule for.
    """

    def __init__(self, algebra: Any, symbols: dict[str, Any], constants: bool = False):
        self.algebra, self.constants = algebra, constants
        self.known: dict[sp.Basic, Any] = {sp.Symbol(name): value for name, value in symbols.items()}

    def __call__(self, e: sp.Basic) -> Any:
        if e not in self.known:
            self.known[e] = self._make(e)
        return self.known[e]

    def _make(self, e: sp.Basic) -> Any:
        algebra = self.algebra
        if not e.free_symbols:
            value = rational(e) if self.constants else number(e)
            if value is not None:
                return algebra.constant(value)
        if e.is_Add or e.is_Mul:
            fixed = [a for a in e.args if not (a.free_symbols or self.constants)]
            free = [self(a) for a in e.args if a.free_symbols or self.constants]
            factor = number(e.func(*fixed)) if fixed else None
            if e.is_Add:
                return algebra.add(free, factor)
            total = free[0]
            for part in free[1:]:
                total = algebra.multiply(total, part)
            return total if factor is None else algebra.scale(total, factor)
        if e.is_Pow:
            return self._power(e.base, e.exp)
        name, inner = type(e).__name__, e.args[0] if len(e.args) == 1 else None
        if inner is None:
            raise _no_rule(e)
        if name in _NAMES:
            return algebra.function(name, self(inner))
        if name in ("sinh", "cosh"):
            back = self(sp.exp(-inner))
            total = algebra.add([self(sp.exp(inner)), back if name == "cosh" else algebra.scale(back, exact(-1))], None)
            return algebra.scale(total, exact(Fraction(1, 2)))
        parts = {"tan": (sp.sin, sp.cos), "cot": (sp.cos, sp.sin), "sec": (None, sp.cos), "csc": (None, sp.sin)}.get(name)
        if parts is None:
            raise _no_rule(e)
        below = algebra.function("power", self(parts[1](inner)), Fraction(-1))
        return below if parts[0] is None else algebra.multiply(self(parts[0](inner)), below)

    def _power(self, base: sp.Expr, exponent: sp.Expr) -> Any:
        algebra = self.algebra
        if exponent.is_Rational:
            p = Fraction(int(exponent.p), int(exponent.q))
            return algebra.power(self(base), int(p)) if p.denominator == 1 and p > 0 else algebra.function("power", self(base), p)
        if not base.free_symbols:
            return algebra.function("exp", algebra.scale(self(exponent), number(sp.log(base))))
        log = algebra.function("log", self(base))
        inside = algebra.multiply(log, self(exponent)) if exponent.free_symbols else algebra.scale(log, number(exponent))
        return algebra.function("exp", inside)


def _no_rule(e: sp.Basic) -> CertificateError:
    return CertificateError("the plant cannot be checked, because the checker has no rule for an expression", found=str(e)[:120])


class Plain:
    """Intervals alone: for constants such as tan(pi/5)."""

    def constant(self, value: Number) -> Interval:
        return as_interval(value)

    def add(self, parts: Sequence[Interval], value: Number | None) -> Interval:
        total = parts[0] if value is None else parts[0] + as_interval(value)
        for part in parts[1:]:
            total = total + part
        return total

    def scale(self, a: Interval, value: Number) -> Interval:
        return a * as_interval(value)

    def multiply(self, a: Interval, b: Interval) -> Interval:
        return a * b

    def power(self, a: Interval, n: int) -> Interval:
        return integer_power(a, n)

    def function(self, name: str, a: Interval, exponent: Fraction | None = None) -> Interval:
        return coefficients(name, a.reshape(-1), 0, exponent)[0].reshape(a.shape)


def number(e: sp.Basic) -> Number:
    """Rationals around an expression without symbols: by `numbers` where that knows it, else through intervals."""
    found = rational(e)
    if found is not None:
        return found
    value = Walk(Plain(), {}, constants=True)(e)
    return Fraction(float(value.lower)), Fraction(float(value.upper))


class Taylor:
    """The algebra of `taylor.Model`, `width` functions at a time."""

    def __init__(self, table: Any, width: int):
        self.table, self.width = table, width

    def constant(self, value: Number) -> taylor.Model:
        return taylor.Model.constant(self.table, around(value), self.width)

    def add(self, parts: Sequence[taylor.Model], value: Number | None) -> taylor.Model:
        return taylor.add(parts, None if value is None else around(value))

    def scale(self, a: taylor.Model, value: Number) -> taylor.Model:
        return taylor.scale(a, around(value))

    def multiply(self, a: taylor.Model, b: taylor.Model) -> taylor.Model:
        return taylor.multiply(a, b)

    def power(self, a: taylor.Model, n: int) -> taylor.Model:
        return taylor.power(a, n)

    def function(self, name: str, a: taylor.Model, exponent: Fraction | None = None) -> taylor.Model:
        return taylor.compose(a, name, exponent)


@dataclass(frozen=True, eq=False)
class Slope:
    """Values (B,) and derivatives (B, N) of a function on B boxes."""

    value: Interval
    slope: Interval


class Forward:
    """Interval values with all first derivatives."""

    def __init__(self, width: int, count: int):
        self.zero = Interval.point(np.zeros((width, count)))
        self.width = width

    def symbols(self, names: Sequence[str], box: Interval) -> dict[str, Slope]:
        out = {}
        for j, name in enumerate(names):
            unit = np.zeros(self.zero.shape)
            unit[:, j] = 1.0
            out[name] = Slope(box[:, j], Interval.point(unit))
        return out

    def constant(self, value: Number) -> Slope:
        one = as_interval(value)
        return Slope(Interval(np.full(self.width, one.lower), np.full(self.width, one.upper)), self.zero)

    def add(self, parts: Sequence[Slope], value: Number | None) -> Slope:
        total, slope = parts[0].value, parts[0].slope
        for part in parts[1:]:
            total, slope = total + part.value, slope + part.slope
        return Slope(total if value is None else total + as_interval(value), slope)

    def scale(self, a: Slope, value: Number) -> Slope:
        return Slope(a.value * as_interval(value), a.slope * as_interval(value))

    def multiply(self, a: Slope, b: Slope) -> Slope:
        return Slope(a.value * b.value, _times(a.value, b.slope) + _times(b.value, a.slope))

    def power(self, a: Slope, n: int) -> Slope:
        outer = float(n) * integer_power(a.value, n - 1) if n > 1 else Interval.point(np.ones(self.width))
        return Slope(integer_power(a.value, n), _times(outer, a.slope))

    def function(self, name: str, a: Slope, exponent: Fraction | None = None) -> Slope:
        value, outer = coefficients(name, a.value, 1, exponent)
        return Slope(value, _times(outer, a.slope))


def _times(x: Interval, slope: Interval) -> Interval:
    return x.reshape(-1, 1) * slope


def walk_all(formulas: Sequence[sp.Expr], algebra: Any, symbols: dict[str, Any], where: Callable[[int], str]) -> list[Any]:
    """Every formula's value; an error names the formula."""
    walk, out = Walk(algebra, symbols), []
    for i, formula in enumerate(formulas):
        try:
            out.append(walk(formula))
        except CertificateError as error:
            raise CertificateError(error.what, where=where(i), found=error.found, expected=error.expected, hint=error.hint) from error
        except RecursionError:
            raise CertificateError("the plant cannot be checked, because a formula is nested too deeply", where=where(i)) from None
    return out
