"""Rows of an activation: the value range of f on [lower, upper] and its slope range there, both from `core.activation`."""

from __future__ import annotations

import numpy as np

from ...core.activation import Activation
from ...core.rounding import U
from .linear import Prepared
from .rows import FLOOR, GROW, Rows, chained, clean, ends, rule

Ends = tuple[np.ndarray, np.ndarray]

# Facts that hold for every real argument; they keep an unbounded or badly rounded range inside the image of f.
_IMAGES = {"relu": (0.0, np.inf), "abs": (0.0, np.inf), "sigmoid": (0.0, 1.0), "hardsigmoid": (0.0, 1.0), **dict.fromkeys(("tanh", "erf", "softsign", "sin", "cos"), (-1.0, 1.0))}
_POINT = 1e-12  # which of two sound ways is taken: this one costs a single evaluation
_CUTS = np.linspace(0.0, 1.0, 17)
_MARKS = np.arange(-4.0, 5.0)


@rule("activation")
def activation(op: Prepared, x: Rows) -> Rows:
    """f entry by entry; values that are points up to rounding by |f(x) - f(m)| <= lipschitz |x - m|."""
    f, mid, rad = op.activation, x.mid[:, 0], x.rad[:, 0]
    if x.mid.shape[1] == 1 and (rad <= _POINT * (1.0 + np.abs(mid))).all():
        relative, absolute = f.rounding()
        error = (rad * f.lipschitz() + relative * np.abs(mid) + absolute) * GROW + FLOOR
        return clean(f.value(mid)[:, None], error[:, None])
    lower, upper = ends(mid, rad)
    slopes = _relu_slopes(lower, upper) if f.kind == "relu" else f.slope_range_on(lower, upper)
    return chained(value_range(f, lower, upper, slopes), slopes if x.mid.shape[1] > 1 else None, x)


def _relu_slopes(lower: np.ndarray, upper: np.ndarray) -> Ends:
    """`Relu.slope_range_on` without its generality: this is most of the cost of a small network."""
    return ((lower >= 0) & (upper > 0)).astype(np.float64), ((upper > 0) | (lower == 0)).astype(np.float64)


def value_range(f: Activation, lower: np.ndarray, upper: np.ndarray, slopes: Ends) -> Ends:
    """Ends of f([lower, upper]), entrywise, given the slope range there. Monotone: the values at the ends. Else by `_pieces`."""
    below, above = _value(f, lower), _value(f, upper)
    rising, falling = slopes[0] >= 0, slopes[1] <= 0
    low, high = np.where(rising, below[0], above[0]), np.where(rising, above[1], below[1])
    if not (rising | falling).all():
        least, most = _pieces(f, lower, upper)
        low, high = np.where(rising | falling, low, least), np.where(rising | falling, high, most)
    bottom, top = _IMAGES.get(f.kind, (-np.inf, np.inf))
    return np.clip(low, bottom, top), np.clip(high, bottom, top)


def _value(f: Activation, x: np.ndarray) -> Ends:
    """Ends of f(x); (-inf, inf) where x is infinite or the value overflows."""
    relative, absolute = f.rounding()
    value = f.value(x)
    if relative == 0.0 and absolute == 0.0:
        low = high = value
    else:
        error = (relative * np.abs(x) + absolute + 2 * U * np.abs(value)) * GROW + FLOOR
        low, high = value - error, value + error
    good = np.isfinite(x) & np.isfinite(value)
    return (low, high) if good.all() else (np.where(good, low, -np.inf), np.where(good, high, np.inf))


def _pieces(f: Activation, lower: np.ndarray, upper: np.ndarray) -> Ends:
    """Ends of the range where f rises and falls: cut into pieces [a, b] with slopes in [s, t], and on each piece

        f(x) >= max(f(a) + s (x - a), f(b) - t (b - x)) >= w f(a) + (1 - w) f(b) + min(w s, -(1 - w) t) (b - a)     for every w in [0, 1],

    best at w = t / (t - s) (a convex combination of two affine minorants; linear in x, so least at an end). The upper end likewise.
    """
    good = np.isfinite(lower) & np.isfinite(upper)
    first, last = np.where(good, lower, 0.0), np.where(good, upper, 0.0)
    tail = (1,) * lower.ndim
    even = first + (0.5 * last - 0.5 * first) * (2 * _CUTS.reshape(-1, *tail))
    cuts = np.sort(np.clip(np.concatenate([even, np.broadcast_to(_MARKS.reshape(-1, *tail), (len(_MARKS), *lower.shape))]), first, last), axis=0)
    cuts[0], cuts[-1] = first, last
    a, b = cuts[:-1], cuts[1:]
    s, t = f.slope_range_on(a, b)
    relative, absolute = f.rounding()
    values = f.value(cuts)
    left, right, gap = values[:-1], values[1:], b - a
    span = np.where(t > s, t - s, 1.0)
    size = np.maximum(np.abs(s), np.abs(t)) * gap
    slack = (32 * U * (np.abs(left) + np.abs(right) + size) + relative * np.maximum(np.abs(a), np.abs(b)) + absolute) * GROW + FLOOR
    w = np.clip(t / span, 0.0, 1.0)
    low = (w * left + (1 - w) * right + np.minimum(w * s, -(1 - w) * t) * gap - slack).min(axis=0)
    w = np.clip(-s / span, 0.0, 1.0)
    high = (w * left + (1 - w) * right + np.maximum(w * t, -(1 - w) * s) * gap + slack).max(axis=0)
    good &= np.isfinite(low) & np.isfinite(high)
    return np.where(good, low, -np.inf), np.where(good, high, np.inf)
