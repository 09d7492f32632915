"""Rows of the products of two tensors, and of softmax and its relatives."""

from __future__ import annotations

import numpy as np

from ...core.interval import Interval
from ...core.rounding import U
from .linear import Prepared
from .rows import FLOOR, GROW, Rows, added, bilinear, clean, ends, middle, rule


@rule("multiply")
def multiply(op: Prepared, x: Rows, y: Rows) -> Rows:
    """a(x) b(x) - a(y) b(y) = a(x) (b(x) - b(y)) + b(y) (a(x) - a(y)): [A][J_b] + [B][J_a]. A tensor times itself is a square."""
    same = op.node.inputs[0] == op.node.inputs[1]
    value = _interval(x).square() if same else _interval(x) * _interval(y)
    mid, rad = middle(value.lower, value.upper)
    if x.mid.shape[1] == 1:
        return clean(mid[:, None], rad[:, None])
    a, b = _split(x), _split(y)
    steps = added(_times(a[0], b[1]), _times(b[0], a[1]))
    return clean(np.concatenate([mid[:, None], steps.mid], axis=1), np.concatenate([rad[:, None], steps.rad], axis=1))


@rule("matmul")
def matmul(op: Prepared, x: Rows, y: Rows) -> Rows:
    """As multiply, with matrix products."""
    a, b = _split(x), _split(y)
    value = bilinear(a[0], b[0])
    if x.mid.shape[1] == 1:
        return value
    steps = added(bilinear(a[0], b[1]), bilinear(a[1], b[0]))
    return Rows(np.concatenate([value.mid, steps.mid], axis=1), np.concatenate([value.rad, steps.rad], axis=1))


def _split(x: Rows) -> tuple[Rows, Rows]:
    """The value row and the slope rows."""
    return Rows(x.mid[:, :1], x.rad[:, :1]), Rows(x.mid[:, 1:], x.rad[:, 1:])


def _times(a: Rows, b: Rows) -> Rows:
    """Entrywise product of two uncertain factors."""
    mid, left, right = a.mid * b.mid, np.abs(a.mid), np.abs(b.mid)
    return clean(mid, (left * b.rad + a.rad * (right + b.rad) + 2 * U * np.abs(mid)) * GROW + FLOOR)


def _interval(x: Rows) -> Interval:
    return Interval(*ends(x.mid[:, 0], x.rad[:, 0]))


@rule("softmax", "log_softmax", "logsumexp")
def softmax(op: Prepared, x: Rows) -> Rows:
    """Along an axis, which is brought to the end."""
    y = softmax_last(op.node.op, Rows(np.moveaxis(x.mid, op.axis + 1, -1), np.moveaxis(x.rad, op.axis + 1, -1)))
    if op.node.op == "logsumexp":
        return y
    return Rows(np.moveaxis(y.mid, -1, op.axis + 1), np.moveaxis(y.rad, -1, op.axis + 1))


def softmax_last(kind: str, last: Rows) -> Rows:
    """By the probabilities p over the box: J of softmax is diag(p) - pp', of log_softmax I - 1p', of logsumexp p'; values are monotone in each entry."""
    lower, upper = ends(last.mid[:, 0], last.rad[:, 0])
    known = np.isfinite(lower).all() and np.isfinite(upper).all() and float(np.abs(lower).max() + np.abs(upper).max()) < 1e300
    p, log, total = (*_probabilities(lower, upper), _log_sum(lower, upper)) if known else _nothing(lower)
    value = {"softmax": p, "log_softmax": log, "logsumexp": total}[kind]
    mid, rad = (e[:, None] for e in middle(value.lower, value.upper))
    if last.mid.shape[1] > 1:
        matrix = _matrix(kind, p)
        steps = bilinear(Rows(last.mid[:, 1:, ..., None, :], last.rad[:, 1:, ..., None, :]), Rows(matrix.mid[:, None], matrix.rad[:, None]))
        moved = (steps.mid[..., 0, 0], steps.rad[..., 0, 0]) if kind == "logsumexp" else (steps.mid[..., 0, :], steps.rad[..., 0, :])
        mid, rad = np.concatenate([mid, moved[0]], axis=1), np.concatenate([rad, moved[1]], axis=1)
    return clean(mid, rad)


