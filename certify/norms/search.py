"""Searching for a vector that a map stretches most, and the certified quotient ||A v|| / ||v|| at the end of it."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import blas, eigh_tridiagonal

from ..core.rounding import add_up, div_down, gamma, mul_up, norm_down, sub_down
from ..linear.base import LinearMap
from .base import TINY
from .majorant import size_up

_BASIS_BYTES = 1 << 27


def quotient_down(map: LinearMap, v: np.ndarray) -> float:
    """Lower end of ||A v||_2 / ||v||_2, hence of ||A||_2, for the stored matrix of a scaled map and any float vector v.

    Claim [layer_norms.md 2.2]: |fl(A v) - A v| <= gamma_K M |v| entrywise (K = terms, M the majorant), so ||A v|| >= ||fl(A v)|| - err with
    err = gamma_K / (1 - gamma_K) ||fl(M |v|)||, each norm rounded its way. v is first scaled by a power of two; TINY pays for underflow.
    """
    peak = float(np.abs(v).max(initial=0.0))
    if not 0.0 < peak < math.inf:
        return 0.0
    v = np.ldexp(v, -math.frexp(peak)[1])
    value = map.apply(v[None])
    size = map.absolute().apply(np.abs(v)[None])
    error = add_up(mul_up(2.0 * gamma(map.terms + 1), size_up(size)), TINY)
    return max(0.0, div_down(sub_down(norm_down(value, "l2"), error), size_up(v)))


def top_vector(map: LinearMap, steps: int, start: np.ndarray | None = None, seed: int = 0, tolerance: float = 1e-7) -> tuple[np.ndarray, float, float]:
    """(v, lam, residual): an input that A stretches nearly as much as any, its Ritz value and residual for A'A. Lanczos on A'A with full reorthogonalisation. Proves nothing.

    A Ritz value is no bound (orthogonality may be lost): take the vector to `quotient_down`. Stops early when the residual of the
    Ritz pair is below `tolerance` relative. Cost: `steps` times apply and adjoint; memory steps vectors, at most 128 MiB of them.
    """
    n = map.input_size
    steps = max(2, min(steps, n, _BASIS_BYTES // (8 * n)))
    v = np.random.default_rng(seed).standard_normal(n) if start is None else start.ravel().astype(np.float64)
    v = v / np.linalg.norm(v)
    basis = np.empty((steps, n))
    alpha: list[float] = []
    beta: list[float] = []
    coefficients, lam, residual = np.ones(1), 0.0, 0.0
    for j in range(steps):
        basis[j] = v
        w = map.adjoint(map.apply(v.reshape(1, *map.input_shape))).ravel()
        alpha.append(float(v @ w))
        for _ in range(2):
            w = w - basis[: j + 1].T @ (basis[: j + 1] @ w)
        size = float(np.linalg.norm(w))
        if j % 5 == 4 or j + 1 == steps or not size > tolerance * alpha[0]:
            values, vectors = eigh_tridiagonal(alpha, beta, select="i", select_range=(j, j))
            coefficients, lam = vectors[:, 0], float(values[0])
            residual = size * abs(float(coefficients[-1]))
            if not residual > tolerance * abs(lam):
                break
        beta.append(size)
        v = w / size
    return (basis[: len(coefficients)].T @ coefficients).reshape(map.input_shape), lam, residual


def top_of_gram(gram: np.ndarray, steps: int) -> tuple[np.ndarray, float, float]:
    """(x, lam, residual): Ritz pair of the largest eigenvalue of a symmetric matrix, by Lanczos on one triangle of it. Proves nothing."""
    n = len(gram)
    v = np.random.default_rng(0).standard_normal(n)
    v /= np.linalg.norm(v)
    basis = np.empty((min(steps, n), n))
    alpha: list[float] = []
    beta: list[float] = []
    for j in range(len(basis)):
        basis[j] = v
        w = blas.dsymv(1.0, gram.T, v, lower=1)
        alpha.append(float(v @ w))
        for _ in range(2):
            w = w - basis[: j + 1].T @ (basis[: j + 1] @ w)
        size = float(np.linalg.norm(w))
        if j % 5 == 4 or j + 1 == len(basis) or not size > 1e-7 * alpha[0]:
            values, vectors = eigh_tridiagonal(alpha, beta, select="i", select_range=(j, j))
            lam, y = float(values[0]), vectors[:, 0]
            residual = size * abs(float(y[-1]))
            if residual <= 1e-7 * lam or j + 1 == len(basis) or not size > 1e-7 * alpha[0]:
                break
        beta.append(size)
        v = w / size
    return basis[: len(y)].T @ y, lam, residual
