"""Power iteration and Lanczos: a lower end, never an upper one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..linear.base import LinearMap
from .base import Ends, NormMethod
from .majorant import core_of
from .search import quotient_down, top_vector

_SMALL = 1 << 20


@dataclass(frozen=True)
class PowerIteration(NormMethod):
    """||A||_2 >= ||A v|| / ||v|| for every v; v from `steps` Lanczos steps on A'A.

    Claim: [s, inf). Nothing about convergence is used, so nothing can be said about the upper end; an estimate stays an estimate.
    `start` (an input of the map) replaces the random start of `seed`; with steps = 0 it is taken as it is. Cost: 2 `steps` applications.

    Source: layer_norms.md 2.2; Golub & Van Loan, Matrix Computations (2013), section 10.1.
    """

    name = "power_iteration"
    cite = ("Golub & Van Loan, Matrix Computations (2013), section 10.1",)
    steps: int = 30
    seed: int = 0
    start: np.ndarray | None = field(default=None, repr=False, compare=False)

    def _refuses(self, map: LinearMap, norm: str) -> str:
        return ""

    def _ends(self, map: LinearMap, norm: str) -> Ends:
        return Ends(self.search(map)[0], math.inf, None, {"steps": self.steps})

    def search(self, map: LinearMap) -> tuple[float, np.ndarray]:
        """(lower end of ||A|| of a scaled map, the vector that gave it); the vector is an input of the map, or of the group that was searched."""
        core, start = core_of(map), self.start
        if start is not None and (start.shape != core.input_shape or not start.any()):
            start = None
        blocks = core.blocks()
        if start is not None and len(blocks) > 1:  # a start inside one group stays there: search in that group alone
            parts = start.reshape(len(blocks), *blocks[0].input_shape)
            used = np.flatnonzero(parts.reshape(len(blocks), -1).any(1))
            if len(used) == 1:
                core, start = blocks[int(used[0])], parts[int(used[0])]
        if start is None and len(blocks) > 1 and core.nonzeros > _SMALL:  # the group with the largest weights is a good guess
            core = max(blocks, key=lambda block: float(np.square(block.stored).sum()))
        v = start if start is not None and self.steps == 0 else top_vector(core, self.steps, start, self.seed)[0]
        return quotient_down(core, v), v
