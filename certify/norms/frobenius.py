"""Frobenius norm: ||A||_F / sqrt(min(M, N)) <= ||A||_2 <= ||A||_F."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.rounding import div_down, gamma, mul_down, sqrt_down, sqrt_up, up
from ..linear.base import LinearMap
from .base import TINY, Ends, NormMethod, room
from .majorant import SUM_ROOM, not_single_weights


@dataclass(frozen=True)
class Frobenius(NormMethod):
    """||A||_F^2 = sum over taps of ||K[t]||_F^2 times the number of places where the tap reads a pixel.

    Claim: both ends; each group of a grouped layer apart, then the maximum. Exact for rank one, but for the room of 2^-27 that a checker
    needs. Hypothesis: every matrix entry is one stored weight (zero padding), because a sum of weights would have to be squared as a whole.

    Cost: one application with squared, channel-summed weights. Source: layer_norms.md 2.3.
    """

    name = "frobenius"
    cite = ("Golub & Van Loan, Matrix Computations (2013), section 2.3",)
    hypotheses = ("every matrix entry is one stored weight",)

    def _refuses(self, map: LinearMap, norm: str) -> str:
        return not_single_weights(map)

    def _ends(self, map: LinearMap, norm: str) -> Ends:
        blocks = map.blocks()
        core = blocks[0] if len(blocks) == 1 else map  # equal parts: one of them is enough
        totals = core.squares().row_sums().reshape(len(blocks), -1).sum(1)
        top = float(totals.max())
        count = map.terms + blocks[0].output_size + 2  # square, row sum, sum over rows
        squared_up = up(top * up(1.0 + SUM_ROOM * gamma(count)) + TINY)
        squared_down = max(0.0, mul_down(top, 1.0 - SUM_ROOM * gamma(count)) - TINY)
        lower = div_down(sqrt_down(squared_down), sqrt_up(float(blocks[0].size)))
        return Ends(lower, room(sqrt_up(squared_up)), {"by": "frobenius"})
