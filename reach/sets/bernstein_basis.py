"""Matrices and recursions of the univariate Bernstein basis of degree d on [0, 1]: conversion, elevation, weights, subdivision."""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np

from certify.core.rounding import TINY, gamma, up


def slack(roundings: int, size: np.ndarray) -> np.ndarray:
    """Upper end of gamma_n size + (underflow), for size >= 0 that is no smaller than the true one.

    Underflow: fewer than 2^50 operations err by eta each, matrix entries by eta times the data, none amplified by more than 2: below 2^-1000 (1 + size).
    """
    with np.errstate(over="ignore"):
        return up(up(gamma(roundings) * size) + up(TINY * (1.0 + size)))


def along(matrix: np.ndarray, tensor: np.ndarray, axis: int) -> np.ndarray:
    """The matrix (new, old) applied to one axis of the tensor."""
    return np.moveaxis(np.tensordot(tensor, matrix, axes=([axis], [1])), -1, axis)


@functools.lru_cache(maxsize=256)
def from_power(d: int, unit: bool) -> np.ndarray:
    """(d + 1, d + 1) T: the power x^i has the Bernstein coefficients T[:, i], for x in [-1, 1] or, with `unit`, in [0, 1]. Entries are rounded once.

    T[k, i] is the mean over the i-subsets of k ones and d - k minus ones (zeros, with `unit`) of their product (the blossom of x^i), so |T| <= 1:
    T[k, i] C(d, i) = sum_j (-1)^(i - j) C(k, j) C(d - k, i - j), or C(k, i).
    """

    def entry(k: int, i: int) -> float:
        count = math.comb(k, i) if unit else sum((-1) ** (i - j) * math.comb(k, j) * math.comb(d - k, i - j) for j in range(i + 1))
        return float(Fraction(count, math.comb(d, i)))

    return _frozen([[entry(k, i) for i in range(d + 1)] for k in range(d + 1)])


@functools.lru_cache(maxsize=256)
def elevation(d: int, new: int) -> np.ndarray:
    """(new + 1, d + 1) weights C(d, j) C(new - d, k - j) / C(new, k) >= 0 with row sums 1: the coefficients of degree `new`. Entries are rounded once."""

    def entry(k: int, j: int) -> float:
        return float(Fraction(math.comb(d, j) * math.comb(new - d, k - j), math.comb(new, k))) if 0 <= k - j <= new - d else 0.0

    return _frozen([[entry(k, j) for j in range(d + 1)] for k in range(new + 1)])


def _frozen(rows: list[list[float]]) -> np.ndarray:
    matrix = np.array(rows, np.float64)
    matrix.setflags(write=False)
    return matrix


def weights(d: int, y: np.ndarray) -> np.ndarray:
    """(count, d + 1) computed C(d, k) y^k (1 - y)^(d - k) for y in [0, 1]: nonnegative, at most 3 d roundings each (1 - y, two products and a sum a level)."""
    made = np.ones((len(y), 1))
    y = y[:, None]
    for _ in range(d):
        z = np.zeros((len(y), 1))
        made = np.hstack([made, z]) * (1.0 - y) + np.hstack([z, made]) * y
    return made


def casteljau(b: np.ndarray, at: float) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (d + 1, ...) of the parts on [0, at] and [at, 1], along the first axis."""
    left, right = np.array(b), np.array(b)
    d = len(b) - 1
    for level in range(1, d + 1):
        right[: d + 1 - level] = (1.0 - at) * right[: d + 1 - level] + at * right[1 : d + 2 - level]
        left[level] = right[0]
    return left, right


def unit_coordinates(points: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """(x - lower) / (upper - lower) in [0, 1], 0 where the width is 0: two differences and a quotient, so relative gamma_3 (and eta at an underflow).

    Rounding is monotone, hence no quotient passes 1.
    """
    width = upper - lower
    return np.where(width > 0.0, (points - lower) / np.where(width > 0.0, width, 1.0), 0.0)
