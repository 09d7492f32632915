"""Fits of any activation, from its description alone: a candidate polynomial, and a proved bound of its error on a grid with every kink on it.

On a cell [a, b] of length h between two grid points let f' lie in [s0, s1] (`slope_range_on`) and, where the description has it, f'' in [c0, c1]. The chord of f
through the cell's ends differs from f by at most h (s1 - s0) / 4: with D = f - chord and s the chord's slope, D' is in [s0 - s, s1 - s] and D vanishes at both ends, so
D(x) <= min((s1 - s)(x - a), (s - s0)(b - x)) <= h (s1 - s)(s - s0) / (s1 - s0) <= h (s1 - s0) / 4, and the same for -D. [No second derivative is needed, f may have kinks.]
With curvature -h^2 max(c1, 0) / 8 <= D <= h^2 max(-c0, 0) / 8. The polynomial q differs from its chord by at most own = (h / w)^2 / 8 sup |q''|. So for e = q - f

    min(e_a, e_b) - own - D+ <= e <= max(e_a, e_b) + own + D-,   and where f is monotone on the cell (s0 >= 0 or s1 <= 0)
    min(q_a, q_b) - own - max(f_a, f_b) <= e <= max(q_a, q_b) + own - min(f_a, f_b).

Cells whose bound stands out of the sampled errors are cut again. The grid points are floats, so that f is rounded as `rounding()` says and nothing else;
t = (z - m) / w is computed within 2.1 u |t|, which moves q by at most 2.1 u sum j |p_j|, and Horner's rule is within 2 d u sum |p_j|.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from certify.core import elementary
from certify.core.activation import Activation
from certify.core.activations.piecewise import Prelu
from certify.core.errors import InputError

from ...errors import ReachError
from .base import Fits, finite
from .candidates import candidate
from .frame import frames

CELLS, FINE, LEVELS = 96, 6, 3
LOOSE = 0.01
CHUNK = 1024  # neurons at a time: the arrays stay small
SMALL = 1e-7  # of the radius: not worth a finer grid
UNIT = 1.2e-16
TINY = 2.0**-1000
HUGE = 1e305  # sums below it cannot overflow in Horner's rule


def generic_fits(activation: Activation, lower: np.ndarray, upper: np.ndarray, degree: int, method: str) -> Fits:
    """`fit` for any activation whose slopes on the ranges are finite.

    Raises:
        ReachError: a slope or a value on a range is not finite.
    """
    probe()
    centre, radius = frames(lower, upper)
    slope_lower, slope_upper = activation.slope_range_on(lower, upper)
    if not (np.isfinite(slope_lower) & np.isfinite(slope_upper)).all():
        raise ReachError("an activation without finite slopes on a range cannot be fitted", where=f"activation {activation.kind}")

    def values(t: np.ndarray) -> np.ndarray:
        return activation.value(np.clip(centre + radius * t[:, None], lower, upper))

    p = candidate(method, values, degree)
    with np.errstate(all="ignore"):
        low, high = error_range(activation, lower, upper, centre, radius, p)
        middle = 0.5 * (low + high)
        p[:, 0] -= middle
        error = (np.maximum(high - middle, middle - low) + UNIT * (np.abs(p[:, 0]) + np.abs(middle))) * (1 + 4 * UNIT) + TINY
    fits = Fits(centre, radius, p, error, slope_lower, slope_upper)
    finite(activation, lower, upper, fits)
    return fits


@cache
def probe() -> None:
    """Refuse a platform whose exp, expm1, log1p or erf are not what the descriptions assume (LIBM); once per process."""
    for function in (elementary.exp, elementary.expm1, elementary.log1p, elementary.erf):
        function(0.5)


def error_range(activation: Activation, lower, upper, centre, radius, p) -> tuple[np.ndarray, np.ndarray]:
    """Arrays (low, high) with low_i <= sum_j p_ij t^j - f(z) <= high_i for every z in [lower_i, upper_i], t = (z - centre_i) / radius_i.

    A grid of CELLS cells and the kinks; cells that stand out of the sampled errors by more than LOOSE of their spread are cut into FINE, LEVELS times.
    """
    count = len(lower)
    low, high, size = np.full(count, np.inf), np.full(count, -np.inf), np.zeros(count)
    extra = np.array(kinks(activation))[:, None]
    for i in range(0, count, CHUNK):
        part = np.arange(i, min(i + CHUNK, count))
        a, b = lower[part], upper[part]
        z = np.clip(centre[part] + radius[part] * np.linspace(-1.0, 1.0, CELLS + 1)[:, None], a, b)
        z[0], z[-1] = a, b
        z = np.sort(np.concatenate([z, np.clip(extra + np.zeros(len(part)), a, b)]), axis=0)
        owner, least, most = part, np.full(count, np.inf), np.full(count, -np.inf)
        for level in range(LEVELS + 1):  # a NaN survives every minimum and maximum here, and every comparison that would drop a cell fails for it
            below, above, e, f = cell_bounds(select(activation, owner, count), z, centre[owner], radius[owner], p[owner])
            np.minimum.at(least, owner, e.min(0))
            np.maximum.at(most, owner, e.max(0))
            np.maximum.at(size, owner, np.abs(f).max(0))
            loose = LOOSE * (most - least)[owner] + SMALL * radius[owner] + 1e-14
            open_ = ~((below >= least[owner] - loose) & (above <= most[owner] + loose)) & (level < LEVELS)
            np.minimum.at(low, owner, np.where(open_, np.inf, below).min(0))
            np.maximum.at(high, owner, np.where(open_, -np.inf, above).max(0))
            row, column = np.nonzero(open_)
            if not len(row):
                break
            left, right, owner = z[row, column], z[row + 1, column], owner[column]
            z = np.clip(left + (right - left) * np.linspace(0.0, 1.0, FINE + 1)[:, None], left, right)
            z[0], z[-1] = left, right
    return widened(activation, lower, upper, p, size, low, high)


def widened(activation: Activation, lower, upper, p, size, low, high) -> tuple[np.ndarray, np.ndarray]:
    """The bounds with the rounding of q, t and f; NaN and overflow become infinite."""
    with np.errstate(all="ignore"):
        relative, absolute = activation.rounding()
        total, j = np.abs(p).sum(1), np.arange(p.shape[1])
        noise = (2 * p.shape[1] * UNIT * total + 2.1 * UNIT * (np.abs(p) @ j)) * (1 + 1e-12)
        noise = noise + (relative * np.maximum(np.abs(lower), np.abs(upper)) + absolute) * (1 + 4 * UNIT) + 4 * UNIT * (total + size) + TINY
        low, high = low - noise, high + noise
        good = (low <= high) & (total < HUGE) & (size < HUGE)
    return np.where(good, low, -np.inf), np.where(good, high, np.inf)


def select(activation: Activation, part: np.ndarray, count: int):
    """The activation with its per-neuron parameters (prelu) restricted to those neurons."""
    slope = getattr(activation, "slope", None)
    return Prelu(slope[part]) if isinstance(slope, np.ndarray) and slope.shape == (count,) else activation


def kinks(activation: Activation) -> list[float]:
    """Floats at which f' may jump; both ends where the place is only enclosed."""
    try:
        breaks = activation.breaks()
    except InputError:  # sine and cosine: infinitely many, and all smooth
        return []
    return [float(x) for b in breaks if not (np.all(np.equal(b.left, b.right))) for x in sorted(set(b.at))]


