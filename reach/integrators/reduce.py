"""Order reduction: keep the generators that matter, box the others (Girard 2005)."""

from __future__ import annotations

import numpy as np

from ..sets.kernels import TINY
from ..sets.polyzonotope import row_sums


def reduce(generators: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray | None]:
    """(G', kept): at most `columns` generators whose zonotope contains that of the given ones.

    The columns that lose least when boxed (|g|_1 - |g|_inf after scaling the rows; axis-parallel ones lose nothing) become one box; `kept` are the
    positions of the others, None when nothing was boxed. Claim: {G eps} is inside {G' eps'}, rounding of the row sums included.
    """
    n, m = generators.shape
    if m <= columns:
        return generators, None
    sizes = np.abs(generators) / (np.abs(generators).sum(1, keepdims=True) + 1e-300)
    loss = np.argsort(sizes.sum(0) - sizes.max(0), kind="stable")
    boxed, kept = loss[: m - columns + n], np.sort(loss[m - columns + n :])
    return np.hstack([generators[:, kept], np.diag(row_sums(generators[:, boxed]) + TINY)]), kept
