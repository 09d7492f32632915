"""The checker's slope ranges of activations: every quotient of differences on [lower, upper] is in the hull of the derivative there (mean value theorem, piece by piece)."""

from __future__ import annotations

import math

import numpy as np

from certify.core.interval import Interval
from certify.core.rounding import TINY, up

from .activations import Coefficient, Part
from .branch import Search, largest
from .fit_error import CLOSE, Fit, times, touching
from .jets import Jet


def slope_ranges(parts: tuple[Part, ...], fit: Fit, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(k,) ends of (sigma(a) - sigma(b)) / (a - b) for a != b in [lower, upper]."""
    least, most = np.full(len(lower), math.inf), np.full(len(lower), -math.inf)
    for part in parts:
        at = np.flatnonzero(touching(part, lower, upper))
        if not len(at):
            continue
        low, high = np.maximum(lower[at], part.low), np.minimum(upper[at], part.high)
        if part.powers is not None:
            got = _polynomial_slopes(part.powers, Interval(low, high), at)
        elif part.falling:
            got = _falling_slopes(part, low, high)
        else:
            got = _searched_slopes(part, low, high, np.concatenate([fit.slope_upper[at], -fit.slope_lower[at]]))
        least[at], most[at] = np.minimum(least[at], got.lower), np.maximum(most[at], got.upper)
    return least, most


def _polynomial_slopes(powers: tuple[Coefficient, ...], z: Interval, at: np.ndarray) -> Interval:
    one = Interval.point(np.ones(len(at)))
    out = times(powers[1], one, at) if len(powers) > 1 else Interval.point(np.zeros(len(at)))
    return out + times(powers[2], 2.0 * z, at) if len(powers) > 2 else out


def _falling_slopes(part: Part, low: np.ndarray, high: np.ndarray) -> Interval:
    """The derivative at the smallest and at the largest |z|."""
    size = abs(Interval(low, high))
    near, far = (part.jet(Jet.start(Interval.point(x), 1)).parts[1] for x in (size.lower, size.upper))  # type: ignore[misc]
    return Interval(np.maximum(far.lower, 0.0), near.upper)


def _searched_slopes(part: Part, low: np.ndarray, high: np.ndarray, target: np.ndarray) -> Interval:
    """Largest value of the derivative and of its opposite, by branch and bound on third-order models of it."""
    k = len(low)
    sign = np.repeat([1.0, -1.0], k)

    def model(which: np.ndarray, z: np.ndarray, radius: np.ndarray):
        cell = Interval(np.nextafter(z - radius, -math.inf), np.nextafter(z + radius, math.inf))
        at, over = part.jet(Jet.start(Interval.point(z), 3)).parts, part.jet(Jet.start(cell, 4)).parts[4]  # type: ignore[misc]
        s = sign[which]
        steps = [at[1], 2.0 * at[2], 3.0 * at[3]]
        mids = [x.midpoint for x in steps]
        apart = [up(np.maximum(x.upper - y, y - x.lower)) for x, y in zip(steps, mids)]
        third = 4.0 * np.maximum(np.abs(over.lower), np.abs(over.upper)) * (radius * radius * radius)
        noise = (apart[0] + apart[1] * radius + apart[2] * radius * radius) * (1 + 2.0**-48)
        return s * mids[0], s * mids[1] * radius, s * mids[2] * radius * radius, third * (1 + 2.0**-48) + TINY, noise

    z = np.linspace(low, high, 9)
    d = part.jet(Jet.start(Interval.point(z.ravel()), 1)).parts[1].midpoint.reshape(z.shape)  # type: ignore[misc]
    width = np.tile(CLOSE * (d.max(0) - d.min(0)) + 2.0**-52, 2)
    top = largest(model, np.tile(low, 2), np.tile(high, 2), Search(target, 0.0, width))
    return Interval(-top[k:], top[:k])
