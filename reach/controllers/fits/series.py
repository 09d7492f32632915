"""Chebyshev interpolation of tanh(m + w t) on [-1, 1] with a proved remainder, and the error of any polynomial against it.

g(t) = tanh(m + w t). Let rho = (Y + sqrt(Y^2 + w^2)) / w, Y = 1.47 < pi / 2. The ellipse with foci +-1 and semi-axes (rho +- 1/rho) / 2 is mapped by m + w t into
|Im| <= Y, where |tanh(x + iy)|^2 = (sinh^2 x + sin^2 y) / (sinh^2 x + cos^2 y) <= max(1, tan^2 y), at most 9.9^2. If the image lies right of a > 0 (left of -a),
|tanh -+ 1| = 2 |e^-2z| / |1 + e^-2z| <= 2 e^-2a / (1 - e^-2a) as well; M is the smaller. So the Chebyshev coefficients of g (a constant subtracted) obey
|a_k| <= 2 M rho^-k for k >= 1. At n Chebyshev points T_k, k >= n, equals +-T_j with some j < n or 0, hence for the interpolant P

    |g - P| <= sum_{k >= n} 2 |a_k| <= 4 M rho^-(n-1) / (rho - 1).                    (Trefethen, Approximation Theory and Practice, chapters 4 and 8)

The values at the n points are wrong by at most e each: the coefficients then move by D with sum' D_k^2 <= 2 e^2 (discrete orthogonality), so P moves by at most
sqrt(2 n) e <= 8 e. What remains is the polynomial q - P = sum_k E_k T_k of degree n - 1: bounded by sum |E_k| or, as a function of the
angle, by samples at distance h = pi / 64 plus h^2 / 8 sum k^2 |E_k|.
"""

from __future__ import annotations

import math

import numpy as np

from ...sets.jit import jit
from .chebyshev import NUMBER, POINTS, SAMPLED, SAMPLES, TO_CHEBYSHEV, WEIGHTS
from .functions import TANH_ERROR, exp_negative, tanh

UNIT = 1.2e-16  # above u = 2^-53, with room for the rounding of sums that bound an error
TINY = 2.0**-1000
_Y, _TAN_Y = 1.47, 9.9  # tan 1.47 = 9.8874
_GAP = (math.pi / SAMPLES) ** 2 / 8 * (1 + 1e-12)


@jit
def choose(m, w, degree):
    """(index into NUMBER, remainder): the fewest interpolation points whose remainder is small beside the expected error."""
    s = math.sqrt(_Y * _Y + w * w)
    rho = (_Y + s) / w * (1.0 - 1e-14)
    bound, a = _TAN_Y, (abs(m) - s) * (1.0 - 1e-14) - 1e-14 * s
    if a > 0.0:
        e = exp_negative(-2.0 * min(a, 300.0)) * (1.0 + 1e-14)
        bound = min(bound, 2.0 * e / (1.0 - e) * (1.0 + 1e-14))
    small, power, k, remainder = 0.0, 1.0, 0, np.inf  # power = rho^-k: at most 32 roundings, covered by 1e-12
    for i in range(len(NUMBER)):
        while k < NUMBER[i] - 1:
            k += 1
            power /= rho
            if k == degree + 1:
                small = 2e-4 * bound * power
        if k > degree:
            remainder = 4.0 * bound * power / (rho - 1.0) * (1.0 + 1e-12) + TINY
            if remainder <= small or remainder < 1e-16:
                return i, remainder
    return len(NUMBER) - 1, remainder


@jit
def expand(m, w, i, slope, c, d):
    """Chebyshev coefficients c[:n] of the interpolant of tanh(m + w t); returns a bound on the effect of all rounding, |sum c_k T_k - P|."""
    n = NUMBER[i]
    middle = tanh(m)
    most, spread = 0.0, 0.0
    for j in range(n):
        v = tanh(m + w * POINTS[i, j])
        most = max(most, abs(v))
        d[j] = v - middle
        spread = max(spread, abs(d[j]))
    c[:n] = 0.0
    for j in range(n):
        for k in range(n):
            c[k] += WEIGHTS[i, j, k] * d[j]
    c[0] += middle
    point = 3.0 * UNIT * (abs(m) + 2.0 * w)  # tau_j, the product and the sum are rounded
    return 8.0 * (TANH_ERROR * most + slope * point) + n * (n + 4.0) * 2.0 * UNIT * spread + UNIT * abs(c[0]) + TINY


@jit
def polynomial_range(e, n, samples):
    """(low, high) around sum_k e_k T_k(t), |t| <= 1; `samples` is scratch. Rounding included."""
    total, top, bend = 0.0, 0.0, 0.0
    for k in range(n):
        a = abs(e[k])
        total += a
        top = max(top, a)
        bend += k * k * a
    if total <= 1.02 * top:
        return -total * (1.0 + n * UNIT), total * (1.0 + n * UNIT)
    samples[:] = e[0]
    for k in range(1, n):
        for i in range(SAMPLES + 1):
            samples[i] += e[k] * SAMPLED[k, i]
    low, high = np.inf, -np.inf
    for i in range(SAMPLES + 1):
        low, high = min(low, samples[i]), max(high, samples[i])
    gap = (_GAP * bend + (n + 2) * UNIT * total) * (1.0 + 1e-13) + TINY
    return low - gap, high + gap


@jit
def interpolation_error(p, degree, c, n, noise, samples):
    """(low, high) around p(t) - tanh(m + w t), |t| <= 1, less the remainder; p is the stored polynomial in powers of t, c the interpolant (overwritten)."""
    size = 0.0
    for j in range(degree + 1):
        size += abs(p[j]) + abs(c[j])
    if not size < 1e100:
        return -np.inf, np.inf
    for k in range(n):
        c[k] = -c[k]
    for k in range(degree + 1):
        s = 0.0
        for j in range(k, degree + 1):
            s += TO_CHEBYSHEV[k, j] * p[j]
        c[k] += s
    low, high = polynomial_range(c, n, samples)
    noise += (degree + 4) * UNIT * size + TINY  # rows of TO_CHEBYSHEV are dyadic, its columns sum to 1
    return low - noise, high + noise
