"""Row and column sums of the majorant |A|, rounded outward: the exact l1 and linf norms, and what rounded weights can change."""

from __future__ import annotations

import math

import numpy as np

from ..core.quick_norms import quick_norms_up
from ..core.rounding import gamma, mul_up, sqrt_up, up
from ..linear.adjoint import AdjointMap
from ..linear.base import LinearMap
from ..linear.conv import ConvMap

SUM_ROOM = 8  # 8 gamma where 2 gamma would do: the checker adds in another order


def size_up(array: np.ndarray) -> float:
    """Upper end of the Frobenius norm of an array of scaled numbers: `core.quick_norms`, which is loose by 2^-500 only."""
    return float(quick_norms_up(array.reshape(1, -1), "l2")[0])


def core_of(map: LinearMap) -> LinearMap:
    """The map itself, or the one part of which it is a direct sum of copies."""
    blocks = map.blocks()
    return blocks[0] if len(blocks) == 1 else map


def not_single_weights(map: LinearMap) -> str:
    """"" if every matrix entry is one stored weight for structural reasons, else the reason why not."""
    inner = map.inner if isinstance(map, AdjointMap) else map
    if isinstance(inner, ConvMap) and inner.mode != "zeros":
        return f"padding mode {inner.mode} copies pixels: several weights may meet in one matrix entry"
    return "" if map.entry_sums == 1 else "several weights are added into one matrix entry"


def sums(map: LinearMap, norm: str) -> np.ndarray:
    """Row sums (linf) or column sums (l1) of the majorant of `core_of(map)`, as computed: shaped like the output or the input."""
    core = core_of(map)
    return core.majorant_rows if norm == "linf" else core.majorant_columns


def sum_count(map: LinearMap, norm: str) -> int:
    """Roundings that a term of these sums can meet."""
    return map.terms if norm == "linf" else map.adjoint_terms


def majorant_up(map: LinearMap, norm: str) -> float:
    """Upper end of ||M||_p for the majorant M >= |A|; l2 by sqrt(l1 * linf). With M >= |B| entrywise also ||B||_p is below it.

    Proof. Sums of nonnegative floats: fl >= (1 - gamma_k) s, so s <= fl (1 + 2 gamma_k); the underflow of scaled weights is below 2^-900.
    """
    if norm == "l2":
        return sqrt_up(mul_up(majorant_up(map, "l1"), majorant_up(map, "linf")))
    scaled, e = map.scaled()
    top = float(sums(scaled, norm).max(initial=0.0))
    if not exact_sums(map, norm):
        top = up(up(top * up(1.0 + SUM_ROOM * gamma(sum_count(map, norm)))) + 2.0**-900)
    return mul_up(mul_up(top, 2.0 ** (e // 2)), 2.0 ** (e - e // 2))


def exact_sums(map: LinearMap, norm: str) -> bool:
    """Are these sums computed without rounding? Yes where all weights are 0 or one power of two: the sums are counts times it."""
    weights = np.abs(map.stored)
    top = float(weights.max(initial=0.0))
    return bool(((weights == 0.0) | (weights == top)).all()) and math.frexp(top)[0] in (0.0, 0.5) and map.entry_sums == 1
