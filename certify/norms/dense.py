"""Dense certificate: assemble the matrix, one Gram matrix, one shifted Cholesky. Exact for practical purposes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.posdef import max_eigenvalue_upper
from ..core.rounding import add_up, gamma, mul_up, sqrt_up
from ..linear.base import LinearMap
from .base import Ends, NormMethod, room
from .gram_matrix import frobenius_up, gram_matrix, memory_needed
from .majorant import majorant_up
from .search import quotient_down, top_of_gram

_STEPS, _MORE, _FEW = 60, 200, 2500  # Lanczos steps; more where a step is cheap: long thin maps have crowded spectra
_SMALL = 300  # below it all eigenvalues of the Gram matrix cost less than a search


@dataclass(frozen=True)
class Dense(NormMethod):
    """||A||^2 = lambda_max(A A'), bounded by one Cholesky factorisation of shift I - fl(A A') [layer_norms.md 4.8].

    Claim: both ends, about 1e-8 apart where the search converges, 1e-4 on spectra that crowd at the top (long 1-D maps). Each group of a grouped
    layer apart, then the maximum. Entries are weights (no rounding) or, for compositions and copying paddings, weights added up, whose rounding is
    added. Hypotheses: min(M, N) <= `limit` per group, and the matrices fit `memory` bytes (estimated before anything is built).

    Cost: the Gram matrix + a^3 / 3 + 60 products with the Gram matrix, a = min(M, N); 24 a^2 bytes, and 8 M N for a map that is no convolution.
    """

    name = "dense"
    cite = ("Rump, Verification of positive definiteness, BIT 46 (2006)",)
    hypotheses = ("min(M, N) within the limit",)
    limit: int = 4096
    memory: int = 3 << 30

    def _refuses(self, map: LinearMap, norm: str) -> str:
        for block in map.blocks()[:1]:  # equal sizes
            if block.size > self.limit:
                return f"min(M, N) = {block.size} is above the limit {self.limit}"
            if memory_needed(block) > self.memory:
                return f"needs about {memory_needed(block) >> 20} MiB, above the limit of {self.memory >> 20} MiB"
        return ""

    def _ends(self, map: LinearMap, norm: str) -> Ends:
        blocks = list(map.blocks())
        if len(blocks) > 1:
            blocks.sort(key=lambda b: -float(np.square(b.stored).sum()))
        lower = upper = 0.0
        for block in blocks:
            if block.entry_sums == 1 and frobenius_up(block) <= lower:
                continue  # cannot be the largest
            low, high = _block_ends(block)
            lower, upper = max(lower, low), max(upper, high)
        return Ends(lower, upper, {"by": "dense"}, {"blocks": len(blocks), "side": blocks[0].size})


def _block_ends(block: LinearMap) -> tuple[float, float]:
    gram, radius, rows = gram_matrix(block)
    estimate: float | None
    if block.size <= _SMALL:
        values, vectors = np.linalg.eigh(gram)
        x, estimate = vectors[:, -1], float(values[-1])
        v = block.adjoint(x.reshape(1, *block.output_shape))[0] if rows else x.reshape(block.input_shape)
    else:
        x, lam, residual = top_of_gram(gram, _MORE if block.size < _FEW else _STEPS)
        v = block.adjoint(x.reshape(1, *block.output_shape))[0] if rows else x.reshape(block.input_shape)
        # the search is converged to about residual / (4 lam); a bad one only costs time, the proof does not use it
        estimate = lam * (1 + max(1e-7, min(residual / (4 * lam), 5e-5))) if lam > 0 else None
    upper = room(sqrt_up(max_eigenvalue_upper(gram, estimate, radius)))
    if block.entry_sums > 1:
        majorant = majorant_up(block, "l2")  # weights that cancel leave an entry known to within the rounding of their sum, and a checker to within its root
        upper = max(add_up(upper, mul_up(2.0 * gamma(block.entry_sums), majorant)), mul_up(2.0**-24, majorant))
    return quotient_down(block, v), upper
