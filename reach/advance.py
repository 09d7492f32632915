"""Advance: one control step of the closed loop, with the number of integration steps adapted to the remainder they leave."""

from __future__ import annotations

from typing import Any

import numpy as np

from certify.core.errors import CertifyError

from .controllers.model import ControlModel, Prepared
from .dynamics.system import ContinuousSystem
from .flowpipe import Step
from .integrators import continuous, discrete
from .integrators.picard import Picard
from .integrators.reduce import reduce
from .loop import ClosedLoop
from .sets.polyzonotope import PolynomialZonotope

_LIMIT = 1e6  # a set that is this many times larger than max(1, its centre) has no more use
_PARTS = ("the Picard remainder (more substeps or a higher order)", "the spread of the Jacobian (a smaller set: split)", "the disturbance")


class Advance:
    """Callable on (state, k): the proved step k, or why there is none. Keeps the number of substeps from one period to the next."""

    def __init__(self, loop: ClosedLoop, abstraction: Prepared, settings: Picard):
        self.loop, self.abstraction, self.settings = loop, abstraction, settings
        self.substeps = settings.substeps or 2
        self.stuck = False  # halving the steps did not help: the order or the set limits
        self.parts = np.zeros(4)

    def __call__(self, state: PolynomialZonotope, k: int) -> tuple[Step | None, continuous.Failed | None]:
        """(step, None) or (None, failure)."""
        generators, kept = reduce(state.generators, self.settings.columns)
        state = PolynomialZonotope(state.ring, state.coefficients, generators)
        control = self.abstraction(state)
        start = k * self.loop.period
        if not (np.isfinite(control.coefficients).all() and np.isfinite(control.generators).all() and np.isfinite(control.box).all()):
            return None, continuous.Failed(start, 0, "the controller's abstraction is not finite on the set")
        if isinstance(self.loop.plant, ContinuousSystem):
            run = self._flow(self.loop.plant, state, control, start)
            if run.failed is not None:
                return None, run.failed._replace(reason=run.failed.reason + self._undefined(run.end, control))
            pieces: tuple[Any, ...] = run.pieces
            step = Step(state, control, pieces, run.times, run.end, kept)
        else:
            one = discrete.update(self.loop.plant, state, control)
            step = Step(state, control, (one,), (start, start + self.loop.period), one.end, kept)
        size = step.end.spread()
        if not (size <= _LIMIT * np.maximum(1.0, np.abs(step.end.coefficients[:, 0]))).all():
            return None, continuous.Failed(start + self.loop.period, 0, "the remainder outgrew its limit")
        return step, None

    def _flow(self, plant: ContinuousSystem, state: PolynomialZonotope, control: ControlModel, start: float) -> continuous.Run:
        """The period with as many substeps as the tolerance asks for."""
        settings = self.settings
        length = self.loop.period
        run = continuous.period(plant, state, control, length, self.substeps, start, settings.halvings)
        growth = self._growth(run, control)
        if settings.substeps is not None or run.failed is not None:
            return run
        while growth > settings.tolerance and not self.stuck and 2 * self.substeps <= settings.largest:
            finer = continuous.period(plant, state, control, length, 2 * self.substeps, start, settings.halvings)
            better = self._growth(finer, control)
            if finer.failed is not None or not better < 0.7 * growth:
                self.stuck = True
                break
            run, growth, self.substeps = finer, better, 2 * self.substeps
        if growth < settings.tolerance / 100 and self.substeps > 1:
            self.substeps //= 2
            self.stuck = False
        return run

    def _undefined(self, state: PolynomialZonotope, control: ControlModel) -> str:
        """Names the expression that is undefined on the set where the step failed, if one is."""
        plant, box = self.loop.plant, state.box()
        spread = np.abs(control.coefficients[:, 1:]).sum(1) + np.abs(control.generators).sum(1) + control.box
        lower = np.concatenate([box.lower, control.coefficients[:, 0] - spread, plant.disturbance_lower])
        upper = np.concatenate([box.upper, control.coefficients[:, 0] + spread, plant.disturbance_upper])
        try:
            plant.tape.enclose(lower, upper)
        except CertifyError as error:
            return f"; {error.what}" + (f" ({error.where})" if error.where else "")
        return ""

    def _growth(self, run: continuous.Run, control: ControlModel) -> float:
        """The largest ratio of a period's Picard remainder to the size of the set it leads to."""
        if not run.pieces:
            return 0.0
        end = run.end
        parts = np.sum([p.parts for p in run.pieces], axis=0)
        size = np.abs(end.coefficients[:, 1:]).sum(1) + end.spread() + 1e-12 * np.abs(end.coefficients[:, 0]) + 1e-15
        self.parts = np.append((parts / size).max(axis=1), 0.0)
        return float(self.parts[0])

    def diagnosis(self) -> str:
        """What grew the last set most, as text."""
        if not self.parts.any():
            return ""
        i = int(np.argmax(self.parts[:3]))
        shares = ", ".join(f"{name} {value:.1e}" for name, value in zip(("Picard", "Jacobian", "disturbance"), self.parts))
        return f"growth of the set in the last period: {shares}; most comes from {_PARTS[i]}"
