"""Branch and bound: proved maxima of many functions of one variable at once, each on its own interval."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from certify.core.rounding import up

# model(which, middle, radius) -> (b0, b1, b2, rest, noise): function which[i] at middle[i] + radius[i] x is within rest[i] + noise[i] of b0 + b1 x + b2 x^2,
# for |x| <= 1; smaller cells have a smaller rest, the noise (rounding) stays
Model = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]
_GROW = 1 + 2.0**-49


class Search(NamedTuple):
    """When a cell is small enough: its bound is at most `target` (n,), or within relative times (plus absolute (n,)) of the best value seen."""

    target: np.ndarray
    relative: float
    absolute: np.ndarray


def largest(model: Model, low: np.ndarray, high: np.ndarray, search: Search, absolute_value: bool = False, start: int = 8, depth: int = 30, most: int = 400) -> np.ndarray:
    """Upper ends of max f_i (or max |f_i|) over [low_i, high_i].

    A cell whose bound, noise aside, is good enough for `search` is done, the others are halved. Claim: every real point of the interval
    is in a cell that is done, or that was bounded when the search stopped; so the largest of those bounds holds.
    """
    count = len(low)
    best, result = np.full(count, -np.inf), np.full(count, -np.inf)
    which = np.repeat(np.arange(count), start)
    width = (high - low)[which] / start
    middle = low[which] + (np.tile(np.arange(start), count) + 0.5) * width
    # consecutive middles are a width apart up to a few roundings of the ends: the radius covers them
    slack = 2.0**-49 * (np.abs(low) + np.abs(high))
    radius = 0.5 * width * _GROW + slack[which]
    for level in range(depth + 1):
        b0, b1, b2, rest, noise = model(which, middle, radius)
        top = _quadratic(b0, b1, b2)
        if absolute_value:
            top = np.maximum(top, _quadratic(-b0, -b1, -b2))
        total = top + rest + noise
        upper = up(np.asarray(total * np.where(total > 0, _GROW, 1 / _GROW) + 2.0**-1000))
        with np.errstate(invalid="ignore"):  # NaN: the model proves nothing, and the result is infinite
            np.maximum.at(best, which, top - rest)
        enough = best[which] + (search.relative * np.abs(best[which]) + search.absolute[which])
        done = (upper <= search.target[which]) | ~(top + rest > enough) | (radius <= 2 * slack[which])
        if level == depth or len(which) > most * count:
            done[:] = True
        if not done.all() and not np.isfinite(upper).all():
            done |= level > 12  # an unbounded model: no more effort
        np.maximum.at(result, which[done], np.where(np.isnan(upper[done]), np.inf, upper[done]))
        which, middle, radius = which[~done], middle[~done], radius[~done]
        if not len(which):
            return result
        half = 0.5 * radius
        which, middle = np.repeat(which, 2), np.stack([middle - half, middle + half], 1).ravel()
        radius = np.repeat(half * _GROW, 2) + slack[which]
    return result


def _quadratic(b0: np.ndarray, b1: np.ndarray, b2: np.ndarray) -> np.ndarray:
    """Upper ends of max b0 + b1 x + b2 x^2 over |x| <= 1 up to 8 roundings, paid by the caller's factor and here by the sizes: at the ends, or b0 - b1^2 / (4 b2)."""
    ends = b0 + np.abs(b1) + b2
    inside = (b2 < 0) & (np.abs(b1) < -2.0 * b2)
    with np.errstate(all="ignore"):
        vertex = np.where(inside, b0 - b1 * b1 / (4.0 * np.where(inside, b2, 1.0)), ends)
    return np.maximum(ends, vertex) + 2.0**-50 * (np.abs(b0) + np.abs(b1) + np.abs(b2))
