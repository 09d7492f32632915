"""Tensor: a polynomial in Bernstein form over a box, B(t) = sum_k b_k prod_i binom(d_i, k_i) y_i^k_i (1 - y_i)^(d_i - k_i), y = (1 + t) / 2, t in [-1, 1]^n.

The coefficients are floats and define B exactly. What is computed from them carries its rounding: with nonnegative weights that sum to one, any value of
B, of a derivative or of a difference is a convex combination, so a relative error g of the weights is an absolute error g max |b|.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from certify.core.rounding import U, gamma

from ..sets.ring import Ring
from .bernstein_kernels import casteljau_rows, horner_rows

HIGHEST_POWER = 12  # above, the power basis on [-1, 1] loses more digits than de Casteljau costs


@dataclass(frozen=True, eq=False)
class Tensor:
    """Coefficients (outputs, d_1 + 1, ..., d_n + 1); n = 0 is a constant."""

    coefficients: np.ndarray

    @property
    def degrees(self) -> tuple[int, ...]:
        return tuple(n - 1 for n in self.coefficients.shape[1:])

    @functools.cached_property
    def size(self) -> np.ndarray:
        """(outputs,) max |b|."""
        return np.abs(self.coefficients.reshape(len(self.coefficients), -1)).max(axis=1)

    @property
    def roundings(self) -> float:
        """Relative error of the weights of `values`, and of the sum: each weight meets 3 d + 4 roundings per variable, each of its sums d + 1."""
        return gamma(4 * (sum(4 * d + 6 for d in self.degrees) + 4))

    def values(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, outputs) values at float points t (N, n) of [-1, 1]^n, and their error (outputs,)."""
        return _contract(self.coefficients, [weights(d, t[:, i]) for i, d in enumerate(self.degrees)], len(t)), self.roundings * self.size

    def gradients(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, outputs, n) derivatives by t_i, and their error (outputs, n)."""
        basis = [weights(d, t[:, i]) for i, d in enumerate(self.degrees)]
        made = np.zeros((len(t), len(self.coefficients), len(self.degrees)))
        for i, d in enumerate(self.degrees):
            if d:
                low = [weights(d - 1, t[:, i]) if j == i else w for j, w in enumerate(basis)]
                made[:, :, i] = _contract(self._difference(i), low, len(t))
        error = np.array([2.0 * d for d in self.degrees]) * (self.roundings * self.size[:, None])
        return made, error

    def _difference(self, *axes: int) -> np.ndarray:
        """Coefficients of the derivative by t_i for i in axes: differences times d / 2, each within 2 u d max |b| per order."""
        b = self.coefficients
        for i in axes:
            b = np.diff(b, axis=i + 1) * (0.5 * (b.shape[i + 1] - 1))
        return b

    @functools.cached_property
    def slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """(lower, upper), each (outputs, n): the range of every derivative by t_i over [-1, 1]^n, by its coefficients."""
        low, high = np.zeros((2, len(self.coefficients), len(self.degrees)))
        for i, d in enumerate(self.degrees):
            if d:
                b = self._difference(i).reshape(len(low), -1)
                error = 4 * U * d * self.size
                low[:, i], high[:, i] = np.nextafter(b.min(axis=1) - error, -np.inf), np.nextafter(b.max(axis=1) + error, np.inf)
        return low, high

    @functools.cached_property
    def bend(self) -> np.ndarray:
        """(outputs, n, n) bounds of the second derivatives over [-1, 1]^n."""
        n = len(self.degrees)
        made = np.zeros((len(self.coefficients), n, n))
        for i in range(n):
            for j in range(n):
                d, e = self.degrees[i], self.degrees[j] - (i == j)
                if d > 0 and e > 0:
                    b = np.abs(self._difference(i, j).reshape(len(made), -1)).max(axis=1)
                    made[:, i, j] = (b + 16 * U * d * e * self.size) * (1 + 4 * U)
        return made

    def compose(self, r: Ring, rows: np.ndarray, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(coefficients (outputs, M), remainder (outputs,)) of B(t(s)), for t_i in rows[i] +- rest[i] pointwise and all true t_i in [-1, 1].

        Power basis with the error of its conversion per variable, or de Casteljau above degree HIGHEST_POWER.
        """
        outputs, degrees = len(self.coefficients), self.degrees
        C, R = self.coefficients, np.zeros(self.coefficients.shape)
        for i, d in enumerate(degrees):
            if 0 < d <= HIGHEST_POWER:
                C, R = _converted(C, R, i + 1, d)
        polynomials = np.zeros((*C.shape, r.size))
        polynomials[..., 0] = C
        product, end, degree, _even, order = r.tables
        for i in range(len(degrees) - 1, -1, -1):
            width = degrees[i] + 1
            C3, R2 = polynomials.reshape(-1, width, r.size), R.reshape(-1, width)
            if degrees[i] <= HIGHEST_POWER:
                H, e = horner_rows(C3, R2, rows[i], rest[i], product, end, degree, order)
            else:
                y = 0.5 * rows[i]
                y[0] += 0.5
                H, e = casteljau_rows(C3, R2, y, (0.5 * rest[i] + 2 * U * abs(y[0])) * (1 + 4 * U) + 1e-290, product, end, degree, order)
            polynomials, R = H.reshape(*polynomials.shape[:-2], r.size), e.reshape(R.shape[:-1])
        return polynomials.reshape(outputs, r.size), R.reshape(outputs)


