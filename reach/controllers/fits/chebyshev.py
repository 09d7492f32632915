"""Chebyshev tables of the kernels: points, interpolation weights, samples, and the two changes of basis, each entry correctly rounded to within 2^-53 relative or better.

T_k(cos a) = cos(k a). Interpolation at the n points tau_j = cos((2j + 1) pi / 2n) has the coefficients c_k = (2 / n) sum_j v_j cos(k (2j + 1) pi / 2n)
(half of it for k = 0), by the discrete orthogonality of the cosines. Cosines are computed in integers: 2^-128 fixed point, Taylor series.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

SIZES = (8, 12, 16, 20, 24, 32)  # numbers of interpolation points
SAMPLES = 64  # angles i pi / SAMPLES, i = 0..SAMPLES
TOP = 8  # the largest degree of a fit
_PI = 31415926535897932384626433832795028841971693993751  # times 10^49
_BITS = 128


def cosines(n: int) -> list[Fraction]:
    """cos(i pi / (2 n)) for i = 0..4 n, each within 2^-120."""
    one = 1 << _BITS
    quarter = []
    for i in range(n + 1):
        a = (_PI * i << _BITS) // (2 * n * 10**49)
        square, term, total, k = a * a >> _BITS, one, one, 0
        while term:
            k += 2
            term = -(term * square >> _BITS) // (k * (k - 1))
            total += term
            if abs(term) <= 1:
                break
        quarter.append(Fraction(total, one))
    quarter[n] = Fraction(0)
    half = quarter + [-c for c in quarter[-2::-1]]
    return half + half[-2::-1]


def _interpolation(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (32,) and weights (32, 32): c_k = sum_j weights[j, k] v_j; zero beyond n."""
    cos = cosines(n)
    points, weights = np.zeros(SIZES[-1]), np.zeros((SIZES[-1], SIZES[-1]))
    points[:n] = [float(c) for c in cos[1 : 2 * n : 2]]
    scaled = np.array([float(c * 2 / n) for c in cos[:-1]])
    j, k = np.mgrid[:n, :n]
    weights[:n, :n] = scaled[k * (2 * j + 1) % (4 * n)]
    weights[:, 0] /= 2.0
    return points, weights


def _bases() -> tuple[np.ndarray, np.ndarray]:
    """(B, A): T_k = sum_j B[j, k] t^j, and t^j = sum_k A[k, j] T_k; integers and dyadic numbers, exact. [t T_k = (T_{k-1} + T_{k+1}) / 2]"""
    b, a = np.zeros((TOP + 1, TOP + 1)), np.zeros((TOP + 1, TOP + 1))
    b[0, 0] = b[1, 1] = a[0, 0] = 1.0
    for k in range(2, TOP + 1):
        b[1:, k] = 2.0 * b[:-1, k - 1]
        b[:, k] -= b[:, k - 2]
    for j in range(1, TOP + 1):
        for k in range(j):
            up, down = (1.0, 0.0) if k == 0 else (0.5, 0.5)
            a[k + 1, j] += up * a[k, j - 1]
            a[k - 1, j] += down * a[k, j - 1]
    return b, a


_found = [_interpolation(n) for n in SIZES]
NUMBER = np.array(SIZES)
POINTS = np.array([points for points, _ in _found])
WEIGHTS = np.array([weights for _, weights in _found])
_angles = np.array([float(c) for c in cosines(SAMPLES // 2)[:-1]])
SAMPLED = _angles[np.outer(np.arange(SIZES[-1]), np.arange(SAMPLES + 1)) % (2 * SAMPLES)]  # T_k(cos(i pi / 64))
TO_POWER, TO_CHEBYSHEV = _bases()
