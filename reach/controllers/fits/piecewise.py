"""Piecewise linear activations as sums of hinges: f(z) = f(k_0) + s_0 (z - k_0) + sum_i (r_i - l_i) max(z - k_i, 0), with knots k_i and slopes l_i, r_i beside them."""

from __future__ import annotations

import numpy as np

from certify.core.activation import Activation
from certify.core.activations.piecewise import Abs, Hardsigmoid, Hardtanh, LeakyRelu, Prelu, Relu, Softshrink

from .base import Fits
from .frame import frames
from .generic import generic_fits, select
from .hinge import hinge_rows
from .table import relu_table

PIECEWISE_LINEAR = (Relu, LeakyRelu, Prelu, Abs, Hardtanh, Hardsigmoid, Softshrink)
UNIT = 1.2e-16
TINY = 2.0**-1000


def piecewise_fits(activation: Activation, lower: np.ndarray, upper: np.ndarray, degree: int, method: str) -> Fits:
    """The sum of table fits, errors added: nothing but rounding where no knot is inside. With two knots inside, or another method, the generic fit if that is better.

    A method other than "auto" and "minimax" is obeyed wherever f is not linear.
    """
    centre, radius = frames(lower, upper)
    p, error = hinge_sum(activation, lower, upper, centre, radius, degree)
    knots = np.array([b.at[0] for b in activation.breaks()])[:, None]
    inside = ((lower < knots) & (knots < upper)).sum(0)
    named = method not in ("auto", "minimax")
    again = np.flatnonzero(inside > (0 if named else 1))
    if len(again):
        other = generic_fits(select(activation, again, len(lower)), lower[again], upper[again], degree, method)
        better = np.flatnonzero(named | (other.error < error[again]))
        p[again[better]], error[again[better]] = other.coefficients[better], other.error[better]
    return Fits(centre, radius, p, error, *activation.slope_range_on(lower, upper))


def hinge_sum(activation: Activation, lower, upper, centre, radius, degree) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and proved errors of the sum above.

    Every stored number (value, slope, jump) is within its radius of the exact one, with one rounding for a jump. A term of the sum has one more rounding, the sum of n + 2 terms
    n + 1 of them: at most (n + 4) u times the sum of all absolute coefficients.
    """
    breaks = activation.breaks()
    p, count = np.zeros((len(lower), degree + 1)), len(lower)
    table = relu_table(degree)
    if not breaks:  # the identity: what is left of a clamp or a shrinkage without ends
        p[:, 0], p[:, 1] = centre, radius
        return p, np.zeros(count)
    first = float(breaks[0].at[0])
    value = float(np.max(activation.value(np.full(1, first))))  # prelu: slope * 0
    slope, wrong = _middle(*breaks[0].left)
    shift = centre - first
    p[:, 0], p[:, 1] = value + slope * shift, slope * radius
    reach = np.abs(shift) + radius
    size = abs(value) + np.abs(slope) * reach
    relative, absolute = activation.rounding()
    error = (relative * abs(first) + absolute if first else 0.0) + wrong * reach
    for b in breaks:
        (low0, high0), (low1, high1) = b.left, b.right
        jump, off = _middle(low1 - high0, high1 - low0)
        off = off + UNIT * np.abs(jump)
        rows, bound = hinge_rows(lower, upper, centre, radius, float(b.at[0]), table.coefficients, table.error)
        p += rows * np.reshape(jump, (-1, 1))
        total = np.abs(rows).sum(1)
        size = size + np.abs(jump) * total
        error = error + np.abs(jump) * bound + off * (total + bound)
    error = (error + (len(breaks) + 4) * UNIT * size) * (1 + 1e-14) + np.where(size > 0, TINY, 0.0)
    return p, error


def _middle(lower, upper) -> tuple[np.ndarray, np.ndarray]:
    """(m, r) with |x - m| <= r for lower <= x <= upper; r = 0 where they are equal."""
    m = np.asarray(0.5 * np.asarray(lower) + 0.5 * np.asarray(upper))
    r = np.maximum(np.asarray(upper) - m, m - np.asarray(lower))
    return m, np.where(r > 0, np.nextafter(r, np.inf), 0.0)


def hardswish_fits(activation: Activation, lower: np.ndarray, upper: np.ndarray, degree: int, method: str) -> Fits:
    """The generic fit; on one piece its own polynomial: 0 below -3, z above 3, and z (z + 3) / 6 between for degree >= 2, up to rounding.

    m (m + 3) / 6 + (2 m + 3) w / 6 t + w^2 / 6 t^2: at most four roundings each of numbers whose absolute parts sum to (|m| (|m| + 3) + (2 |m| + 3) w + w^2) / 6.
    """
    fits = generic_fits(activation, lower, upper, degree, method)
    p, m, w = fits.coefficients, fits.centre, fits.radius
    off, on, middle = upper <= -3, lower >= 3, (lower >= -3) & (upper <= 3) & (degree >= 2)
    p[off | on | middle] = 0.0
    p[on, 0], p[on, 1] = m[on], w[on]
    m, w = m[middle], w[middle]
    p[middle, 0], p[middle, 1] = m * (m + 3.0) / 6.0, (2.0 * m + 3.0) * w / 6.0
    if degree >= 2:
        p[middle, 2] = w * w / 6.0
    fits.error[off | on] = 0.0
    fits.error[middle] = UNIT * (np.abs(m) * (np.abs(m) + 3.0) + (2.0 * np.abs(m) + 3.0) * w + w * w) + TINY
    return fits
