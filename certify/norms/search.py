"""Searching for a vector that a map stretches most, and the certified quotient ||A v|| / ||v|| at the end of it."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import blas

from ..core.lanczos import krylov
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
    first = np.random.default_rng(seed).standard_normal(n) if start is None else start.ravel().astype(np.float64)
    lam, v, residual = krylov(lambda x: map.adjoint(map.apply(x.reshape(1, *map.input_shape))).ravel(), first, min(steps, n), tolerance, 5)
    return v.reshape(map.input_shape), lam, residual


def top_of_gram(gram: np.ndarray, steps: int) -> tuple[np.ndarray, float, float]:
    """(x, lam, residual): Ritz pair of the largest eigenvalue of a symmetric matrix, by Lanczos on one triangle of it. Proves nothing."""
    n = len(gram)
    lam, x, residual = krylov(lambda v: blas.dsymv(1.0, gram.T, v, lower=1), np.random.default_rng(0).standard_normal(n), min(steps, n), 1e-7, 5)
    return x, lam, residual
