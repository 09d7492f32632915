"""Induced l1 and linf norms: largest column and row sums of |A|; their geometric mean bounds l2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.rounding import add_up, gamma, mul_down, mul_up, norm_down, norm_up, sub_down
from ..linear.base import LinearMap
from .base import TINY, Ends, NormMethod
from .majorant import SUM_ROOM, core_of, exact_sums, majorant_up, sum_count, sums

_SMALL = 1 << 18


@dataclass(frozen=True)
class Induced(NormMethod):
    """||A||_inf = max row sum of |A|, ||A||_1 = max column sum; ||A||_2 <= sqrt(||A||_1 ||A||_inf).

    Claim: both ends for every map and padding mode. The upper end is taken of the majorant M >= |A| (M = |A| where every entry is one
    weight, so that the enclosure is as narrow as the rounding of the sums); the lower end is the norm of one true row or column, the
    one whose majorant is largest and, among equals, most central (a border row of a copying padding may cancel).

    Cost: two applications of the map with its channels added up. Source: layer_norms.md 2.4; Horn & Johnson, Matrix Analysis, 5.6.
    """

    name = "induced"
    norms = ("l2", "linf", "l1")
    cite = ("Horn & Johnson, Matrix Analysis (2013), section 5.6",)

    def _refuses(self, map: LinearMap, norm: str) -> str:
        return ""

    def _ends(self, map: LinearMap, norm: str) -> Ends:
        core = core_of(map)
        upper = majorant_up(map, norm)
        if norm == "l2":
            small = core.nonzeros <= _SMALL  # the lower end is not worth applications of a large map
            lower = max(_vector_lower(core, "linf", "l2"), _vector_lower(core, "l1", "l2")) if small else 0.0
            return Ends(lower, upper, {"by": "induced_product"})
        if core.entry_sums == 1:
            top = float(sums(core, norm).max())
            lower = max(0.0, sub_down(mul_down(top, 1.0 - SUM_ROOM * gamma(sum_count(core, norm))), TINY))
        else:
            lower = _vector_lower(core, norm, "l1")
        lower = upper if exact_sums(core, norm) else lower
        return Ends(lower, upper, {"by": f"exact_{norm}"}, {"entries": "single weights" if core.entry_sums == 1 else "majorant of sums of weights"})


def _vector_lower(core: LinearMap, side: str, norm: str) -> float:
    """Lower end of the `norm` of one row (side linf) or column (l1): ||A e||_1 <= ||A||_1, ||A' e||_1 <= ||A||_inf, and both in l2 <= ||A||_2."""
    sizes = sums(core, side)
    unit = np.zeros((1, *sizes.shape))
    unit[(0, *_central_peak(sizes))] = 1.0
    vector = core.adjoint(unit) if side == "linf" else core.apply(unit)
    if core.entry_sums == 1:  # one weight per entry, added to zeros: no rounding at all
        return norm_down(vector, norm)
    majorant, count = core.absolute(), core.adjoint_terms if side == "linf" else core.terms
    size = majorant.adjoint(unit) if side == "linf" else majorant.apply(unit)
    error = add_up(mul_up(2.0 * gamma(count), norm_up(size, norm)), TINY)
    return max(0.0, sub_down(norm_down(vector, norm), error))


def _central_peak(values: np.ndarray) -> tuple[int, ...]:
    """Index of the largest value; among (nearly) equal ones, the one nearest the middle of the spatial axes."""
    ties = np.argwhere(values >= values.max() * (1 - 2.0**-30))
    middle = (np.array(values.shape[1:]) - 1) / 2
    distance = np.abs(ties[:, 1:] - middle).max(axis=1, initial=0.0)
    return tuple(int(k) for k in ties[int(distance.argmin())])
