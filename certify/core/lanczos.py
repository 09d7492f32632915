"""Estimates of the largest eigenvalue, for the search that precedes a proof. Nothing here is a bound."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import eigh_tridiagonal

_DENSE = 300
_DENSE_AFTER_ALL = 2000
_STEPS = 300
_GOOD = 1e-5  # relative residual: the error is about its square over the gap


def largest(a: np.ndarray, k: int) -> tuple[float, float]:
    """Estimate of lambda_max(2^-k A) and of its error (0 for the dense route). Search only: nothing is proved with it."""
    if len(a) <= _DENSE:
        return _dense(a, k)
    lam, residual = _lanczos(a, 2.0 ** (-k // 2), 2.0 ** (-k - (-k // 2)))
    if residual > _GOOD * abs(lam) and len(a) <= _DENSE_AFTER_ALL:
        return _dense(a, k)  # an eigenvalue inside a crowd, as at the lower end of a Gram matrix
    return lam, residual


def _dense(a: np.ndarray, k: int) -> tuple[float, float]:
    parts = np.ldexp(a.real, -k) + 1j * np.ldexp(a.imag, -k) if np.iscomplexobj(a) else np.ldexp(a, -k)
    try:
        return float(np.linalg.eigvalsh(parts)[-1]), 0.0
    except np.linalg.LinAlgError:
        return float(np.diagonal(parts).real.max()), 1.0


def _lanczos(a: np.ndarray, before: float, after: float) -> tuple[float, float]:
    """Lanczos with full reorthogonalisation on before * after * A (two factors: neither overflows), at most `_STEPS` steps.

    Without restarts and from a fixed random start: reproducible, and faster than restarted versions at the sizes met here.
    """
    n = len(a)
    v = np.random.default_rng(0).standard_normal(n).astype(a.dtype)
    v /= np.linalg.norm(v)
    basis = np.empty((min(_STEPS, n), n), dtype=a.dtype)
    alpha: list[float] = []
    beta: list[float] = []
    lam, residual = 0.0, math.inf
    for j in range(len(basis)):
        basis[j] = v
        w = (a @ (v * before)) * after
        alpha.append(float(np.vdot(v, w).real))
        for _ in range(2):
            w -= basis[: j + 1].T @ (basis[: j + 1].conj() @ w)
        size = float(np.linalg.norm(w))
        if (j + 1) % 10 == 0 or j + 1 == len(basis) or size < 1e-13:
            values, vectors = eigh_tridiagonal(alpha, beta, select="i", select_range=(j, j))
            lam, residual = float(values[0]), size * abs(float(vectors[-1, 0]))
            if residual <= 0.01 * _GOOD * abs(lam) or size < 1e-13:
                break
        beta.append(size)
        v = w / size
    return lam, residual
