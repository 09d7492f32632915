"""What is asked of every motion: `Arrive`, `ArriveWithin`, `Stay`, `Avoid`, over boxes, half-spaces and inequalities.

A specification is written without a plant; `bind(loop)` resolves names and sizes. A `set` is one of

- a `Box` over all states, infinite ends meaning "free";
- a dict {state: (low, high)}, where None or an infinite end is free;
- a `HalfSpace`;
- an inequality, as text ("2*x1 + x2 <= 3", "0.1 <= x1 <= 0.2", "Abs(h) >= 100") or in sympy, not strict;
- a list or tuple of these, meant as a conjunction.

A decimal given as a float is read as the float and as its shortest decimal; a verdict holds for both readings. Text is read as exact rationals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from certify.core.errors import InputError
from certify.core.regions import Box

if TYPE_CHECKING:
    from .loop import ClosedLoop
    from .verification.regions import Region

TIMES = ("always", "samples")


class Bound(NamedTuple):
    """A specification that knows its loop: `kind` over `region`, between the control steps `first` and `last`, at all times or at samples."""

    kind: str
    region: Region
    at: str
    first: int
    last: int
    text: str


@dataclass(frozen=True, eq=False)
class HalfSpace:
    """The set {x : normal . x <= offset}.

    Args:
        normal: one number per state, or a dict {state: coefficient}. offset: a number. Floats are read both ways, text and Fractions exactly.

    >>> HalfSpace({"x1": 2, "x2": -1}, 0.5)
    HalfSpace({'x1': 2, 'x2': -1}, 0.5)
    """

    normal: Any
    offset: Any

    def __repr__(self) -> str:
        return f"HalfSpace({_text(self.normal)}, {_text(self.offset)})"


class _Specification:
    """What the four share: a set, a window of control steps, and how times are meant."""

    kind: ClassVar[str]
    at = "always"
    steps: tuple[int, int] | None = None
    set: Any

    def bind(self, loop: ClosedLoop, horizon: int | None = None) -> Bound:
        """The specification over the states of `loop`; `horizon` is the number of control steps that the window must fit into (None: any).

        Raises:
            InputError: an unknown state (the closest one is named), a set of another dimension, an inverted or NaN box, a relation that is strict or an
                equation, text that cannot be read, or a window outside of the horizon.
        """
        from .verification.regions import read_region

        first, last = self._window(horizon)
        return Bound(self.kind, read_region(self.set, loop.states, type(self).__name__), self.at, first, last, repr(self))

    def _window(self, horizon: int | None) -> tuple[int, int]:
        end = 0 if horizon is None else horizon
        if self.steps is None:
            return 0, end
        first, last = self.steps
        if horizon is not None and last > horizon:
            raise InputError("a window ends after the horizon", where=f"{type(self).__name__}.steps", found=f"({first}, {last})", expected=f"control steps from 0 to {horizon}")
        return first, last

    def _check_steps(self, steps: Any) -> None:
        where, expected = f"{type(self).__name__}.steps", "(a, b): whole numbers of control steps, 0 <= a <= b"
        try:
            first, last = steps
        except (TypeError, ValueError):
            raise InputError("a window of control steps is a pair", where=where, found=repr(steps)[:80], expected=expected) from None
        if not (_whole(first) and _whole(last) and 0 <= first <= last):
            raise InputError("this is not a window of control steps", where=where, found=repr(steps)[:80], expected=expected)
        object.__setattr__(self, "steps", (int(first), int(last)))

    def _check_at(self, at: Any) -> None:
        if at not in TIMES:
            raise InputError("a specification holds always or at samples", where=f"{type(self).__name__}.at", found=repr(at)[:80], expected=" or ".join(map(repr, TIMES)))

    def __repr__(self) -> str:
        parts = [_text(self.set)]
        parts += [f"at={self.at!r}"] if self.at != "always" else []
        parts += [f"{name}={getattr(self, name)!r}" for name in ("step", "steps") if getattr(self, name, None) is not None]
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclass(frozen=True, eq=False, repr=False)
class Arrive(_Specification):
    """x(T) in `set`, for every initial state, disturbance and choice; T is the horizon, or the end of control step `step`.

    >>> Arrive({"x1": (0, 0.2)})
    Arrive({'x1': (0, 0.2)})
    """

    set: Any
    step: int | None = None
    kind: ClassVar[str] = "arrive"

    def __post_init__(self):
        if self.step is not None and not (_whole(self.step) and self.step >= 0):
            raise InputError("this is not a control step", where="Arrive.step", found=repr(self.step)[:80], expected="a whole number >= 0, or None for the horizon")

    def _window(self, horizon: int | None) -> tuple[int, int]:
        end = self.step if self.step is not None else 0 if horizon is None else horizon
        if horizon is not None and end > horizon:
            raise InputError("a goal's step is after the horizon", where="Arrive.step", found=self.step, expected=f"control steps from 0 to {horizon}")
        return int(end), int(end)


@dataclass(frozen=True, eq=False, repr=False)
class ArriveWithin(_Specification):
    """Some time t with a * period <= t <= b * period has x(t) in `set`; steps = (a, b), the whole horizon by default. The time may depend on the motion.

    >>> ArriveWithin("x1**2 + x2**2 <= 0.01", steps=(3, 7))
    ArriveWithin('x1**2 + x2**2 <= 0.01', steps=(3, 7))
    """

    set: Any
    steps: tuple[int, int] | None = None
    kind: ClassVar[str] = "arrive within"

    def __post_init__(self):
        if self.steps is not None:
            self._check_steps(self.steps)


@dataclass(frozen=True, eq=False, repr=False)
class Stay(_Specification):
    """x(t) in `set` for every t with a * period <= t <= b * period ("always") or every t = k * period among them ("samples"); steps = (a, b).

    >>> Stay(["x1 >= 0.2", "x1 <= 1"], steps=(10, 20))
    Stay(['x1 >= 0.2', 'x1 <= 1'], steps=(10, 20))
    """

    set: Any
    at: str = "always"
    steps: tuple[int, int] | None = None
    kind: ClassVar[str] = "stay"

    def __post_init__(self):
        self._check_at(self.at)
        if self.steps is not None:
            self._check_steps(self.steps)


@dataclass(frozen=True, eq=False, repr=False)
class Avoid(_Specification):
    """x(t) not in `set` (a closed set) for every t of the window, or every sample in it; arguments as `Stay`.

    >>> Avoid({"x1": (1, 2), "x2": (1, 2)}, at="samples")
    Avoid({'x1': (1, 2), 'x2': (1, 2)}, at='samples')
    """

    set: Any
    at: str = "always"
    steps: tuple[int, int] | None = None
    kind: ClassVar[str] = "avoid"

    def __post_init__(self):
        self._check_at(self.at)
        if self.steps is not None:
            self._check_steps(self.steps)


def _whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if isinstance(value, Box):
        return f"Box({value.lower.tolist()}, {value.upper.tolist()})"
    if isinstance(value, np.ndarray):
        return repr(value.tolist())
    if isinstance(value, list | tuple):
        inside = ", ".join(map(_text, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    return repr(value)
