"""Witness: one initial state (and constant disturbance) whose validated thin flowpipe violates a specification."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from certify.core.decimals import decimal_down
from certify.core.errors import CertifyError
from certify.core.regions import Box

from ..specification import Bound
from .decide import window
from .inclusion import BUDGET, Answer, broken, outside
from .moments import some_moment
from .patches import Patch


@dataclass(frozen=True, eq=False)
class Witness:
    """A counterexample, proved.

    Attributes:
        initial: (n,) the initial state, inside the initial box. disturbance: (nw,) its constant disturbance, to within one float
            where it is at an end of its interval; None where the plant has none.
        time: when the specification is violated, in the plant's unit of time (the end of the window for ArriveWithin).
        condition: what is violated. margin: by how much at least, a proved lower end in the unit of the condition's formula.
        steps: control steps of the motion. flowpipe: the validated thin flowpipe that proves it.
    """

    initial: np.ndarray
    disturbance: np.ndarray | None
    time: float
    condition: str
    margin: float
    steps: int
    flowpipe: Any = field(repr=False, default=None)

    def replay(self, loop: Any) -> np.ndarray:
        """(steps + 1, n) simulated states of this motion at the sampling times; an estimate, the proof is `flowpipe`.

        A loop that cannot be simulated (a switching controller) gives the middles of the thin flowpipe's boxes.
        """
        if not hasattr(loop.controller, "evaluate"):
            boxes = [self.flowpipe.at(k).box() for k in range(self.steps + 1)]
            return np.stack([0.5 * b.lower + 0.5 * b.upper for b in boxes])
        from ..simulation import simulate

        return simulate(loop, self.initial, self.steps * loop.period, self.disturbance)[0]

    def __repr__(self) -> str:
        w = "" if self.disturbance is None else f", disturbance={self.disturbance.tolist()}"
        return f"Witness(initial={self.initial.tolist()}{w}, time={self.time:.6g}, {self.condition}, margin={decimal_down(self.margin)})"


def prove_violation(loop: Any, bound: Bound, initial: np.ndarray, disturbance: np.ndarray | None, last: int) -> Witness | None:
    """The witness, if the validated flowpipe of this one motion violates the specification before the control step `last`; None if that is not shown.

    Proof: the flowpipe encloses the one motion from `initial` under the constant disturbance, so what holds of a whole set at one time holds of the motion.
    Stay: outside of the region at one time. Avoid: inside at one time. Arrive: outside at the end. ArriveWithin: outside at every time of the window.
    """
    from ..errors import RemainderError
    from ..solver import solve

    thin = loop if disturbance is None else with_disturbance(loop, disturbance)
    try:
        pipe = solve(thin, Box(initial, initial), last * loop.period)
    except RemainderError as error:
        pipe = error.flowpipe
    except CertifyError:
        return None
    if pipe is None or len(pipe) < (bound.first if bound.kind in ("stay", "avoid") else bound.last):
        return None
    bound = bound._replace(last=min(bound.last, len(pipe)))
    tried = [_violation(branch, bound) for branch in getattr(pipe, "branches", None) or (pipe,)]
    shown = [one for one in tried if one is not None]
    if len(shown) < len(tried):
        return None
    answer, patch = min(shown, key=lambda pair: pair[0].slack)
    words = {"avoid": f"inside {bound.region}", "arrive within": f"outside of {bound.region}"}
    condition = words.get(bound.kind) or f"{broken(patch, bound.region)} is violated"
    w = None if disturbance is None else disturbance.copy()
    return Witness(initial.copy(), w, patch.middle(), condition, float(answer.slack), len(pipe), pipe)


def _violation(pipe: Any, bound: Bound) -> tuple[Answer, Patch] | None:
    if bound.kind == "arrive within":
        patches = window(pipe, bound)
        answer = outside(patches, bound.region, BUDGET)
        return (answer, patches[-1]) if answer.ok else None
    found, moment = some_moment(pipe, bound._replace(first=bound.last) if bound.kind == "arrive" else bound, bound.kind == "avoid", BUDGET // 4)
    return None if found is None else (found, moment[0])


def with_disturbance(loop: Any, disturbance: np.ndarray) -> Any:
    """The same loop with its disturbance within one float of a constant value, so that an admissible constant is among the signals.

    An end of the plant's interval was rounded outward by at most one float; the exact end lies between it and the float next to it, inward.
    """
    from ..loop import ClosedLoop

    plant = loop.plant
    fixed = {}
    for name, w, lower, upper in zip(plant.disturbances, disturbance.tolist(), plant.disturbance_lower.tolist(), plant.disturbance_upper.tolist(), strict=True):
        low = max(lower, math.nextafter(w, -math.inf)) if w == upper else w
        high = min(upper, math.nextafter(w, math.inf)) if w == lower else w
        fixed[name] = (Fraction(low), Fraction(high))
    return ClosedLoop(type(plant)(plant.states, plant.inputs, plant.expressions, fixed), loop.controller, loop.period)