def _probabilities(lower: np.ndarray, upper: np.ndarray) -> tuple[Interval, Interval]:
    """p_i and log p_i: with S_i = sum over j != i of e^(x_j - x_i), p_i = 1 / (1 + S_i) and log p_i = -log1p(S_i), both falling in S_i."""
    k = lower.shape[-1]
    worst = _point(upper[..., None, :]) - _point(lower[..., :, None])
    best = _point(lower[..., None, :]) - _point(upper[..., :, None])
    others = np.broadcast_to(~np.eye(k, dtype=bool), worst.shape)
    most, least = (_masked(e.exp(), others).sum(axis=e.ndim - 1) for e in (worst, best))
    total = Interval(np.maximum(least.lower, 0.0), most.upper)
    p, log = 1.0 / (total + 1.0), -total.log1p()
    return Interval(np.maximum(p.lower, 0.0), np.clip(p.upper, 0.0, 1.0)), Interval(log.lower, np.minimum(log.upper, 0.0))


def _point(x: np.ndarray) -> Interval:
    return Interval(x, x)


def _masked(e: Interval, mask: np.ndarray) -> Interval:
    return Interval(np.where(mask, e.lower, 0.0), np.where(mask, e.upper, 0.0))


def _nothing(lower: np.ndarray) -> tuple[Interval, Interval, Interval]:
    """What holds of unbounded entries."""
    one, free = lower.shape[-1] == 1, np.full(lower.shape[:-1], np.inf)
    p, log = Interval(np.full(lower.shape, float(one)), np.ones(lower.shape)), Interval(np.full(lower.shape, 0.0 if one else -np.inf), np.zeros(lower.shape))
    return p, log, Interval(-free, free)


def _log_sum(lower: np.ndarray, upper: np.ndarray) -> Interval:
    """log sum of e^x, rising in each entry: m + log S with m = max x and S - 1 = the sum of e^(x - m) over the other entries."""
    found = []
    for x in (lower, upper):
        top = x.argmax(axis=-1)[..., None]
        peak = np.take_along_axis(x, top, axis=-1)
        shifted = _point(x) - _point(np.broadcast_to(peak, x.shape))
        rest = _masked(shifted.exp(), np.arange(x.shape[-1]) != top).sum(axis=x.ndim - 1)
        found.append(_point(peak[..., 0]) + Interval(np.maximum(rest.lower, 0.0), rest.upper).log1p())
    return Interval(found[0].lower, found[1].upper)


def _matrix(kind: str, p: Interval) -> Rows:
    """The matrix that multiplies rows from the right, (boxes, ..., k, k or 1): column i holds the derivatives of output i."""
    k = p.shape[-1]
    column = Interval(p.lower[..., :, None], p.upper[..., :, None])
    if kind == "logsumexp":
        return Rows(*middle(column.lower, column.upper))
    eye = np.broadcast_to(np.eye(k, dtype=bool), (*p.shape, k))
    if kind == "log_softmax":  # dy_i / dx_j = [i = j] - p_j
        lower = np.where(eye, (1.0 - column).lower, -column.upper)
        upper = np.where(eye, (1.0 - column).upper, -column.lower)
        return Rows(*middle(lower, upper))
    product = column * Interval(p.lower[..., None, :], p.upper[..., None, :])
    lower, upper = (np.broadcast_to(e[..., None, :], product.shape) for e in _variance(p))
    return Rows(*middle(np.where(eye, lower, -product.upper), np.where(eye, upper, -product.lower)))


def _variance(p: Interval) -> tuple[np.ndarray, np.ndarray]:
    """Ends of p (1 - p): rising up to 1/2, then falling."""
    at_low, at_high = (_point(e) * (1.0 - _point(e)) for e in (p.lower, p.upper))
    peak = (p.lower <= 0.5) & (p.upper >= 0.5)
    return np.maximum(np.minimum(at_low.lower, at_high.lower), 0.0), np.where(peak, 0.25, np.minimum(np.maximum(at_low.upper, at_high.upper), 0.25))