def weights(d: int, t: np.ndarray) -> np.ndarray:
    """(N, d + 1) weights binom(d, k) y^k (1 - y)^(d - k) at y = (1 + t) / 2: all nonnegative, each within gamma(3 d + 4) of itself."""
    y, z = 0.5 * (1.0 + t), 0.5 * (1.0 - t)
    up, down = np.ones((len(t), d + 1)), np.ones((len(t), d + 1))
    for k in range(1, d + 1):
        up[:, k] = up[:, k - 1] * y
        down[:, d - k] = down[:, d - k + 1] * z
    return up * down * _binomials(d)


@functools.lru_cache(maxsize=64)
def _binomials(d: int) -> np.ndarray:
    return np.array([float(math.comb(d, k)) for k in range(d + 1)])


def _contract(b: np.ndarray, basis: list[np.ndarray], count: int) -> np.ndarray:
    """sum_k b[o, k] prod_i basis_i[n, k_i], (count, outputs)."""
    made = np.broadcast_to(b, (count, *b.shape)) if not basis else None
    if made is not None:
        return made.reshape(count, -1)
    first = np.moveaxis(b, 1, -1) @ basis[0].T  # (outputs, d_2 + 1, ..., count)
    made = np.moveaxis(first, -1, 0)
    for w in basis[1:]:
        made = np.einsum("noj...,nj->no...", made, w)
    return made


@functools.lru_cache(maxsize=64)
def _power_matrix(d: int) -> tuple[np.ndarray, np.ndarray]:
    """(P, |P|): power coefficients in t of the Bernstein polynomials of degree d on [-1, 1], each entry rounded once from the exact rational."""
    exact = [[Fraction(0)] * (d + 1) for _ in range(d + 1)]
    for k in range(d + 1):  # binom(d, k) (1 + t)^k (1 - t)^(d - k) / 2^d
        for a in range(k + 1):
            for c in range(d - k + 1):
                exact[a + c][k] += Fraction(math.comb(d, k) * math.comb(k, a) * math.comb(d - k, c) * (-1) ** c, 2**d)
    matrix = np.array([[float(v) for v in row] for row in exact])
    return matrix, np.abs(matrix)


def _converted(C: np.ndarray, R: np.ndarray, axis: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """One variable from Bernstein to power basis: |error| <= |P| R + gamma(d + 2) |P||C| entrywise."""
    matrix, size = _power_matrix(d)
    turned, loss = np.moveaxis(C, axis, -1), np.moveaxis(R, axis, -1)
    made = turned @ matrix.T
    error = (loss + gamma(d + 3) * np.abs(turned)) @ size.T * (1 + 2 * gamma(d + 12)) + 1e-290 * (turned != 0).any()
    return np.ascontiguousarray(np.moveaxis(made, -1, axis)), np.ascontiguousarray(np.moveaxis(error, -1, axis))
