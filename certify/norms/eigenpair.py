"""Estimates of the largest eigenvalue of Hermitian matrices: search only, nothing here proves anything."""

from __future__ import annotations

import numpy as np

from ..core.lanczos import krylov


def rayleigh(gram: np.ndarray, start: np.ndarray | None, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Rayleigh quotients and vectors after a few power steps on each matrix of a stack."""
    n, a = gram.shape[:2]
    first = np.ones(a) + 0.1j * np.arange(a) if start is None else start
    v = np.broadcast_to(first.reshape(1, a, 1), (n, a, 1)).astype(np.complex128)
    for _ in range(steps):
        v = gram @ v
        v /= np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-290)
    return np.einsum("nak,nak->n", v.conj(), gram @ v).real, v[:, :, 0]


def lanczos_each(gram: np.ndarray, steps: int, start: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Largest Ritz values and vectors of a few Lanczos steps on each matrix of a stack, from one start vector (row) per matrix; all eigenvalues where the
    matrices are small. Never above the largest eigenvalue but for rounding; far better than as many power steps where eigenvalues crowd."""
    n, a = gram.shape[:2]
    if a <= 8:
        values, vectors = np.linalg.eigh(gram)
        return values[:, -1], vectors[:, :, -1]
    steps = min(steps, a)
    first = np.broadcast_to(1.0 + 0.1j * np.arange(a), (n, a)) if start is None else start
    v = first / np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-290)
    basis, alpha, beta = np.empty((steps, n, a), dtype=np.complex128), np.zeros((n, steps)), np.zeros((n, steps))
    for j in range(steps):
        basis[j] = v
        w = (gram @ v[:, :, None])[:, :, 0]
        alpha[:, j] = np.einsum("na,na->n", v.conj(), w).real
        w = w - alpha[:, j, None] * v
        if j:
            w -= beta[:, j - 1, None] * basis[j - 1]
        beta[:, j] = np.linalg.norm(w, axis=1)
        v = w / np.maximum(beta[:, j, None], 1e-290)
    small = np.zeros((n, steps, steps))
    diagonal = np.arange(steps)
    small[:, diagonal, diagonal] = alpha
    small[:, diagonal[1:], diagonal[:-1]] = small[:, diagonal[:-1], diagonal[1:]] = beta[:, : steps - 1]
    values, vectors = np.linalg.eigh(small)
    return values[:, -1], np.einsum("jna,nj->na", basis, vectors[:, :, -1])


def top_eigenpair(matrix: np.ndarray, start: np.ndarray, steps: int = 40) -> tuple[float, np.ndarray]:
    """Estimate of the largest eigenvalue of one Hermitian matrix and its vector: all eigenvalues when small, else Lanczos."""
    a = len(matrix)
    if a <= 64:
        values, vectors = np.linalg.eigh(matrix)
        return float(values[-1]), vectors[:, -1]
    value, vector, _ = krylov(lambda v: matrix @ v, start.astype(np.complex128), min(steps, a), 1e-8, steps)
    return value, vector
