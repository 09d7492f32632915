"""Formulas of any kind -> exact sympy expressions: text, sympy, numbers; decimals are exact rationals, everything else is refused by name."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Rational, Real
from typing import Any

import sympy as sp

from certify.core.errors import InputError

from .refusals import refuse_head, refuse_value
from .text import MAX_EXPONENT, read_text

FUNCTIONS = frozenset({"sin", "cos", "tan", "cot", "sec", "csc", "exp", "log", "sinh", "cosh", "tanh", "atan"})
"""sympy functions with a rule; sums, products, powers and pi, E besides."""


def read_name(name: object, where: str) -> str:
    """The name of a state, input or disturbance: a Python identifier (keywords included) or a sympy Symbol of such a name; NFKC form.

    >>> read_name(sp.Symbol("lambda"), "states")
    'lambda'
    """
    if isinstance(name, sp.Symbol):
        _plain(name, where)
    text = name.name if isinstance(name, sp.Symbol) else name
    if not isinstance(text, str):
        raise InputError("a name is text or a sympy Symbol", where=where, found=repr(name)[:80])
    plain = unicodedata.normalize("NFKC", text)
    if not plain.isidentifier():
        several = len(text.replace(",", " ").split()) > 1
        hint = "one entry per name: " + repr(text.replace(",", " ").split()) if several else "letters, digits and _, not starting with a digit"
        raise InputError("this is not a name", where=where, found=repr(text), hint=hint)
    if plain in ("True", "False", "None"):
        raise InputError("this name is a Python constant", where=where, found=repr(text))
    return plain


def _plain(symbol: sp.Symbol, where: str) -> None:
    """Refuse a Symbol that promises more than a real number: sympy has simplified under the promise before we see the formula (sqrt(x**2) is x)."""
    more = {k for k, v in symbol.assumptions0.items() if sp.Symbol("x", real=True).assumptions0.get(k) != v}
    if more:
        found = f"{symbol.name} with {', '.join(sorted(k for k in more if symbol.assumptions0[k])) or ', '.join(sorted(more))}"
        hint = f'sympy.Symbol("{symbol.name}"), or text'
        raise InputError("a symbol carries an assumption that no state promises", where=where, found=found[:120], expected="a plain or real Symbol", hint=hint)


def read_names(values: Iterable[Any], where: str) -> tuple[str, ...]:
    """Names from a list of names and Symbols; a bare text is refused, because "x1 x2" would be read as letters."""
    if isinstance(values, str):
        parts = values.replace(",", " ").split()
        raise InputError("names are given as a list", where=where, found=repr(values), expected=repr(parts))
    if isinstance(values, sp.Symbol) or not isinstance(values, Iterable):
        raise InputError("names are given as a list", where=where, found=repr(values)[:80], expected='such as ["x1", "x2"]')
    return tuple(read_name(value, f"{where}[{i}]") for i, value in enumerate(values))


def read_expression(value: Any, names: Sequence[str], where: str) -> sp.Expr:
    """The exact sympy expression of text, a sympy expression, or a number, in plain Symbols called as `names`.

    A decimal in text, a Python float (by its shortest repr) and a sympy Float (of ordinary precision by its shortest repr, else by its printed
    digits) are exact rationals: 0.1 is 1/10. sympy's automatic simplifications apply (x/x is 1), so removable gaps of the domain are filled.

    Args:
        value: the formula.
        names: the declared names, as `read_name` returns them.
        where: place for messages, such as "rates[2] (of theta)".
    Raises:
        InputError: an unknown symbol or function, a function that is not smooth, something complex, infinite or undefined; names it.

    >>> read_expression("0.1*x*3 + E", ("x",), "rate"), read_expression(0.25, (), "rate")
    (3*x/10 + E, 1/4)
    """
    symbols = {name: sp.Symbol(name) for name in names}
    if isinstance(value, str):
        expression = read_text(value, symbols, where)
    elif isinstance(value, sp.Basic):
        expression = _from_sympy(value, symbols, where)
    else:
        expression = _from_number(value, where)
    _check(expression, where)
    return expression


def _from_number(value: Any, where: str) -> sp.Expr:
    if not isinstance(value, bool):
        if isinstance(value, Integral):
            return sp.Integer(int(value))
        if isinstance(value, Rational):
            return sp.Rational(int(value.numerator), int(value.denominator))
        if isinstance(value, Real | Decimal):
            try:
                exact = Fraction(value if isinstance(value, Decimal) else repr(float(value)))
            except (ValueError, OverflowError):
                raise InputError("a formula is not a finite number", where=where, found=repr(value)) from None
            return sp.Rational(exact.numerator, exact.denominator)
    raise InputError("a formula is text, a sympy expression or a number", where=where, found=repr(value)[:80])


def _from_sympy(value: sp.Basic, symbols: Mapping[str, sp.Symbol], where: str) -> sp.Expr:
    """The same tree with exact rationals and plain Symbols."""
    done: dict[sp.Basic, sp.Expr] = {}

    def exact(e: sp.Basic) -> sp.Expr:
        if e not in done:
            done[e] = rebuild(e)
        return done[e]

    def rebuild(e: sp.Basic) -> sp.Expr:
        if isinstance(e, sp.Symbol):
            _plain(e, where)
            name = unicodedata.normalize("NFKC", e.name)
            if name not in symbols:
                _unknown(e.name, symbols, where)
            return symbols[name]
        if isinstance(e, sp.Float):
            if not e.is_finite:
                refuse_value(sp.nan, where, e)
            return sp.Rational(repr(float(e)) if e._prec == 53 and abs(float(e)) < float("inf") else str(e))
        if e.is_Rational or e in (sp.pi, sp.E):
            return e
        name = type(e).__name__
        if not (e.is_Add or e.is_Mul or e.is_Pow or (name in FUNCTIONS and isinstance(e, sp.Function))):
            refuse_value(e, where)
            refuse_head(name, where)
            raise InputError(f"there is no rule for {name}", where=where, found=str(e)[:80], expected="sums, products, powers, pi, E, " + ", ".join(sorted(FUNCTIONS)))
        new = e.func(*(exact(argument) for argument in e.args))
        refuse_value(new, where, e)
        return new

    try:
        return exact(value)
    except RecursionError:
        raise InputError("a formula is nested too deeply", where=where, hint="split it") from None


def _unknown(name: str, known: Iterable[str], where: str) -> None:
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else "declare it as a state, an input or a disturbance"
    raise InputError(f"unknown symbol {name!r}", where=where, expected="one of: " + (", ".join(known) or "none"), hint=hint)


def _check(expression: sp.Expr, where: str) -> None:
    refuse_value(expression, where)
    for power in expression.atoms(sp.Pow):
        if power.exp.is_Rational and (abs(power.exp.p) > MAX_EXPONENT or power.exp.q > MAX_EXPONENT):
            raise InputError("a power is too large", where=where, found=str(power)[:80], expected=f"exponents up to {MAX_EXPONENT}")
        if power.base.is_Rational and not power.base > 0:
            raise InputError("a power of a number that is not positive is complex or undefined", where=where, found=str(power)[:80])


def affine_rows(values: Sequence[Any], names: Sequence[str], where: str = "controller inputs") -> tuple[list[list[Fraction]], list[Fraction]]:
    """(matrix, shift) with formula i = sum_j matrix[i][j] names[j] + shift[i] exactly, in rationals.

    Raises:
        InputError: a formula that is not affine in the names, or whose coefficients are not rational (pi, sqrt(2)); as `read_expression` besides.

    >>> affine_rows(["30", "x_lead - 0.5*x_ego"], ("x_lead", "x_ego"))
    ([[Fraction(0, 1), Fraction(0, 1)], [Fraction(1, 1), Fraction(-1, 2)]], [Fraction(30, 1), Fraction(0, 1)])
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError("formulas are given as a list", where=where, found=repr(values)[:80], expected='such as ["x1 - x2", "30"]')
    symbols = [sp.Symbol(name) for name in names]
    matrix, shift = [], []
    for i, value in enumerate(values):
        place = f"{where}[{i}]"
        formula = sp.expand(read_expression(value, names, place))
        slopes = [formula.diff(symbol) for symbol in symbols]
        rest = sp.expand(formula - sum((slope * symbol for slope, symbol in zip(slopes, symbols, strict=True)), sp.Integer(0)))
        if any(part.free_symbols for part in (*slopes, rest)):
            raise InputError("a formula is not affine", where=place, found=str(value)[:80], expected="a sum of numbers and of numbers times " + ", ".join(names))
        if not all(part.is_Rational for part in (*slopes, rest)):
            raise InputError("a coefficient is not rational", where=place, found=str(value)[:80], hint="write it as a decimal")
        matrix.append([Fraction(int(slope.p), int(slope.q)) for slope in slopes])
        shift.append(Fraction(int(rest.p), int(rest.q)))
    return matrix, shift
