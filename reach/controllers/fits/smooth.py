"""Kernel for tanh, and for the sigmoid (1 + tanh(z/2)) / 2: which polynomial, and which proof of its error.

Narrow ranges (w <= WIDE): the Chebyshev interpolant of `series`; wide ones: the grid of `wide`; saturated ones (all |z| >= 20, one sign): the constant +-1, wrong by
2 e^-2|z| / (1 + e^-2|z|). The polynomial is the Chebyshev series cut after the degree, levelled by a few rounds of Remez exchange on 65 points.
"""

from __future__ import annotations

import math

import numpy as np

from certify.core.activation import Activation
from certify.core.activations.sigmoids import Sigmoid
from certify.core.activations.sigmoids import tanh as tanh_values

from ...sets.jit import jit
from .base import Fits, finite
from .candidates import bernstein, taylor
from .chebyshev import NUMBER, SAMPLED, SAMPLES, TO_POWER
from .frame import frame, frames
from .functions import exp_negative, tanh, tanh_slope
from .remez import exchange, extrema
from .series import TINY, UNIT, choose, expand, interpolation_error
from .wide import grid_error

WIDE = 4.5
COARSE = 2  # index of the number of points where the series is only a start


@jit
def cut(c, d, degree, p):
    """p = the powers of sum_{k <= degree} (c_k + d_k) T_k."""
    p[:] = 0.0
    for k in range(degree + 1):
        for j in range(k + 1):
            p[j] += TO_POWER[j, k] * (c[k] + d[k])


@jit
def levelled(m, w, n, degree, c, d, samples):
    """Fill d[: degree + 1] with what levels the error of the series c cut after `degree`; nothing where one dropped term dominates."""
    rest, top = 0.0, 0.0
    for k in range(degree + 1, n):
        rest += abs(c[k])
        top = max(top, abs(c[k]))
    d[: degree + 1] = 0.0
    if rest <= 1.02 * top:
        return
    samples[:] = 0.0
    if w <= WIDE:
        for k in range(degree + 1, n):
            for j in range(SAMPLES + 1):
                samples[j] += c[k] * SAMPLED[k, j]
    else:
        for k in range(degree + 1):
            for j in range(SAMPLES + 1):
                samples[j] -= c[k] * SAMPLED[k, j]
        for j in range(SAMPLES + 1):
            samples[j] += tanh(m + w * SAMPLED[1, j])
    exchange(SAMPLED[: degree + 1], samples, extrema(degree + 2, SAMPLES + 1), 4, 1.02, d[: degree + 1])


@jit
def tanh_fit(lower, upper, m, w, p, given, minimax, c, d, samples):
    """Bound of |p(t) - tanh z| for z in [lower, upper]; p is a given polynomial, shifted by a constant, or filled here."""
    degree = len(p) - 1
    near = max(lower, -upper)
    if near >= 20.0 and not given:
        p[:] = 0.0
        p[0] = math.copysign(1.0, lower)
        return 2.0 * exp_negative(-2.0 * min(near, 350.0)) * (1.0 + 1e-14)
    i, remainder, noise = COARSE, 0.0, 0.0
    if w <= WIDE:
        i, remainder = choose(m, w, degree)
    n = NUMBER[i]
    if w <= WIDE or not given:
        noise = expand(m, w, i, tanh_slope(max(near, 0.0))[1], c, d)
    if not given:
        d[: degree + 1] = 0.0
        if minimax:
            levelled(m, w, n, degree, c, d, samples)
        cut(c, d, degree, p)
    if w <= WIDE:
        low, high = interpolation_error(p, degree, c, n, noise, samples)
    else:
        low, high = grid_error(lower, upper, m, w, p, degree)
    middle = 0.5 * (low + high)
    p[0] -= middle
    return (max(high - middle, middle - low) + remainder + UNIT * (abs(p[0]) + abs(middle))) * (1.0 + 4.0 * UNIT) + TINY


@jit
def sigmoid_type_fits(lower, upper, coefficients, half, given, minimax):
    """Centre, radius, coefficients, error, slope ends for every neuron: tanh z, or with `half` (1 + tanh(z / 2)) / 2 = sigmoid z.

    `coefficients` (k, degree + 1) is filled; with `given` it holds polynomials for tanh z (or tanh(z / 2)) already.
    """
    k = len(lower)
    centre, radius, error, slope_lower, slope_upper = np.empty(k), np.empty(k), np.empty(k), np.empty(k), np.empty(k)
    c, d, samples = np.empty(NUMBER[-1]), np.empty(NUMBER[-1]), np.empty(SAMPLES + 1)
    s = 0.5 if half else 1.0
    for i in range(k):
        m, w = frame(lower[i], upper[i])
        lo, hi = s * lower[i], s * upper[i]  # exact, or below the normal range and paid by TINY
        p = coefficients[i]
        e = tanh_fit(lo, hi, s * m, s * w, p, given, minimax, c, d, samples)
        near, far = max(0.0, max(lo, -hi)), max(abs(lo), abs(hi))
        slope_lower[i], slope_upper[i] = s * s * tanh_slope(far)[0], s * s * tanh_slope(near)[1]
        if half:
            p *= 0.5
            p[0] += 0.5
            e = 0.5 * e + UNIT * abs(p[0]) + TINY
        centre[i], radius[i], error[i] = m, w, e
    return centre, radius, coefficients, error, slope_lower, slope_upper


def sigmoid_fits(activation: Activation, lower: np.ndarray, upper: np.ndarray, degree: int, method: str) -> Fits:
    """`fit` for tanh and the sigmoid."""
    half, given = type(activation) is Sigmoid, method in ("bernstein", "taylor")
    p = np.empty((len(lower), degree + 1))
    if given:
        s = 0.5 if half else 1.0
        centre, radius = frames(lower, upper)
        if method == "taylor":
            p = taylor(tanh_values(s * centre), s * radius, degree)
        elif len(lower):
            p = bernstein(lambda t: tanh_values(s * (centre + radius * t[:, None])), degree)
    fits = Fits(*sigmoid_type_fits(lower, upper, p, half, given, method != "chebyshev"))
    if given:
        finite(activation, lower, upper, fits)
    return fits
