"""Switching: several networks, a discrete mode that selects one, and a set-valued choice of the next mode and its control."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from certify.core.errors import InputError
from certify.core.regions import Box

from ..sets.kernels import U
from ..sets.polyzonotope import PolynomialZonotope, range_of, row_sums
from .controller import Controller
from .layerwise import Layerwise
from .model import ControlModel

Choices = Callable[[Hashable, Hashable, Box], Iterable[Sequence[float]]]


class Switching:
    """At every sample the network of the present mode scores all modes; the mode with the largest score is next, and `controls` says what is then applied.

    On a set of states the choice is set-valued: a mode is kept unless another one's score is larger everywhere on the set (differences are taken on the
    shared symbols first), so a tie is inside every branch. Every admissible control of every kept mode becomes a branch of the flowpipe.

    Args:
        networks: mode -> model (as for `Controller`); the order of the keys is the order of the scores.
        initial: the mode before the first sample.
        controls: controls(previous, new, box) -> every control vector that may be applied for some state in the box: one for a fixed rule, several for an
            adversarial choice. That it leaves none out is a hypothesis about this function.
        inputs: affine expressions in the states, as for `Controller`.
        modes: the modes in the order of the scores, where not all of them have a network of their own.
    Raises:
        InputError: no networks, or an initial mode without one.
    """

    def __init__(self, networks: Mapping[Hashable, Any], initial: Hashable, controls: Choices, inputs: Any = None, modes: Sequence[Hashable] | None = None):
        if not isinstance(networks, Mapping) or not networks:
            raise InputError("a switching controller has no networks", where="Switching.networks", found=type(networks).__name__, expected="a dict mode -> model")
        self.modes = tuple(modes) if modes is not None else tuple(networks)
        if not any(initial == mode for mode in networks) or not any(initial == mode for mode in self.modes):
            raise InputError("the initial mode has no network", where="Switching.initial", found=repr(initial)[:80], expected=", ".join(map(repr, networks)))
        if not callable(controls):
            raise InputError("the switching rule is not a function", where="Switching.controls", found=repr(controls)[:80], expected="controls(previous, new, box)")
        self.networks, self.initial, self.controls, self.inputs = dict(networks), initial, controls, inputs
        self._bound: dict[Hashable, Controller] = {}
        self._states: tuple[str, ...] = ()
        self._controls = 0

    def bind(self, states: tuple[str, ...], controls: int) -> Switching:
        """The controller for a plant with these states: every network is checked to read them and to give one score per mode."""
        bound = Switching(self.networks, self.initial, self.controls, self.inputs, self.modes)
        bound._states, bound._controls = states, controls
        bound._bound = {mode: Controller(model, inputs=self.inputs).bind(states, len(self.modes)) for mode, model in self.networks.items()}
        return bound

    @property
    def hypotheses(self) -> tuple[str, ...]:
        return ("the switching rule's `controls` function returns every control that may be applied",)

    @property
    def digest(self) -> str:
        """Of the networks, modes, inputs and the initial mode; the rule `controls` is a function and has none (see `hypotheses`)."""
        parts = [repr(self.modes), repr(self.initial), repr(self.inputs), *(f"{mode!r}:{c.digest}" for mode, c in self._bound.items())]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def scores(self, mode: Hashable, states) -> np.ndarray:
        """(n, modes) scores of float states under the network of a mode: an estimate."""
        return self._network(mode).evaluate(states)

    def prepare(self, method: Layerwise, order: int) -> dict[Hashable, Any]:
        """The abstraction of every network."""
        return {mode: method.prepare(controller, order) for mode, controller in self._bound.items()}

    def admissible(self, previous: Hashable, new: Hashable, box: Box) -> list[np.ndarray]:
        """The control vectors of one choice, checked."""
        try:
            rows = [np.atleast_1d(np.asarray(v, np.float64)) for v in self.controls(previous, new, box)]
        except Exception as error:
            raise InputError(
                "the switching rule failed",
                where=f"Switching.controls({previous!r}, {new!r}, ...)",
                found=f"{type(error).__name__}: {error}"[:160],
                expected="a list of control vectors",
            ) from error
        if not rows or any(r.shape != (self._controls,) or not np.isfinite(r).all() for r in rows):
            found = "nothing" if not rows else str([r.tolist() for r in rows])[:120]
            raise InputError(
                "the switching rule gave no usable control",
                where=f"Switching.controls({previous!r}, {new!r}, ...)",
                found=found,
                expected=f"vectors of {self._controls} finite numbers",
            )
        return rows

    def _network(self, mode: Hashable) -> Controller:
        if mode not in self._bound:
            raise InputError("a mode was reached that has no network", where="Switching.networks", found=repr(mode), expected=", ".join(map(repr, self._bound)))
        return self._bound[mode]


def candidates(scores: ControlModel, state: PolynomialZonotope) -> list[int]:
    """Every index whose score may be the largest somewhere on the set: index i is dropped only if some score_j - score_i is proved positive everywhere."""
    n = len(scores.box)
    kept = []
    for i in range(n):
        P = scores.coefficients - scores.coefficients[i]
        E = scores.generators - scores.generators[i]
        lower, _ = range_of(state.ring, P)
        rounding = 4 * U * (np.abs(scores.coefficients).sum(1) + np.abs(scores.coefficients[i]).sum() + np.abs(scores.generators).sum(1) + np.abs(scores.generators[i]).sum())
        least = np.nextafter(lower - row_sums(E) - (scores.box + scores.box[i]) * (1 + 4 * U) - rounding, -np.inf)
        least[i] = 0.0
        if not (least > 0).any():
            kept.append(i)
    return kept
