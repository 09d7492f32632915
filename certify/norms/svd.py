"""Singular value decomposition, made a bound by its residuals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.rounding import U, add_up, gamma, mul_up, sqrt_up, up
from ..linear.base import LinearMap
from .base import TINY, Ends, NormMethod, room
from .majorant import majorant_up, size_up
from .search import quotient_down


@dataclass(frozen=True)
class SVD(NormMethod):
    """||A|| <= s_1 sqrt((1 + a)(1 + b)) + ||A - U S V'||_F, a = ||U'U - I||_F, b = ||V'V - I||_F, for any float U, S, V.

    LAPACK publishes no numeric error constant, so an SVD alone is an estimate; with the residuals, evaluated with their rounding, it encloses.
    Claim: both ends (the lower one from ||A v_1||), relative width about 1e-12. Groups apart, then the maximum.

    Cost: O(M N min(M, N)); `dense` does the same with one Cholesky. Refused above `limit` for min(M, N) or 2^25 entries. Source: layer_norms.md 2.1.
    """

    name = "svd"
    cite = ("Golub & Van Loan, Matrix Computations (2013), section 8.6",)
    hypotheses = ("min(M, N) within the limit",)
    limit: int = 2048

    def _refuses(self, map: LinearMap, norm: str) -> str:
        block = map.blocks()[0]
        if block.size > self.limit or block.input_size * block.output_size > 1 << 25:
            return f"a matrix of {block.output_size} x {block.input_size} is too large for a full decomposition (limit {self.limit}): use dense"
        return ""

    def _ends(self, map: LinearMap, norm: str) -> Ends:
        pairs = [_block_ends(block) for block in map.blocks()]
        lower, upper = max(low for low, _ in pairs), max(high for _, high in pairs)
        return Ends(lower, upper, {"by": "dense"}, {"blocks": len(pairs)})


def _block_ends(block: LinearMap) -> tuple[float, float]:
    matrix = block.dense()
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    rest = matrix - (u * s) @ vt
    # |fl(U S V') - U S V'| <= gamma_(r+2) |U| S |V'|, Frobenius norm <= that of U S times that of V; the subtraction rounds by u |rest|
    product = mul_up(gamma(len(s) + 2), mul_up(size_up(u * s), size_up(vt)))
    residual = add_up(mul_up(size_up(rest), up(1.0 + 4.0 * U)), up(2.0 * product) + TINY)
    spread = mul_up(sqrt_up(add_up(1.0, _defect(u))), sqrt_up(add_up(1.0, _defect(vt.T))))
    upper = add_up(mul_up(float(s[0]), spread), residual)
    if block.entry_sums > 1:
        majorant = majorant_up(block, "l2")  # weights that cancel leave an entry known to within the rounding of their sum, and a checker to within its root
        upper = max(add_up(upper, mul_up(2.0 * gamma(block.entry_sums), majorant)), mul_up(2.0**-24, majorant))
    return quotient_down(block, vt[0].reshape(block.input_shape)), room(upper)


def _defect(q: np.ndarray) -> float:
    """Upper end of ||Q'Q - I||_F: the computed defect, the rounding gamma_M |Q|'|Q| of the product and one subtraction."""
    size = size_up(q)
    computed = size_up(q.T @ q - np.eye(q.shape[1]))
    return add_up(mul_up(computed, up(1.0 + 4.0 * U)), add_up(mul_up(gamma(len(q) + 2), mul_up(size, size)), TINY))
