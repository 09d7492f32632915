"""Plants: states, held inputs, measurable disturbances, and one exact formula per state."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import sympy as sp

from certify.core.errors import InputError
from certify.core.rounding import fraction_down, fraction_up

from .builder import build_tape
from .expression import read_expression, read_name, read_names
from .tape import Tape


class _System:
    """What continuous and discrete plants share; immutable."""

    time: ClassVar[str]
    _formulas: ClassVar[str]
    _fields = ("states", "inputs", "disturbances", "expressions", "disturbance_lower", "disturbance_upper")

    states: tuple[str, ...]
    inputs: tuple[str, ...]
    disturbances: tuple[str, ...]
    expressions: tuple[sp.Expr, ...]
    disturbance_lower: np.ndarray
    disturbance_upper: np.ndarray

    def __init__(self, states: Sequence[Any], inputs: Sequence[Any], formulas: Sequence[Any], disturbances: Mapping[Any, Sequence[Any]] | None = None):
        values: dict[str, Any] = {"states": read_names(states, "states"), "inputs": read_names(inputs, "inputs")}
        lower, upper, names = [], [], []
        if disturbances is not None and not isinstance(disturbances, Mapping):
            raise InputError("disturbances are given as a dict", where="disturbances", found=repr(disturbances)[:80], expected="{name: (low, high)}")
        for key, ends in (disturbances or {}).items():
            names.append(read_name(key, "disturbances"))
            low, high = _ends(ends, f"disturbances[{names[-1]!r}]")
            lower.append(low)
            upper.append(high)
        values |= {"disturbances": tuple(names), "disturbance_lower": _fixed(lower), "disturbance_upper": _fixed(upper)}
        everything = _distinct(values)
        values["expressions"] = self._read(formulas, values["states"], everything)
        for field, value in values.items():
            object.__setattr__(self, field, value)

    def _read(self, formulas: Sequence[Any], states: tuple[str, ...], names: tuple[str, ...]) -> tuple[sp.Expr, ...]:
        kind = self._formulas
        if isinstance(formulas, str | sp.Expr) or not isinstance(formulas, Sequence | np.ndarray | sp.MatrixBase | sp.Tuple):
            raise InputError(f"{kind} are given as a list, one formula per state", where=kind, found=repr(formulas)[:80])
        formulas = list(formulas)
        if len(formulas) != len(states):
            found = f"{len(formulas)} {kind} for {len(states)} states ({', '.join(states)})"
            raise InputError(f"a plant needs one of its {kind} per state", where=kind, found=found)
        return tuple(read_expression(formula, names, f"{kind}[{i}] (of {state})") for i, (formula, state) in enumerate(zip(formulas, states, strict=True)))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __getstate__(self) -> dict[str, Any]:
        return {field: getattr(self, field) for field in self._fields}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.digest == other.digest if isinstance(other, _System) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        mark = "'" if self.time == "continuous" else "+"
        rows = [f"{state}{mark} = {formula}" for state, formula in zip(self.states, self.expressions, strict=True)]
        if self.inputs:
            rows.append("inputs " + ", ".join(self.inputs))
        ends = zip(self.disturbances, self.disturbance_lower.tolist(), self.disturbance_upper.tolist(), strict=True)
        rows += [f"{name} in [{low!r}, {high!r}]" for name, low, high in ends]
        text = "; ".join(rows)
        return f"{type(self).__name__}({text if len(text) <= 400 else text[:397] + '...'})"

    @functools.cached_property
    def tape(self) -> Tape:
        """The formulas as straight-line code over states + inputs + disturbances."""
        places = [f"{self._formulas}[{i}] (of {state})" for i, state in enumerate(self.states)]
        return build_tape(self.states + self.inputs + self.disturbances, self.expressions, places)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the exact plant: kind of time, names, exact formulas, ends of the disturbances. Equal digests: the same plant."""
        memo: dict[sp.Basic, str] = {}
        parts = [self.time, *(repr(names) for names in (self.states, self.inputs, self.disturbances)), *(_fingerprint(e, memo) for e in self.expressions)]
        parts += [end.hex() for ends in (self.disturbance_lower, self.disturbance_upper) for end in ends.tolist()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def evaluate(self, states: Any, inputs: Any = None, disturbances: Any = None) -> np.ndarray:
        """The formulas in floats: (..., n), (..., inputs), (..., disturbances) -> (..., n), broadcast against each other. An estimate, not a bound.

        Args:
            states, inputs, disturbances: arrays whose last axis follows the names; None where the plant has none (disturbances: the mid-points).
        Raises:
            InputError: a last axis of another length.
        """
        middle = 0.5 * self.disturbance_lower + 0.5 * self.disturbance_upper
        parts = [
            _matching(value, names, what)
            for value, names, what in (
                (states, self.states, "states"),
                (np.zeros(0) if inputs is None else inputs, self.inputs, "inputs"),
                (middle if disturbances is None else disturbances, self.disturbances, "disturbances"),
            )
        ]
        shape = np.broadcast_shapes(*(part.shape[:-1] for part in parts))
        return self.tape.evaluate(np.concatenate([np.broadcast_to(part, (*shape, part.shape[-1])) for part in parts], axis=-1))


class ContinuousSystem(_System):
    """The plant x'(t) = f(x(t), v, w(t)): v held by the controller over a period, w any measurable signal inside its intervals.

    Formulas are exact: a decimal is the rational that it shows (0.1 is 1/10), enclosed only after everything was folded. A constant
    parameter that is not known is another claim: a state with rate 0.

    Args:
        states, inputs: lists of names or sympy Symbols, one kind or mixed.
        rates: one formula per state: text ("-x1 + 0.1*sin(x2)"), sympy expressions or numbers, in the declared names, pi and E.
        disturbances: {name or Symbol: (low, high)}, finite, low <= high; text or Fraction ends are exact, a float end means the float and its shortest decimal.
    Attributes:
        states, inputs, disturbances: tuples of names. expressions: exact sympy rates. disturbance_lower, disturbance_upper: outward float ends.
        tape: the rates as straight-line code over states + inputs + disturbances. time: "continuous". digest: identifies the plant.
    Raises:
        InputError: names that are not identifiers or occur twice, a wrong number of rates, unknown symbols, functions with corners (abs, min, max, ...),
            complex or undefined formulas, intervals that are inverted, infinite or NaN; names the rate and the symbol.

    >>> ContinuousSystem(["x1", "x2"], ["u"], ["x2", "u*x2**2 - 0.1*x1"], {"w": (-0.5, 0.5)})
    ContinuousSystem(x1' = x2; x2' = u*x2**2 - x1/10; inputs u; w in [-0.5, 0.5])
    """

    time = "continuous"
    _formulas = "rates"

    def __init__(self, states: Sequence[Any], inputs: Sequence[Any], rates: Sequence[Any], disturbances: Mapping[Any, Sequence[Any]] | None = None):
        super().__init__(states, inputs, rates, disturbances)


class DiscreteSystem(_System):
    """The plant x(k+1) = f(x(k), v(k), w(k)), with a fresh w inside its intervals at every step. Arguments, attributes and errors as `ContinuousSystem`.

    >>> plant = DiscreteSystem(["h"], ["a"], ["h - 0.5*a"])
    >>> plant, plant.evaluate([1.0], [2.0]).tolist()
    (DiscreteSystem(h+ = -a/2 + h; inputs a), [0.0])
    """

    time = "discrete"
    _formulas = "updates"

    def __init__(self, states: Sequence[Any], inputs: Sequence[Any], updates: Sequence[Any], disturbances: Mapping[Any, Sequence[Any]] | None = None):
        super().__init__(states, inputs, updates, disturbances)


def _fingerprint(e: sp.Basic, memo: dict[sp.Basic, str]) -> str:
    """SHA-256 of an exact formula, whatever order sympy keeps sums and products in; shared parts are visited once."""
    if e not in memo:
        parts = [_fingerprint(part, memo) for part in e.args]
        if isinstance(e, sp.Add | sp.Mul):
            parts.sort()
        text = sp.srepr(e) if not e.args else type(e).__name__
        memo[e] = hashlib.sha256(" ".join([text, *parts]).encode()).hexdigest()
    return memo[e]


def _fixed(ends: list[float]) -> np.ndarray:
    array = np.array(ends, dtype=np.float64)
    array.setflags(write=False)
    return array


def _distinct(values: Mapping[str, Any]) -> tuple[str, ...]:
    """All names in the order of the tape; InputError where one occurs twice."""
    if not values["states"]:
        raise InputError("a plant has at least one state", where="states", found="an empty list")
    roles: dict[str, str] = {}
    for role in ("states", "inputs", "disturbances"):
        for name in values[role]:
            if name in roles:
                both = f"twice in {role}" if roles[name] == role else f"in {roles[name]} and in {role}"
                raise InputError(f"the name {name!r} occurs {both}", where=role, expected="distinct names")
            roles[name] = role
    return tuple(roles)


def _readings(end: Any, where: str) -> tuple[Fraction, Fraction]:
    """The exact values that an end may mean: a float is itself and its shortest decimal."""
    try:
        if isinstance(end, bool):
            raise ValueError
        if isinstance(end, sp.Rational | Fraction):
            return (Fraction(int(end.p), int(end.q)),) * 2 if isinstance(end, sp.Rational) else (end, end)
        if isinstance(end, str | Decimal | int):
            return (Fraction(end),) * 2
        if isinstance(end, Real | sp.Float) and math.isfinite(end):
            return Fraction(float(end)), Fraction(repr(float(end)))
    except (ValueError, OverflowError, ZeroDivisionError):
        pass
    raise InputError("an end of a disturbance is not a finite number", where=where, found=repr(end), expected="a number")


def _ends(ends: Any, where: str) -> tuple[float, float]:
    """Outward floats of (low, high); the hull of both readings of each."""
    try:
        low, high = ends
    except (TypeError, ValueError):
        raise InputError("a disturbance is given by its two ends", where=where, found=repr(ends)[:80], expected="(low, high)") from None
    first, second = _readings(low, where), _readings(high, where)
    if min(first) > max(second):
        raise InputError("the interval of a disturbance is inverted", where=where, found=f"({low!r}, {high!r})", expected="low <= high")
    result = fraction_down(min(first)), fraction_up(max(second))
    if not (math.isfinite(result[0]) and math.isfinite(result[1])):
        raise InputError("an end of a disturbance is beyond the range of float64", where=where, found=f"({low!r}, {high!r})")
    return result


def _matching(value: Any, names: tuple[str, ...], what: str) -> np.ndarray:
    array = np.asarray(value, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != len(names):
        raise InputError(f"the last axis of {what} follows the names", where=what, found=f"shape {array.shape}", expected=f"(..., {len(names)}): {', '.join(names) or 'none'}")
    return array
