"""BlackBox: a controller that is only a function, with a Lipschitz constant that its owner vouches for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from certify.core.errors import InputError, UnsupportedLayerError
from certify.core.rounding import up

from ..errors import ReachError


class BlackBox:
    """A control law known by its values: u = f(x) for a batch x (n, states) -> (n, controls).

    Hypotheses, printed in every result that rests on them: |f(x) - f(y)|_2 <= lipschitz |x - y|_2 (a number), or |f_j(x) - f_j(x + h e_i)| <=
    lipschitz[j, i] |h| (a matrix, controls by states), for all x, y that the closed loop can meet; and a returned value differs from the exact
    f(x) by at most evaluation_error max(1, |f(x)|).

    Args:
        f: takes and returns float64 arrays; called with many states at once. A one-dimensional result is one control.
        lipschitz: number >= 0, or matrix (controls, states).
        inputs, outputs: numbers of states and controls, checked where given; a closed loop supplies them otherwise.
        evaluation_error: relative to max(1, |value|).
        name: how messages and hypotheses call it.

    Raises:
        InputError: not callable, a constant that is negative, NaN or of a wrong shape. ReachError (when evaluated): f raises, or returns a wrong shape or NaN.

    >>> box = BlackBox(lambda x: -np.abs(x), lipschitz=1.0).bind(("x",), 1)
    >>> box.evaluate([[2.0]]).tolist(), box.hypotheses[0]
    ([[-2.0]], '<lambda>: |f(x) - f(y)|_2 <= 1.0 |x - y|_2 (assumed)')
    """

    def __init__(self, f: Callable[[np.ndarray], Any], lipschitz: Any, inputs: int | None = None, outputs: int | None = None, *, evaluation_error: float = 1e-12, name: str = ""):
        if not callable(f):
            raise InputError("a black box is a function", where="BlackBox.f", found=type(f).__name__, expected="a callable (n, states) -> (n, controls)")
        self.name = name or getattr(f, "__name__", type(f).__name__)
        try:
            constant = np.array(lipschitz, np.float64)
        except (TypeError, ValueError):
            raise InputError("a Lipschitz constant is a number or a matrix", where="BlackBox.lipschitz", found=repr(lipschitz)[:80]) from None
        if constant.ndim not in (0, 2) or not (np.isfinite(constant).all() and (constant >= 0).all()):
            expected = "a finite number >= 0, or a matrix (controls, states) of such"
            raise InputError("a Lipschitz constant is not usable", where="BlackBox.lipschitz", found=repr(lipschitz)[:80], expected=expected)
        error = float(evaluation_error) if isinstance(evaluation_error, int | float) else -1.0
        if not 0.0 <= error < 1.0:
            raise InputError("an evaluation error is not usable", where="BlackBox.evaluation_error", found=evaluation_error, expected="0 <= error < 1")
        if constant.ndim == 2:
            for given, found, what in ((outputs, constant.shape[0], "outputs"), (inputs, constant.shape[1], "inputs")):
                if given is not None and given != found:
                    raise InputError("the matrix of Lipschitz constants does not fit", where=f"BlackBox.{what}", found=constant.shape, expected=f"{what} = {given}")
            outputs, inputs = constant.shape
        self.f, self.lipschitz, self.inputs, self.outputs, self.evaluation_error = f, constant, inputs, outputs, error
        self.states: tuple[str, ...] = ()

    def bind(self, states: Sequence[str], controls: int) -> BlackBox:
        """The black box as the controller of a plant with these states and so many controls."""
        for given, needed, what in ((self.inputs, len(states), "states"), (self.outputs, controls, "controls")):
            if given is not None and given != needed:
                raise InputError("the black box does not fit the plant", where=f"BlackBox {self.name}", found=f"{given} {what}", expected=f"{needed} {what}")
        bound = BlackBox(self.f, self.lipschitz, len(states), controls, evaluation_error=self.evaluation_error, name=self.name)
        bound.states = tuple(states)
        return bound

    @property
    def dimension(self) -> int:
        return self.inputs or 0

    @property
    def hypotheses(self) -> tuple[str, ...]:
        """What is assumed and cannot be checked."""
        if self.lipschitz.ndim:
            constant = f"|f_j(x) - f_j(x + h e_i)| <= L_ji |h|, L = {self.lipschitz.tolist()}"
        else:
            constant = f"|f(x) - f(y)|_2 <= {float(self.lipschitz)!r} |x - y|_2"
        return f"{self.name}: {constant} (assumed)", f"{self.name}: values within {self.evaluation_error!r} max(1, |value|) of the exact function (assumed)"

    @property
    def digest(self) -> str:
        """SHA-256 of the name and the hypotheses: the function itself has no digest."""
        return hashlib.sha256(repr((self.name, self.hypotheses, self.inputs, self.outputs)).encode()).hexdigest()

    @property
    def program(self) -> Any:
        """A black box has none.

        Raises:
            UnsupportedLayerError: always.
        """
        raise UnsupportedLayerError("a black box has no layers", where=f"BlackBox {self.name}", hint="controller=reach.Bernstein() needs values and the Lipschitz constant only")

    def evaluate(self, states) -> np.ndarray:
        """f at states (n, ns), as (n, nu) float64.

        Raises:
            ReachError: f failed, or its result is not n rows of finite numbers.
        """
        x = np.array(states, np.float64)
        x = x.reshape(-1, x.shape[-1])
        where = f"BlackBox {self.name}"
        if self.inputs is not None and x.shape[1] != self.inputs:
            raise InputError("a state has another size than the black box takes", where=where, found=x.shape[1], expected=self.inputs)
        try:
            raw = np.asarray(self.f(x.copy()))
            if raw.dtype.kind == "c":
                raise TypeError("complex values")
            made = raw.astype(np.float64)
        except Exception as error:
            found, expected = f"{type(error).__name__}: {str(error)[:200]}", f"a batch function: {x.shape} -> (n, controls)"
            raise ReachError("the black box failed", where=where, found=found, expected=expected) from error
        made = made[:, None] if made.ndim == 1 and len(made) == len(x) and self.outputs in (None, 1) else made
        if made.ndim != 2 or len(made) != len(x) or (self.outputs is not None and made.shape[1] != self.outputs):
            expected = f"({len(x)}, {self.outputs or 'controls'})"
            raise ReachError("the black box returned a wrong shape", where=where, found=made.shape, expected=expected, hint="f takes many states at once")
        if not np.isfinite(made).all():
            bad = int(np.argmin(np.isfinite(made).all(axis=1)))
            raise ReachError("the black box returned NaN or infinity", where=where, found=f"f({x[bad].tolist()}) = {made[bad].tolist()}", expected="finite numbers")
        return made

    def enclose_points(self, states) -> tuple[np.ndarray, np.ndarray]:
        """(lower, upper), each (n, nu): f at float states, under the hypothesis on its evaluation error."""
        value = self.evaluate(states)
        error = up(self.evaluation_error * np.maximum(1.0, up(np.abs(value) / (1.0 - self.evaluation_error) * (1 + 2.0**-50)))) if self.evaluation_error else np.zeros(value.shape)
        return np.where(error > 0, np.nextafter(value - error, -np.inf), value), np.where(error > 0, np.nextafter(value + error, np.inf), value)

    def column_constants(self, lower, upper) -> np.ndarray:
        """(nu, ns): the hypothesis, the same on every box; an l2 constant bounds every column."""
        if self.inputs is None or self.outputs is None:
            raise InputError("a black box does not know its sizes", where=f"BlackBox {self.name}", hint="give inputs and outputs, or use it in a ClosedLoop")
        return np.broadcast_to(self.lipschitz, (self.outputs, self.inputs)).copy()

    def l2_constants(self, lower, upper) -> np.ndarray | None:
        """(nu,): the l2 constant of each control, or None where the matrix says it all."""
        if self.lipschitz.ndim:
            return None
        return np.full(self.outputs or 1, float(self.lipschitz))
