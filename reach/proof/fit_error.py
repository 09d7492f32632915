"""How far a stored polynomial is from an activation on a range: the checker's own proof, for all neurons of a layer at once.

A fit says sigma(m + w t) is near q(t) = sum_j C_j t^j. The error e(t) = q(t) - sigma(m + w t) is expanded at the middle of a cell to second order with an
interval remainder of third order, and its maximum found by branch and bound. Pieces that are polynomials are subtracted coefficient by coefficient first, so
that an identity gives exactly zero.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from certify.core.interval import Interval
from certify.core.rounding import TINY, U, gamma, up

from .activations import Coefficient, Part
from .branch import Search, largest
from .jets import Jet

CLOSE = 1e-7  # relative gap at which the search for a maximum stops
_NOISE = 2.0**-51


class Fit(NamedTuple):
    """What is stored of k neurons: t = (z - centre) / radius, coefficients (k, degree + 1) of powers of t, and three bounds that were claimed.

    Nothing is concluded from the bounds: a search stops where it has proved them.
    """

    centre: np.ndarray
    radius: np.ndarray
    coefficients: np.ndarray
    error: np.ndarray
    slope_lower: np.ndarray
    slope_upper: np.ndarray


def fit_errors(parts: tuple[Part, ...], fit: Fit, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """(k,) upper ends of |q((z - m) / w) - sigma(z)| over z in [lower, upper]."""
    error = np.zeros(len(lower))
    for part in parts:
        use = touching(part, lower, upper)
        if not use.any():
            continue
        at = np.flatnonzero(use)
        m, w = fit.centre[at], fit.radius[at]
        low, high = np.maximum(lower[at], part.low), np.minimum(upper[at], part.high)
        a, b = (Interval.point(low) - m) / w, (Interval.point(high) - m) / w
        if part.powers is not None:
            e = _polynomial(part.powers, fit.coefficients[at], m, w, at)
            found = _polynomial_error(e, a.lower, b.upper, fit.error[at])
        else:
            found = _smooth_error(part, fit.coefficients[at], m, w, a.lower, b.upper, fit.error[at])
        np.maximum.at(error, at, found)
    return error


def touching(part: Part, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Whether the piece has more than a point in common with the range (its end points belong to the neighbour too); a range of one point touches both."""
    return ((lower < part.high) & (upper > part.low)) | ((lower == upper) & (lower <= part.high) & (upper >= part.low))


def times(c: Coefficient, x: Interval, at: np.ndarray) -> Interval:
    """c x, exactly x for c = 1."""
    if isinstance(c, float) and abs(c) in (0.0, 1.0):
        return x if c == 1.0 else -x if c == -1.0 else Interval.point(np.zeros(x.shape))
    return x * (Interval.point(c[at]) if isinstance(c, np.ndarray) else Interval.point(c))


def _polynomial(powers: tuple[Coefficient, ...], q: np.ndarray, m: np.ndarray, w: np.ndarray, at: np.ndarray) -> Interval:
    """(k, d + 1) coefficients in t of q(t) - sum_i p_i (m + w t)^i."""
    one, centre, radius = Interval.point(np.ones(len(m))), Interval.point(m), Interval.point(w)
    rows = [times(powers[0], one, at)]
    if len(powers) > 1:
        rows[0] = rows[0] + times(powers[1], centre, at)
        rows.append(times(powers[1], radius, at))
    if len(powers) > 2:
        rows[0] = rows[0] + times(powers[2], centre.square(), at)
        rows[1] = rows[1] + times(powers[2], 2.0 * centre * radius, at)
        rows.append(times(powers[2], radius.square(), at))
    out = []
    for j in range(max(q.shape[1], len(rows))):
        own = Interval.point(q[:, j]) if j < q.shape[1] else Interval.point(np.zeros(len(m)))
        out.append(own - rows[j] if j < len(rows) else own)
    return Interval(np.stack([x.lower for x in out], 1), np.stack([x.upper for x in out], 1))


