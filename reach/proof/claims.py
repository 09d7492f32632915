"""Specifications as data inside a certificate: exact rationals and exact formulas over the plant's states.

    {"kind": "arrive" | "arrive within" | "stay" | "avoid", "at": "always" | "samples", "first": a, "last": b,
     "clauses": [[condition, ...], ...]}   the set: every clause holds, a clause holds when one of its conditions does
    condition: {"normal": [[low, high], ...], "offset": [low, high]}   c . x <= d for every c_i in [low_i, high_i] and d in [low, high] that the user may have meant
               {"formula": text}                                       g(x) >= 0

arrive: x(first T) in the set. arrive within: some sample or moment between first and last is in it. stay: in it between (or at the samples of) steps first to last.
avoid: never in it, where the set is closed and the conditions count for every reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from certify.core.errors import InputError

from . import fields

KINDS = ("arrive", "arrive within", "stay", "avoid")


@dataclass(frozen=True)
class Half:
    """c . x <= d with c_i and d in the given intervals of rationals."""

    normal: tuple[tuple[Fraction, Fraction], ...]
    offset: tuple[Fraction, Fraction]


@dataclass(frozen=True)
class Formula:
    """g(x) >= 0, g a sympy expression in the states."""

    expression: Any


@dataclass(frozen=True)
class Claim:
    """One specification that is claimed to hold."""

    kind: str
    at: str
    first: int
    last: int
    clauses: tuple[tuple[Half | Formula, ...], ...]

    def describe(self, states: Sequence[str]) -> str:
        """The claim in words, from its data alone: a text in the file could say something else."""
        region = ", ".join(" or ".join(_words(c, states) for c in clause) for clause in self.clauses)
        when = f"at step {self.first}" if self.first == self.last else f"from step {self.first} to {self.last}"
        samples = ", at the samples" if self.at == "samples" and self.kind in ("stay", "avoid") else ""
        return f"{self.kind} {when}{samples}: {region if len(region) <= 300 else region[:297] + '...'}"


def _words(c: Half | Formula, states: Sequence[str]) -> str:
    if isinstance(c, Formula):
        return f"{c.expression} >= 0"
    sides = [name if low == high == 1 else f"{_number(low, high)}*{name}" for name, (low, high) in zip(states, c.normal) if low or high]
    return f"{' + '.join(sides) or '0'} <= {_number(*c.offset)}"


def _number(low: Fraction, high: Fraction) -> str:
    """The exact number, or the decimal that a float was typed as."""
    short = (str(v) for v in (low, high) if len(str(v)) <= 12)
    return next(short, repr(float(low)))


def claim_of(spec: Any, loop: Any, steps: int, asked: int) -> dict[str, Any]:
    """A specification of `reach.specification` as data; `asked` is the horizon that was asked for, `steps` the number of proved control steps.

    Raises:
        InputError: no specification, or one beyond the flowpipe's end.
    """
    if not hasattr(spec, "bind"):
        raise InputError("this is not a specification", where="save", found=type(spec).__name__, expected="Arrive, ArriveWithin, Stay or Avoid")
    bound = spec.bind(loop, asked)
    if bound.last > steps:
        raise InputError("a specification reaches beyond the end of the flowpipe", where="save", found=f"control step {bound.last}", expected=f"at most {steps}")
    conditions = [_condition(c) for c in bound.region.constraints]
    clauses = [[conditions[i] for i in clause] for clause in bound.region.clauses]
    return {"kind": bound.kind, "at": bound.at, "first": int(bound.first), "last": int(bound.last), "clauses": clauses}


def _condition(c: Any) -> dict[str, Any]:
    if hasattr(c, "exact"):
        normal, offset = c.exact
        return {"normal": [[str(low), str(high)] for low, high in normal], "offset": [str(v) for v in offset]}
    return {"formula": str(c.expression)}


def read_claims(document: dict, states: Sequence[str], steps: int) -> list[Claim]:
    """The claims of a document, types and ranges checked."""
    out = []
    for k, entry in enumerate(fields.items(document["specifications"], "specifications", 1000)):
        where = f"specifications[{k}]"
        kind, at = (fields.text(fields.member(entry, key, where), f"{where}.{key}", choices) for key, choices in (("kind", KINDS), ("at", ("always", "samples"))))
        first, last = (fields.whole(fields.member(entry, key, where), f"{where}.{key}", 0, steps) for key in ("first", "last"))
        if first > last or (kind == "arrive" and first != last):
            raise fields.refuse("a specification's window is inverted", where, f"{first}..{last}")
        fields.only(entry, ("kind", "at", "first", "last", "clauses"), where)
        clauses = fields.items(fields.member(entry, "clauses", where), f"{where}.clauses", 10_000)
        if not clauses:
            raise fields.refuse("a specification has no condition", f"{where}.clauses")
        rows = [tuple(_read(c, states, f"{where}.clauses[{i}]") for c in fields.items(clause, f"{where}.clauses[{i}]", 16)) for i, clause in enumerate(clauses)]
        if not all(rows):
            raise fields.refuse("a clause of a specification is empty", f"{where}.clauses")
        out.append(Claim(kind, at, first, last, tuple(rows)))
    return out


def _read(entry: Any, states: Sequence[str], where: str) -> Half | Formula:
    if isinstance(entry, dict) and "formula" in entry:
        from ..dynamics.expression import read_expression

        fields.only(entry, ("formula",), where)
        text = fields.text(entry["formula"], where)
        try:
            return Formula(read_expression(text, states, where))
        except InputError as error:
            raise fields.refuse(f"a formula of a specification cannot be read: {error.what}", where, text) from error
    normal = fields.items(fields.member(entry, "normal", where), f"{where}.normal", len(states), len(states))
    fields.only(entry, ("normal", "offset"), where)
    return Half(tuple(_pair(p, where) for p in normal), _pair(fields.member(entry, "offset", where), where))


def _pair(value: Any, where: str) -> tuple[Fraction, Fraction]:
    low, high = (_rational(v, where) for v in fields.items(value, where, 2, 2))
    if not low <= high:
        raise fields.refuse("an interval of a specification is inverted", where, f"{low}..{high}")
    return low, high


def _rational(value: Any, where: str) -> Fraction:
    text = fields.text(value, where)
    if len(text) > 2000 or not set(text) <= set("0123456789/-"):
        raise fields.refuse("a number of a specification is not a fraction of whole numbers", where, text)
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise fields.refuse("a number of a specification is not a fraction of whole numbers", where, text) from None