def second_derivative(p: np.ndarray, t: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Upper ends of sup |q''| on every cell between neighbouring rows of t: the larger end value, plus step^2 / 8 sup |q''''|, or the global bound."""
    j = np.arange(p.shape[1])
    size = np.abs(p)
    two, four = size @ (j * (j - 1.0)), size @ (j * (j - 1.0) * (j - 2) * (j - 3))
    s = np.zeros_like(t)
    for i in range(p.shape[1] - 1, 1, -1):
        s = s * t + i * (i - 1.0) * p[:, i]
    s = np.abs(s)
    return np.minimum(two, np.maximum(s[:-1], s[1:]) + 20 * UNIT * (two + four) + step * step / 8 * four * (1 + 1e-13))


def cell_bounds(act: Activation, z, centre, radius, p):
    """For columns of increasing points: lower and upper ends of e = q - f on every cell (rounding aside), the sampled e, and the sampled f."""
    with np.errstate(all="ignore"):
        h = (z[1:] - z[:-1]) * (1 + 2 * UNIT)
        t = (z - centre) / radius
        step = h / radius * (1 + 2 * UNIT)
        q = np.repeat(p[:, -1][None], len(z), 0)
        for i in range(p.shape[1] - 2, -1, -1):
            q = q * t + p[:, i]
        f = act.value(z)
        s0, s1 = act.slope_range_on(z[:-1], z[1:])
        chord = h * (s1 - s0) / 4 * (1 + 1e-14)
        curvature = act.curvature_range()
        up, down = (chord, chord) if curvature is None else (_least(chord, h, -curvature[0]), _least(chord, h, curvature[1]))
        own = step * step / 8 * second_derivative(p, t, step) * (1 + 1e-13)
        e = q - f
        below, above = np.minimum(e[:-1], e[1:]) - own - up, np.maximum(e[:-1], e[1:]) + own + down
        plain = (s0 >= 0) | (s1 <= 0)
        below = np.where(plain, np.fmax(below, np.minimum(q[:-1], q[1:]) - own - np.maximum(f[:-1], f[1:])), below)
        above = np.where(plain, np.fmin(above, np.maximum(q[:-1], q[1:]) + own - np.minimum(f[:-1], f[1:])), above)
    return below, above, e, f


def _least(chord: np.ndarray, h: np.ndarray, curvature: float) -> np.ndarray:
    """min(chord, h^2 / 8 max(curvature, 0)), rounded up."""
    return np.minimum(chord, h * h * (curvature / 8) * (1 + 1e-14) + TINY) if curvature > 0 else np.zeros_like(chord)
