"""Estimates of the largest eigenvalue, for the search that precedes a proof. Nothing here is a bound."""

from __future__ import annotations

from collections.abc import Callable

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
    lam, _, residual = krylov(lambda x: (a @ (x * before)) * after, v, min(_STEPS, n), 0.01 * _GOOD, 10)
    return lam, residual


def krylov(apply: Callable[[np.ndarray], np.ndarray], start: np.ndarray, steps: int, tolerance: float, every: int) -> tuple[float, np.ndarray, float]:
    """(lam, x, residual): the largest Ritz pair of a Hermitian map by at most `steps` Lanczos steps with full reorthogonalisation. Proves nothing.

    A Ritz value is no bound: orthogonality may be lost. Every `every` steps the residual |G x - lam x| is looked at; below `tolerance` lam it stops. The dtype
    is that of `start`, which need not be a unit vector.
    """
    v: np.ndarray = start / max(float(np.linalg.norm(start)), 1e-290)
    basis = np.empty((steps, len(v)), dtype=v.dtype)
    alpha: list[float] = []
    beta: list[float] = []
    for j in range(steps):
        basis[j] = v
        w: np.ndarray = apply(v)
        alpha.append(float(np.vdot(v, w).real))
        for _ in range(2):
            w = w - basis[: j + 1].T @ (basis[: j + 1].conj() @ w)
        size, top = float(np.linalg.norm(w)), max(map(abs, alpha))
        if j + 1 == steps or j % every == every - 1 or not size > tolerance * top:
            values, vectors = eigh_tridiagonal(alpha, beta, select="i", select_range=(j, j))
            lam, weights = float(values[0]), vectors[:, 0]
            residual = size * abs(float(weights[-1]))
            if j + 1 == steps or not residual > tolerance * abs(lam) or not size > 1e-13 * top:
                break
        beta.append(size)
        v = w / size
    return lam, basis[: len(weights)].T @ weights, residual
