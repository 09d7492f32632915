"""Polynomials at points, with the rounding of the evaluation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from certify.core.errors import InputError
from certify.core.rounding import TINY, gamma, norms_up, up

from .ring import Ring


def values(ring: Ring, coefficients: np.ndarray, points: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """(value, radius), each (count, n): |value - p_i(s)| <= radius for points (count, f) of the ring's domain.

    Proof. A computed monomial has at most k factors, none above 1: it is x^a (1 + t) + e, |t| <= gamma_k, |e| <= k eta. So the inner product of length M
    errs by at most (gamma_M + gamma_2k) S + (2 k |c|_1 + M) eta for S = sum |c_a| |fl(x^a)|, and S <= fl(S) (1 + 2 gamma_M) + M eta. Everything in front of
    fl(S), second orders included, is below gamma_(2 (M + 2 k) + 8); the eta terms are below 2^-1000 (1 + |c|_1).

    Raises:
        InputError: a point outside of the domain, or of another dimension.
    """
    s = np.asarray(points, np.float64)
    low = np.full(ring.variables, -1.0)
    low[ring.variables - ring.time :] = 0.0
    if s.ndim != 2 or s.shape[1] != ring.variables or not ((low <= s) & (s <= 1.0)).all():
        expected = f"(count, {ring.variables}), entries in [-1, 1]{' and tau in [0, 1]' * ring.time}"
        raise InputError("these are not points of the polynomial's domain", found=f"shape {s.shape}", expected=expected)
    with np.errstate(all="ignore"):
        m = monomials(ring, s)
        value, size = m @ coefficients.T, np.abs(m) @ np.abs(coefficients).T
        return value, up(up(size * gamma(2 * (ring.size + 2 * ring.order) + 8)) + up(TINY * (1.0 + norms_up(coefficients, "l1"))))


def monomials(ring: Ring, points: np.ndarray) -> np.ndarray:
    """(count, M) computed monomials: powers by repeated multiplication, then their products; degree - 1 roundings each."""
    powers = np.ones((len(points), ring.variables, ring.order + 1))
    for e in range(1, ring.order + 1):
        powers[:, :, e] = powers[:, :, e - 1] * points
    made = np.ones((len(points), ring.size))
    for i in range(ring.variables):
        made *= powers[:, i, ring.exponents[:, i]]
    return made


def domain_points(ring: Ring, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, f) points of the domain: half of them inside, half corners."""
    s = rng.uniform(-1.0, 1.0, (count, ring.variables))
    corner = rng.random(count) < 0.5
    s[corner] = np.where(s[corner] < 0, -1.0, 1.0)
    if ring.time:
        s[:, -1] = 0.5 * (s[:, -1] + 1.0)
    return s
