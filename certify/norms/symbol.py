"""The symbol F(w) = sum_j R[j] exp(i <w, j>) at grid points, and its Gram matrix G = F F* with a proven error (R1, R2)."""

from __future__ import annotations

import functools
import math
from itertools import product

import numpy as np
from scipy.linalg import blas

from ..core.rounding import U, gamma, mul_up, up
from .majorant import size_up

_ROOT2 = up(math.sqrt(2.0))
_WIDE = 128 * 128  # kernels up to this size are copied side by side for fewer, longer products


@functools.lru_cache(maxsize=64)
def roots(n: int) -> np.ndarray:
    """exp(i pi q / n), q = 0 .. 2n - 1; each component within 4u of the exact value (R1).

    The argument is reduced to at most pi/4 by integers, so fl(pi r) is off by at most 1.9u; assumption "libm": sin and cos within 2 ulp.

    >>> bool((roots(2) == [1, 1j, -1, -1j]).all())
    True
    """
    table = np.empty(2 * n, dtype=np.complex128)
    for q in range(2 * n):
        octant, r = divmod(4 * q, n)  # angle = octant pi/4 + (r / n) pi/4
        x = math.pi * ((n - r if octant % 2 else r) / (4 * n))
        c, s = (math.sin(x), math.cos(x)) if octant % 2 else (math.cos(x), math.sin(x))
        c, s = ((c, s), (-s, c), (-c, -s), (s, -c))[octant // 2]
        table[q] = complex(c, s)
    table.setflags(write=False)
    return table


def phases(numerators: np.ndarray, period: tuple[int, ...], vectors: np.ndarray) -> np.ndarray:
    """exp(i <w, l>) for w_i = pi numerators_i / period_i: (points, D) by (L, D) integers -> (points, L), each within eps_c = 9 D u."""
    out = np.ones((len(numerators), len(vectors)), dtype=np.complex128)
    for k, n in enumerate(period):
        out *= roots(n)[(numerators[:, k : k + 1] * vectors[None, :, k]) % (2 * n)]
    return out


class Symbol:
    """R of shape (a, b, *J) with its shifts, turned so that a <= b.

    `gram(numerators, period)` returns Gh with || Gh - G(w) || <= `slack` for every w_i = pi numerators_i / period_i (integers), where G has
    the eigenvalues of F(w) F(w)* (or of F* F: the smaller side). Weights scaled to at most 1.

    Proof of `slack`. P = sum_j |R[j]|; every entry of a lag product sum is a sum of products of |R| bounded by P P'. With phases exact up
    to eps_c: by lags (Gram = sum over lags of phase * C_l) each term meets at most K + L + 2 roundings, K = taps * b (K + 2 L + 8 in
    `LineGram`), so |Gh - G| <= sqrt2 (gamma_(K+2L+8) (1 + eps_c) + eps_c) P P'  [R2]. Directly: |Fh - F| <= sqrt2 g P with g = gamma_J (1 + eps_c) + eps_c, and
    the product of two complex matrices of inner length b has components that are real inner products of 2b terms:
    |Gh - G| <= sqrt2 (gamma_(2b) (1 + sqrt2 g)^2 + 2 g + sqrt2 g^2) P P'. And || P P' || <= ||P||_F^2.
    """

    def __init__(self, taps: np.ndarray, shifts: list[np.ndarray]):
        self.transposed = taps.shape[0] > taps.shape[1]
        self.taps = np.ascontiguousarray(taps.swapaxes(0, 1) if self.transposed else taps)
        self.a, self.b = self.taps.shape[:2]
        self.dims = self.taps.ndim - 2
        self.at = np.array(list(product(*shifts)), dtype=np.int64).reshape(-1, self.dims)  # shift vector of each tap, in memory order
        self.degrees = tuple(len(s) for s in shifts)
        self.flat = self.taps.reshape(self.a, self.b, -1)
        self.by_lags = self._lags_pay()
        majorant = size_up(np.abs(self.flat).sum(2))
        weight = mul_up(mul_up(majorant, majorant), up(1.0 + 4.0 * gamma(len(self.at) + 1)))
        eps = 9.0 * self.dims * U
        if self.by_lags:
            self._prepare_lags()
            g = up(up(gamma(len(self.at) * self.b + 2 * len(self.lags) + 8) * (1.0 + 2.0 * eps)) + up(eps))  # `LineGram` needs 2 L + 8
        else:
            g1 = up(up(gamma(len(self.at)) * (1.0 + 2.0 * eps)) + up(eps))
            g = up(up(gamma(2 * self.b) * (1.0 + 4.0 * g1)) + up(2.0 * g1 * (1.0 + 2.0 * g1)))
        self.slack = mul_up(mul_up(up(_ROOT2 * (1.0 + 8.0 * U)), g), weight)

    def _lags_pay(self) -> bool:
        lags = (math.prod(2 * j - 1 for j in self.degrees) + 1) // 2
        return self.a > 2 and len(self.at) <= 200 and 4 * lags * self.a**2 < 4 * len(self.at) * self.a * self.b + 8 * self.a**2 * self.b

    def _prepare_lags(self) -> None:
        pairs: dict[tuple[int, ...], tuple[list[int], list[int]]] = {}
        zero = (0,) * self.dims
        for x, from_shift in enumerate(self.at.tolist()):
            for y, to_shift in enumerate(self.at.tolist()):
                lag = tuple(t - f for t, f in zip(to_shift, from_shift))
                if lag >= zero:
                    left, right = pairs.setdefault(lag, ([], []))
                    left.append(x)
                    right.append(y)
        order = sorted(pairs)  # (0, .., 0) first
        lagged = np.stack([self._lag_product(*pairs[lag]) for lag in order])
        self.lags = np.array(order, dtype=np.int64).reshape(-1, self.dims)
        flipped = lagged.transpose(0, 2, 1)
        self.center = (lagged[0] + flipped[0]) / 2
        self.even = (lagged[1:] + flipped[1:]).reshape(len(order) - 1, self.a * self.a)
        self.odd = (flipped[1:] - lagged[1:]).reshape(len(order) - 1, self.a * self.a)

    def _lag_product(self, left: list[int], right: list[int]) -> np.ndarray:
        """sum_k R[left_k] R[right_k]', as one product of long rows, or added up where copies of the kernel would cost more."""
        if self.a * self.b <= _WIDE:
            rows = self._by_tap.transpose(1, 0, 2)
            return rows[:, left].reshape(self.a, -1) @ rows[:, right].reshape(self.a, -1).T
        total = np.zeros((self.a, self.a), order="F")
        for x, y in zip(left, right):
            total = blas.dgemm(1.0, self._by_tap[y].T, self._by_tap[x].T, beta=1.0, c=total, trans_a=1, overwrite_c=1)
        return total.T

    @functools.cached_property
    def _by_tap(self) -> np.ndarray:
        """(taps, a, b)."""
        return np.ascontiguousarray(np.moveaxis(self.flat, 2, 0))

    def matrix(self, numerators: np.ndarray, period: tuple[int, ...]) -> np.ndarray:
        """F(w) of the turned symbol, (points, a, b), as computed."""
        ph = phases(numerators, period, self.at)
        rows = self._by_tap.reshape(len(self.at), -1)
        out = np.empty((len(ph), self.a, self.b), dtype=np.complex128)
        out.real = (ph.real @ rows).reshape(out.shape)
        out.imag = (ph.imag @ rows).reshape(out.shape)
        return out

    def gram(self, numerators: np.ndarray, period: tuple[int, ...]) -> np.ndarray:
        """Gh, (points, a, a) complex Hermitian, || Gh - G(w) || <= slack."""
        if not self.by_lags:
            f = self.matrix(numerators, period)
            if self.a == 1:
                return np.einsum("nab,nab->na", f.real, f.real)[..., None] + np.einsum("nab,nab->na", f.imag, f.imag)[..., None] + 0j
            return f @ f.conj().transpose(0, 2, 1)
        ph = phases(numerators, period, self.lags[1:])
        out = np.empty((len(ph), self.a, self.a), dtype=np.complex128)
        out.real = (ph.real @ self.even).reshape(out.shape) + self.center
        out.imag = (ph.imag @ self.odd).reshape(out.shape)
        return out