def _polynomial_error(e: Interval, low: np.ndarray, high: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Upper ends of |e(t)| over [low, high]."""
    middle = e.midpoint
    apart = np.where(e.lower == e.upper, 0.0, up(np.maximum(e.upper - middle, middle - e.lower)))
    reach = np.maximum(np.abs(low), np.abs(high))
    lost = _weighted(apart, reach)
    size, noise = _weighted(np.abs(middle), reach), _noise(middle, reach)
    found = up(np.asarray((size + lost) * (1 + 2.0**-50)))
    hard = np.flatnonzero(~(found <= target) & (size > 0))
    if not len(hard):
        return np.where(size > 0, found, lost)
    middle, noise, low, high = middle[hard], noise[hard], low[hard], high[hard]

    def model(which: np.ndarray, t: np.ndarray, radius: np.ndarray):
        return *_quadratic(_shifted(middle[which], t), radius), noise[which]

    top = largest(model, low, high, Search((target - lost * (1 + 2.0**-40))[hard], CLOSE, _NOISE * size[hard]), True)
    found = np.where(size > 0, found, lost)
    found[hard] = up(np.asarray((top + lost[hard]) * (1 + 2.0**-50)))
    return found


def _weighted(c: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Upper ends of sum_j c_j max(1, reach)^j for c >= 0; the sizes of a polynomial and (with j <= 8) of its shifts are bounded by multiples of it."""
    total = np.zeros(len(c))
    for j in range(c.shape[1] - 1, -1, -1):
        total = total * np.maximum(1.0, reach) + c[:, j]
    return total * (1 + gamma(4 * c.shape[1] + 8))


def _noise(c: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Upper ends of the rounding of `_shifted`, all orders on a cell inside the reach together: a term c_j meets at most 2 j + 1 roundings by Horner's rule,
    and sum_i C(j, i) |t|^(j - i) radius^i = (|t| + radius)^j."""
    return _weighted(np.abs(c) * (U * (2.0 * np.arange(c.shape[1]) + 2.0)), reach * (1 + 2.0**-40))


def _shifted(c: np.ndarray, t: np.ndarray) -> list[np.ndarray]:
    """Taylor coefficients of every order at t, by floats; error in `_noise`."""
    d = c.shape[1] - 1
    out = []
    for i in range(d + 1):
        total = np.zeros(len(t))
        for j in range(d, i - 1, -1):
            total = total * t + math.comb(j, i) * c[:, j]
        out.append(total)
    return out


def _economised(most: int) -> list[tuple[float, float, float, float]]:
    """(a, b, c, rest) with |x^j - (a + b x + c x^2)| <= rest on [-1, 1] for j = 0 .. most: x^j in Chebyshev polynomials (dyadic coefficients), cut after T_2."""
    out = []
    for j in range(most + 1):
        t = [0.0] * (j + 3)  # x^j = sum t_i T_i: C(j, (j - i) / 2) / 2^(j - 1), half of that for T_0
        for i in range(j % 2, j + 1, 2):
            t[i] = math.comb(j, (j - i) // 2) * 2.0 ** (1 - j) * (0.5 if i == 0 else 1.0)
        out.append((t[0] - t[2], t[1], 2.0 * t[2], sum(t[3:])))
    return out


_ECONOMISED = _economised(20)


def _quadratic(parts: list[np.ndarray], radius: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(b0, b1, b2, rest): the model on |x| <= 1 of sum_i parts_i (radius x)^i; powers beyond 2 are replaced by quadratics, and what that changes is summed in rest."""
    b, rest, size, power = [np.zeros(len(radius)) for _ in range(3)], np.zeros(len(radius)), np.zeros(len(radius)), np.ones(len(radius))
    for part, (*to, left) in zip(parts, _ECONOMISED):
        value = part * power
        for k, factor in enumerate(to):
            if factor:
                b[k] = b[k] + factor * value
        if left:
            rest += left * np.abs(value)
            size += np.abs(value)
        power = power * radius
    count = 4 * len(parts) + 16
    # the folded powers are rounded on their way into b0, b1, b2
    return b[0], b[1], b[2], (rest + gamma(count) * (size + np.abs(b[0]) + np.abs(b[1]) + np.abs(b[2]))) * (1 + gamma(count)) + TINY


def _smooth_error(part: Part, q: np.ndarray, m: np.ndarray, w: np.ndarray, low: np.ndarray, high: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Upper ends of |q(t) - sigma(m + w t)| over t in [low, high]: Taylor's formula at the middle of a cell to the degree of q, Lagrange's remainder on the cell."""
    reach = np.maximum(np.abs(low), np.abs(high))
    size, rounding = _weighted(np.abs(q), reach), _noise(q, reach)
    top = max(3, q.shape[1])

    def model(which: np.ndarray, t: np.ndarray, radius: np.ndarray):
        mi, wi, qi = m[which], w[which], q[which]
        middle = Interval.point(t) * wi + mi
        cell = Interval(np.nextafter(t - radius, -math.inf), np.nextafter(t + radius, math.inf)) * wi + mi
        at, over = part.jet(Jet.start(middle, top - 1)).parts, part.jet(Jet.start(cell, top)).parts[top]  # type: ignore[misc]
        mids, noise, scale, power = [], rounding[which], Interval.point(np.ones(len(t))), np.ones(len(t))
        own = _shifted(qi, t)
        for i, coefficient in enumerate(at):
            own_i = Interval.point(own[i]) if i < len(own) else Interval.point(np.zeros(len(t)))
            difference = own_i - coefficient * scale
            mids.append(difference.midpoint)
            noise = noise + up(np.maximum(difference.upper - mids[-1], mids[-1] - difference.lower)) * power
            scale, power = scale * wi, power * radius
        b0, b1, b2, rest = _quadratic(mids, radius)
        last = over * scale
        rest = (rest + np.maximum(np.abs(last.lower), np.abs(last.upper)) * power) * (1 + gamma(64))
        return b0, b1, b2, rest, noise * (1 + gamma(64))

    return largest(model, low, high, Search(target, CLOSE, _NOISE * size), True)
