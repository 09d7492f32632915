"""Maps whose rows, or whose columns, do not overlap: the norm is the largest row or column norm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.rounding import gamma, mul_down, mul_up, sqrt_down, sqrt_up, up
from ..linear.base import LinearMap
from .base import TINY, Ends, NormMethod, scale_down, scale_up
from .majorant import SUM_ROOM, core_of, not_single_weights


@dataclass(frozen=True)
class Diagonal(NormMethod):
    """If no input entry feeds two outputs, A A' is diagonal and ||A||_2 is the largest 2-norm of a row; likewise for columns.

    Claim: both ends, exact up to the rounding of a sum, and without any rounding where all weights are 0 or +-c with an exact square
    root (copies, BatchNorm, scaling, disjoint pooling windows). Hypothesis: disjoint rows or disjoint columns, checked by applying the
    0/1 pattern of the matrix to ones. Cost: a few applications of the map.

    Source: A A' is diagonal; its eigenvalues are the squared row norms (layer_norms.md, section 1).
    """

    name = "diagonal"
    cite = ("Horn & Johnson, Matrix Analysis (2013), section 5.6",)
    own_scale = True
    hypotheses = ("the rows, or the columns, of the matrix have disjoint supports",)

    def _refuses(self, map: LinearMap, norm: str) -> str:
        if reason := not_single_weights(map):
            return reason
        rows, columns = _overlap(core_of(map))
        return "" if min(rows, columns) <= 1 else f"an output reads up to {rows} inputs and an input feeds up to {columns} outputs"

    def _ends(self, map: LinearMap, norm: str) -> Ends:
        core = core_of(map)
        rows, columns = _overlap(core)
        kind = "rows" if columns <= 1 else "columns"
        verify = {"by": "diagonal", "kind": kind}
        weights = np.abs(core.stored)
        top = float(weights.max())
        if max(rows, columns) <= 1:  # at most one entry in each row and column: the largest one, without arithmetic
            used = float(core.absolute().row_sums().max())
            return Ends(used, used, verify)
        if ((weights == 0.0) | (weights == top)).all():
            count = float(rows if kind == "rows" else columns)
            return Ends(mul_down(top, sqrt_down(count)), mul_up(top, sqrt_up(count)), verify)
        scaled, e = core.scaled()
        squares = scaled.squares()
        total = float((squares.row_sums() if kind == "rows" else squares.column_sums()).max())
        slack = SUM_ROOM * gamma((core.terms if kind == "rows" else core.adjoint_terms) + 1)
        low = max(0.0, mul_down(total, 1.0 - slack) - TINY)
        high = up(total * up(1.0 + slack) + TINY)
        return Ends(scale_down(sqrt_down(low), e), scale_up(sqrt_up(high), e), verify)


def _pattern(weights: np.ndarray) -> np.ndarray:
    return (weights != 0.0).astype(np.float64)


def _overlap(core: LinearMap) -> tuple[int, int]:
    """Most inputs of one output, most outputs of one input (counts of nonzero weights: exact integers)."""
    pattern = core.entrywise(_pattern)
    return int(pattern.row_sums().max(initial=0.0)), int(pattern.column_sums().max(initial=0.0))
