"""Inequalities, as text or in sympy, become exact formulas g with the meaning g(x) >= 0; an absolute value becomes two sides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import sympy as sp

from certify.core.errors import InputError

from ..dynamics.expression import read_expression
from .constants import short

_RELATION = re.compile(r"<=|>=|==|!=|=<|=>|<|>|≤|≥|≠|=")
_ABSOLUTE = re.compile(r"\b(Abs|abs|fabs)\s*\(")
_LESS, _GREATER = ("<=", "≤"), (">=", "≥")

Clause = tuple[sp.Expr, ...]
"""Alternatives: g_1(x) >= 0 or g_2(x) >= 0 or ..."""


def read_inequality(value: Any, states: Sequence[str], where: str) -> list[Clause]:
    """The conjunction of clauses that an inequality means.

    Args:
        value: text with one relation ("x1 >= 0.2") or a chain in one direction ("0 <= x1 <= 1"), or a sympy relation or And of them.
        states: names that may occur.
    Raises:
        InputError: a strict relation, an equation, a mistake in the text, an unknown name, more than one absolute value.

    >>> read_inequality("Abs(h) >= 100", ("h",), "")
    [(h - 100, -h - 100)]
    """
    if isinstance(value, str):
        return [clause for g, absolute in _from_text(value, states, where) for clause in _clauses(g, absolute, where)]
    if isinstance(value, sp.And):
        return [clause for part in value.args for clause in read_inequality(part, states, where)]
    if value in (sp.true, sp.false):
        raise InputError("an inequality does not depend on the states", where=where, found=str(value), hint="sympy decided it already; write it as text")
    if isinstance(value, sp.Or):
        raise InputError("a set described with Or is not supported", where=where, found=short(value), hint="Abs(x) >= c is; otherwise ask each part on its own")
    if isinstance(value, sp.GreaterThan | sp.LessThan):
        sides = (value.lhs, value.rhs) if isinstance(value, sp.GreaterThan) else (value.rhs, value.lhs)
        inner, absolute = {}, {}
        for i, part in enumerate(sorted(sp.Tuple(*sides).atoms(sp.Abs), key=str)):
            name = _fresh(i, states)
            inner[part], absolute[sp.Symbol(name)] = sp.Symbol(name), read_expression(part.args[0], states, where)
        names = (*states, *map(str, absolute))
        left, right = (read_expression(side.xreplace(inner), names, where) for side in sides)
        return list(_clauses(left - right, absolute, where))
    if isinstance(value, sp.core.relational.Relational):
        _refuse(value.rel_op, where, short(value))
    raise InputError("a set is a Box, a dict, a HalfSpace or an inequality", where=where, found=f"{type(value).__name__}: {short(value)}", expected='such as "x1 >= 0.2"')


def _from_text(text: str, states: Sequence[str], where: str) -> list[tuple[sp.Expr, dict[sp.Symbol, sp.Expr]]]:
    """(g, absolute values by placeholder) for every relation of the text."""
    operators, sides = _RELATION.findall(text), _RELATION.split(text)
    if not operators:
        raise InputError("an inequality has no relation", where=where, found=short(text), expected=">= or <=", hint=f"{short(text)} >= 0")
    for operator in operators:
        if operator not in _LESS + _GREATER:
            _refuse(operator, where, short(text))
    if len({operator in _LESS for operator in operators}) != 1:
        raise InputError("a chain of inequalities changes its direction", where=where, found=short(text), expected="a <= b <= c, or a >= b >= c")
    absolute: dict[sp.Symbol, sp.Expr] = {}
    read = [_side(side, states, absolute, f"{where}, in {short(text)!r}") for side in sides]
    pairs = zip(read, read[1:], strict=False)
    return [(b - a if operator in _LESS else a - b, absolute) for (a, b), operator in zip(pairs, operators, strict=True)]


def _side(text: str, states: Sequence[str], absolute: dict[sp.Symbol, sp.Expr], where: str) -> sp.Expr:
    """One side, its absolute values replaced by fresh symbols."""
    while (match := _ABSOLUTE.search(text)) is not None:
        depth, end = 1, match.end()
        while end < len(text) and depth:
            depth += (text[end] == "(") - (text[end] == ")")
            end += 1
        if depth:
            raise InputError("a parenthesis is not closed", where=where, found=short(text[match.start() :]))
        name = _fresh(len(absolute), states)
        inner = text[match.end() : end - 1]
        if _ABSOLUTE.search(inner):
            raise InputError("an absolute value inside an absolute value is not supported", where=where, found=short(text))
        absolute[sp.Symbol(name)] = read_expression(inner, states, where)
        text = f"{text[: match.start()]} {name} {text[end:]}"
    return read_expression(text, (*states, *map(str, absolute)), where)


def _fresh(i: int, states: Sequence[str]) -> str:
    name = f"absolute_{i}"
    while name in states:
        name += "_"
    return name


def _refuse(operator: str, where: str, found: str) -> None:
    if operator in ("<", ">"):
        hint = f"write {operator}=: a closed set is asked for, and a proof of it has a positive margin anyway"
        raise InputError("a strict inequality is not supported", where=where, found=found, expected="<= or >=", hint=hint)
    raise InputError("a set described by an equation or != is not supported", where=where, found=found, expected="<= or >=", hint="allow a tolerance: Abs(x1 - 1) <= 1e-6")


def _clauses(g: sp.Expr, absolute: dict[sp.Symbol, sp.Expr], where: str) -> list[Clause]:
    """g >= 0 without its absolute value: with g = a |h| + b, a > 0: a h + b >= 0 or -a h + b >= 0; a < 0: both."""
    g = sp.expand(g) if absolute else g
    used = [s for s in absolute if s in g.free_symbols]
    if not used:
        return [(g,)]
    symbol = used[0]
    factor = g.coeff(symbol)
    rest = sp.expand(g - factor * symbol)
    if len(used) > 1 or not factor.is_Rational or symbol in rest.free_symbols:
        raise InputError("an inequality with an absolute value has the form a*Abs(h) + b >= 0", where=where, expected="one Abs, times a number", hint="split it in two")
    h = absolute[symbol]
    both = (factor * h + rest, -factor * h + rest)
    return [both] if factor > 0 else [(both[0],), (both[1],)]
