"""Region: the set of a specification in normal form, a conjunction of clauses; a clause is one constraint, or alternatives of which one must hold."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from certify.core.errors import InputError
from certify.core.regions import Box

from ..dynamics.builder import build_tape
from ..dynamics.expression import read_name
from ..dynamics.tape import Tape
from ..specification import HalfSpace
from .constants import around, floats, meanings, short
from .inequalities import read_inequality


@dataclass(frozen=True, eq=False)
class Affine:
    """c . x <= d, where every coefficient is in [normal - spread, normal + spread] and d in [low, high] (all readings of the user's numbers).

    The violation is v(x) = c . x - d: the constraint holds where v <= 0.
    """

    text: str
    normal: np.ndarray
    spread: np.ndarray
    low: float
    high: float
    exact: tuple[tuple[tuple[Fraction, Fraction], ...], tuple[Fraction, Fraction]] = field(repr=False)

    def violation(self, states: np.ndarray) -> np.ndarray:
        """v at states (..., n): an estimate."""
        return states @ self.normal - float(sum(self.exact[1]) / 2)


@dataclass(frozen=True, eq=False)
class Smooth:
    """g(x) >= 0 for an exact formula g; the violation is v = -g. It holds nowhere where g is undefined."""

    text: str
    expression: sp.Expr
    tape: Tape = field(repr=False)

    def violation(self, states: np.ndarray) -> np.ndarray:
        """v at states (..., n): an estimate; NaN where g is undefined."""
        return -self.tape.evaluate(states)[..., 0]


Constraint = Affine | Smooth


@dataclass(frozen=True, eq=False)
class Region:
    """{x : in every clause some constraint holds}. `constraints` lists them all, `clauses` their positions."""

    constraints: tuple[Constraint, ...]
    clauses: tuple[tuple[int, ...], ...]
    dimension: int

    @property
    def affine(self) -> bool:
        return all(isinstance(c, Affine) for c in self.constraints)

    def violation(self, states: np.ndarray) -> np.ndarray:
        """max over clauses of the min over alternatives of v, at states (..., n): an estimate, <= 0 inside the region."""
        v = np.stack([c.violation(states) for c in self.constraints], axis=-1)
        return np.stack([v[..., list(clause)].min(axis=-1) for clause in self.clauses], axis=-1).max(axis=-1)

    def describe(self, clause: int) -> str:
        return " or ".join(dict.fromkeys(self.constraints[i].text for i in self.clauses[clause]))

    def __str__(self) -> str:
        text = ", ".join(self.describe(i) for i in range(len(self.clauses)))
        return text if len(text) <= 200 else text[:197] + "..."


def read_region(value: Any, states: Sequence[str], where: str) -> Region:
    """The region that a specification's set means over `states`.

    Raises:
        InputError: see `reach.specification`; also a set without any condition, which would say nothing.
    """
    clauses: list[tuple[Constraint, ...]] = []
    _collect(value, tuple(states), where, clauses)
    if not clauses:
        raise InputError("a set has no finite end: it says nothing", where=where, found=short(repr(value)), expected="at least one condition")
    constraints = [c for clause in clauses for c in clause]
    starts = np.cumsum([0, *(len(clause) for clause in clauses)]).tolist()
    return Region(tuple(constraints), tuple(tuple(range(a, b)) for a, b in zip(starts, starts[1:], strict=False)), len(states))


def _collect(value: Any, states: tuple[str, ...], where: str, clauses: list[tuple[Constraint, ...]]) -> None:
    if isinstance(value, Box):
        clauses += _from_box(value, states, where)
    elif isinstance(value, Mapping):
        for key, ends in value.items():
            i = _state(key, states, where)
            clauses += _faces(states, i, *_pair(ends, f"{where}, {states[i]}"), f"{where}, {states[i]}")
    elif isinstance(value, HalfSpace):
        clauses.append((_half_space(value, states, f"{where}, HalfSpace"),))
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            _collect(part, states, where, clauses)
    else:
        made = read_inequality(value, states, where)
        text = value.strip() if isinstance(value, str) and len(made) == 1 else None
        clauses += [tuple(_from_formula(g, states, where, text) for g in clause) for clause in made]


def _from_box(box: Box, states: tuple[str, ...], where: str) -> list[tuple[Constraint, ...]]:
    if box.lower.shape != (len(states),):
        raise InputError("a set has another dimension than the plant", where=where, found=f"shape {box.lower.shape}", expected=f"{len(states)} states: {', '.join(states)}")
    rows = enumerate(zip(box.lower.tolist(), box.upper.tolist(), strict=True))
    return [clause for i, (low, high) in rows for clause in _faces(states, i, low, high, f"{where}, {states[i]}")]


def _pair(ends: Any, where: str) -> tuple[Any, Any]:
    if not isinstance(ends, str):
        try:
            low, high = ends
            return -math.inf if low is None else low, math.inf if high is None else high
        except (TypeError, ValueError):
            pass
    raise InputError("a state's interval is a pair", where=where, found=repr(ends)[:80], expected="(low, high); None or an infinite end is free")


def _faces(states: tuple[str, ...], i: int, low: Any, high: Any, where: str) -> list[tuple[Constraint, ...]]:
    """low <= x_i <= high: one clause per finite end."""
    below, above = meanings(low, where), meanings(high, where)
    if below == math.inf or above == -math.inf or (isinstance(below, tuple) and isinstance(above, tuple) and below[0] > above[1]):
        raise InputError("an interval is inverted or empty", where=where, found=f"({low}, {high})", expected="low <= high")
    made: list[tuple[Constraint, ...]] = []
    if isinstance(below, tuple):
        made.append((_affine(f"{states[i]} >= {low}", {i: (Fraction(-1),) * 2}, (-below[1], -below[0]), len(states), where),))
    if isinstance(above, tuple):
        made.append((_affine(f"{states[i]} <= {high}", {i: (Fraction(1),) * 2}, above, len(states), where),))
    return made


def _state(key: Any, states: tuple[str, ...], where: str) -> int:
    name = read_name(key, where) if isinstance(key, sp.Symbol) else key
    if isinstance(name, str) and name in states:
        return states.index(name)
    close = difflib.get_close_matches(str(name), states, 1)
    raise InputError(f"the plant has no state {str(name)!r}", where=where, expected="one of: " + ", ".join(states), hint=f"did you mean {close[0]!r}?" if close else None)


def _half_space(value: HalfSpace, states: tuple[str, ...], where: str) -> Affine:
    if isinstance(value.normal, Mapping):
        rows = {_state(key, states, where): c for key, c in value.normal.items()}
    else:
        numbers = value.normal.tolist() if isinstance(value.normal, np.ndarray) else value.normal
        if isinstance(numbers, str) or not isinstance(numbers, Sequence) or len(numbers) != len(states):
            size = f"{len(numbers)} numbers" if isinstance(numbers, Sequence) and not isinstance(numbers, str) else repr(numbers)[:80]
            raise InputError("a half-space has another dimension than the plant", where=where, found=size, expected=f"{len(states)} states: {', '.join(states)}")
        rows = dict(enumerate(numbers))
    ends = {i: _finite(c, f"{where}, normal of {states[i]}") for i, c in rows.items()}
    if not any(low != 0 or high != 0 for low, high in ends.values()):
        raise InputError("a half-space needs a normal that is not zero", where=where, found=repr(value))
    sides = " + ".join(f"{rows[i]}*{states[i]}" for i, (low, high) in ends.items() if low != 0 or high != 0)
    return _affine(f"{sides} <= {value.offset}", ends, _finite(value.offset, f"{where}, offset"), len(states), where)


def _finite(value: Any, where: str) -> tuple[Fraction, Fraction]:
    found = meanings(value, where)
    if not isinstance(found, tuple):
        raise InputError("this number is infinite", where=where, found=value, expected="a finite number")
    return found


def _affine(text: str, normal: Mapping[int, tuple[Fraction, Fraction]], offset: tuple[Fraction, Fraction], n: int, where: str) -> Affine:
    zero = Fraction(0), Fraction(0)
    exact = tuple(normal.get(i, zero) for i in range(n))
    c, r = (np.array(x) for x in zip(*(around(ends, where) for ends in exact), strict=True))
    return Affine(text, c, r, *floats(offset, where), exact=(exact, offset))


def _from_formula(g: sp.Expr, states: tuple[str, ...], where: str, text: str | None) -> Constraint:
    """g >= 0 as a half-space where g is affine with rational coefficients, else as a formula."""
    text = f"{short(g)} >= 0" if text is None else short(text)
    symbols = [sp.Symbol(name) for name in states]
    slopes = [g.diff(s) for s in symbols]
    if all(slope.is_Rational for slope in slopes):
        if not any(slopes):
            raise InputError("an inequality does not depend on the states", where=where, found=text)
        rest = g.subs(dict.fromkeys(symbols, 0))
        if rest.is_Rational:
            ends = {i: (-_fraction(slope),) * 2 for i, slope in enumerate(slopes) if slope != 0}
            return _affine(text, ends, (_fraction(rest),) * 2, len(states), where)
    return Smooth(text, g, build_tape(states, [g], [where]))


def _fraction(value: sp.Rational) -> Fraction:
    return Fraction(int(value.p), int(value.q))
