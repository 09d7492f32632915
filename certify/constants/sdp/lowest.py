"""About the smallest eigenvalue of a symmetric map, for step lengths. An estimate: proves nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def lowest(apply: Callable[[np.ndarray], np.ndarray], n: int, rounds: int = 20) -> float:
    """About the smallest eigenvalue by Lanczos with full orthogonalisation, moved down by the residual."""
    v = np.cos(np.arange(1.0, n + 1))
    v /= np.linalg.norm(v)
    basis, low = [v], 0.0
    alphas: list[float] = []
    betas: list[float] = []
    for k in range(min(rounds, n)):
        w = apply(basis[-1])
        alphas.append(float(w @ basis[-1]))
        q = np.array(basis)
        for _ in range(2):
            w = w - q.T @ (q @ w)
        beta = float(np.linalg.norm(w))
        if k % 5 == 4 or beta < 1e-12 or k + 1 == min(rounds, n):
            values, vectors = np.linalg.eigh(np.diag(alphas) + np.diag(betas, 1) + np.diag(betas, -1))
            residual = beta * abs(float(vectors[-1, 0]))
            low = float(values[0]) - residual
            if residual < 0.02 * abs(float(values[0])) or beta < 1e-12:
                break
        betas.append(beta)
        basis.append(w / beta)
    return low
