"""ClosedLoop: a plant whose control is sampled from a controller every `period` and held in between."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

from certify.core.errors import InputError

from .controllers.controller import Controller
from .dynamics.libm import LIBM
from .dynamics.opcodes import LIBRARY
from .dynamics.system import ContinuousSystem, DiscreteSystem

SHORTEST = 1e-290  # seconds, or whatever the plant's unit is: products and halves of it stay normal floats


class ClosedLoop:
    """x' = f(x, v, w) (or x+ = f(x, v, w)) with v = controller(x(k period)) held on [k period, (k + 1) period).

    Args:
        plant: ContinuousSystem or DiscreteSystem.
        controller: a torch module, the path of an ONNX file, a certify.Graph, a `Controller` (processing around one of these) or a `BlackBox`.
        period: time between two samples, > 0, in the plant's unit of time; for a discrete plant the time of one update.

    A period given as a float means its shortest decimal and the float itself; enclosures hold for both.
    Raises:
        InputError: not a plant, not a controller, a period that is not positive, sizes that do not fit.
    """

    def __init__(self, plant: ContinuousSystem | DiscreteSystem, controller: Any, period: float):
        if not isinstance(plant, ContinuousSystem | DiscreteSystem):
            raise InputError("this is not a plant", where="ClosedLoop.plant", found=type(plant).__name__, expected="reach.ContinuousSystem or reach.DiscreteSystem")
        try:
            period = float("nan") if isinstance(period, bool) else float(period)
        except (TypeError, ValueError):
            raise InputError("the period is not a number", where="ClosedLoop.period", found=repr(period)[:80], expected="a positive number") from None
        if not (period >= SHORTEST and math.isfinite(period)):
            expected = f"a positive finite number (at least {SHORTEST:g}: below it a float no longer tells a step from its half)"
            raise InputError("the period is not positive", where="ClosedLoop.period", found=period, expected=expected)
        self.plant, self.period = plant, period
        if isinstance(controller, type) and hasattr(controller, "bind"):
            raise InputError("this is a class, not a controller", where="ClosedLoop.controller", found=controller.__name__, expected=f"{controller.__name__}(...)")
        raw = controller if hasattr(controller, "bind") else Controller(controller)
        self.controller = raw.bind(plant.states, len(plant.inputs))

    @property
    def continuous(self) -> bool:
        return self.plant.time == "continuous"

    @property
    def states(self) -> tuple[str, ...]:
        return self.plant.states

    @property
    def digest(self) -> str:
        """SHA-256 of plant, controller and period."""
        return hashlib.sha256(f"{self.plant.digest} {self.controller.digest} {self.period!r}".encode()).hexdigest()

    @property
    def assumptions(self) -> list[str]:
        """What every result about this loop rests on and no code of ours proves."""
        library = [LIBM] if not LIBRARY.isdisjoint(self.plant.tape.op.tolist()) else []
        return ["IEEE 754 double precision", *library, *getattr(self.controller, "library", ()), *self.controller.hypotheses]

    def steps(self, horizon: float) -> int:
        """How many periods the horizon has; it must be a multiple within 1e-9 relative."""
        try:
            horizon = float(horizon)
        except (TypeError, ValueError):
            raise InputError("the horizon is not a number", where="horizon", found=repr(horizon)[:80], expected=f"a multiple of the period {self.period:g}") from None
        count = horizon / self.period if math.isfinite(horizon) else math.nan
        if not (horizon >= 0 and count < 1e9 and abs(count - round(count)) <= 1e-9 * count):
            raise InputError("the horizon is not a multiple of the period", where="horizon", found=horizon, expected=f"k * {self.period:g} for a whole number k >= 0, at most 1e9")
        return round(count)

    def index(self, state: str | int) -> int:
        """The position of a state given by name or number."""
        if isinstance(state, int) and 0 <= state < len(self.states):
            return state
        if str(state) in self.states:
            return self.states.index(str(state))
        raise InputError("the plant has no such state", found=repr(state), expected=", ".join(self.states))

    def __repr__(self) -> str:
        return f"ClosedLoop({self.plant!r}, {type(self.controller).__name__}, period={self.period!r})"


def as_names(values: Sequence[Any]) -> tuple[str, ...]:
    """Names of symbols or strings."""
    return tuple(str(v) for v in values)
