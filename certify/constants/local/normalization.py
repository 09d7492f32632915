"""Rows of layer normalisation: values n = c / sqrt(|c|^2 / d + eps) and slopes (P - n n'/d) / s, enclosed over the box."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from ...core.interval import Interval
from ...core.rounding import gamma, sqrt_up
from .linear import Prepared
from .rows import FLOOR, Rows, bilinear, clean, ends, middle, rule

_LARGE = 1e150  # squares of larger numbers may overflow: there only what holds of every real input is used


@rule("layer_norm")
def layer_norm(op: Prepared, x: Rows) -> Rows:
    """y = g n + b. For two inputs of the box the slope matrix is the mean of the Jacobians along the segment, which lies in the box: n and 1/s lie in their
    enclosures at every point of it, so every entry of the mean lies in the hull of g_i (P_ij - n_i n_j / d) / s."""
    d, center = math.prod(op.shape[-op.attrs["dims"] :]), bool(op.attrs["center"])
    boxes, rows = x.mid.shape[:2]
    cut = Rows(x.mid.reshape(boxes, rows, -1, d), x.rad.reshape(boxes, rows, -1, d))
    n, inverse = normalised(Rows(cut.mid[:, 0], cut.rad[:, 0]), float(op.attrs["eps"]), center)
    gain, shift = (op.arrays[key].reshape(d) if key in op.arrays else None for key in ("weight", "bias"))
    value = n if gain is None else n * gain
    value = value if shift is None else value + shift
    mid, rad = (e[:, None] for e in middle(value.lower, value.upper))
    if rows > 1:
        slope = _slope(n, inverse, center)
        slope = slope if gain is None else slope * gain  # column i belongs to output i
        matrix = middle(slope.lower, slope.upper)
        steps = bilinear(Rows(cut.mid[:, 1:, :, None, :], cut.rad[:, 1:, :, None, :]), Rows(matrix[0][:, None], matrix[1][:, None]))
        mid, rad = np.concatenate([mid, steps.mid[..., 0, :]], axis=1), np.concatenate([rad, steps.rad[..., 0, :]], axis=1)
    return clean(mid.reshape(x.mid.shape), rad.reshape(x.mid.shape))


def centred(x: Rows, center: bool) -> tuple[np.ndarray, np.ndarray]:
    """Ends of c = P x over the last axis: a radius |P| r = (1 - 2/d) r_i + mean r, and d + 2 roundings of (I + 11'/d) |m|."""
    if not center:
        return ends(*x)
    d = x.mid.shape[-1]
    mean, size, spread = (np.sum(a, axis=-1, keepdims=True) / d for a in (x.mid, np.abs(x.mid), x.rad))
    rad = (x.rad * (1.0 - 2.0 / d) + spread) + gamma(d + 4) * (np.abs(x.mid) + size + x.rad + spread) + FLOOR
    c = clean(x.mid - mean, rad * (1.0 + 2.0 * gamma(d + 16)))
    return ends(*c)


def mean_square(lower: np.ndarray, upper: np.ndarray) -> Interval:
    """|c|^2 / d over the last axis, for |c| below 1e150."""
    total = (Interval(lower, upper).square()).sum(axis=lower.ndim - 1) / float(lower.shape[-1])
    return Interval(np.maximum(total.lower, 0.0), total.upper)


def normalised(x: Rows, eps: float, center: bool) -> tuple[Interval, Interval]:
    """Enclosures of n (boxes, groups, d) and of 1 / s (boxes, groups).

    n_i = c_i / sqrt(c_i^2 / d + R_i), R_i = eps + the other squares over d, rises with c_i, and falls with R_i where c_i > 0. Everywhere |n_i| <= sqrt(d) and
    0 <= 1 / s <= 1 / sqrt(eps).
    """
    lower, upper = centred(x, center)
    d = lower.shape[-1]
    most, least = sqrt_up(float(d)), Interval.point(eps)
    top = float((1.0 / least.sqrt()).upper)
    if not (np.isfinite(lower).all() and np.isfinite(upper).all() and float(np.abs(lower).max() + np.abs(upper).max()) < _LARGE):
        flat = np.full(lower.shape, most)
        return Interval(-flat, flat), Interval(np.zeros(lower.shape[:-1]), np.full(lower.shape[:-1], top))
    others = Interval(lower, upper).square() @ (np.ones((d, d)) - np.eye(d))
    rest = Interval(np.maximum(others.lower, 0.0), others.upper) / float(d) + least
    small, large = np.maximum(rest.lower, eps), rest.upper
    first, last = (
        Interval(c, c) / (Interval(c, c).square() / float(d) + Interval(r, r)).sqrt()
        for c, r in ((lower, np.where(lower >= 0, large, small)), (upper, np.where(upper >= 0, small, large)))
    )
    root = 1.0 / (mean_square(lower, upper) + least).sqrt()
    return Interval(np.clip(first.lower, -most, most), np.clip(last.upper, -most, most)), Interval(np.maximum(root.lower, 0.0), np.minimum(root.upper, top))


def _slope(n: Interval, inverse: Interval, center: bool) -> Interval:
    """(P - n n'/d) / s, (boxes, groups, d, d). M = P - n n'/d is symmetric with 0 <= M <= I, so M_ii lies in [0, 1] and, all 2 x 2 minors of M and of I - M
    being nonnegative, |M_ij| <= 1/2."""
    d = n.shape[-1]
    eye = np.eye(d, dtype=bool)
    outer = Interval(n.lower[..., :, None], n.upper[..., :, None]) * Interval(n.lower[..., None, :], n.upper[..., None, :])
    square = n.square()
    low, high = np.where(eye, square.lower[..., None, :], outer.lower), np.where(eye, square.upper[..., None, :], outer.upper)
    share = Interval.point(Fraction(int(center), d))
    plane = Interval(np.where(eye, (1.0 - share).lower, -share.upper), np.where(eye, (1.0 - share).upper, -share.lower))
    m = plane - Interval(low, high) / float(d)
    least, most = np.where(eye, 0.0, -0.5), np.where(eye, 1.0, 0.5)
    m = Interval(np.clip(m.lower, least, most), np.clip(m.upper, least, most))
    return m * Interval(inverse.lower[..., None, None], inverse.upper[..., None, None])
