"""Rows of the operators that select entries: maxima, minima, pools, sorted groups.

Each output is the k-th smallest of a set of entries, g(z) = z_(k). Its value lies in [l_(k), u_(k)], the k-th smallest lower and upper ends, exactly.
Slopes: g is piecewise linear and, between two points of the box, g(z) - g(z') is the integral of e_i (z - z') over active i, so a convex combination of the
entries' differences; an entry is active only if its range meets [l_(k), u_(k)]. So J lies in the hull of the rows of the active entries.
"""

from __future__ import annotations

import itertools

import numpy as np

from .linear import Prepared, linear
from .rows import Rows, clean, ends, middle, rule


@rule("maximum", "minimum")
def extremum(op: Prepared, x: Rows, y: Rows) -> Rows:
    """The larger (smaller) of two tensors, entry by entry."""
    both = Rows(np.stack([x.mid, y.mid], axis=2), np.stack([x.rad, y.rad], axis=2))
    return selected(both, np.array(1 if op.node.op == "maximum" else 0))


@rule("reduce")
def reduction(op: Prepared, x: Rows) -> Rows:
    """max and min select; sum and mean are linear."""
    if op.attrs["kind"] in ("sum", "mean"):
        return linear(op, x)
    axes = op.attrs["axes"]
    kept = [a for a in range(len(op.in_shapes[0])) if a not in axes]
    order = (0, 1, *(a + 2 for a in axes), *(a + 2 for a in kept))

    def turned(v: np.ndarray) -> np.ndarray:
        return v.transpose(order).reshape(*v.shape[:2], -1, *op.shape)

    parts = Rows(turned(x.mid), turned(x.rad))
    return selected(parts, np.array(parts.mid.shape[2] - 1 if op.attrs["kind"] == "max" else 0))


@rule("max_pool")
def max_pool(op: Prepared, x: Rows) -> Rows:
    """The largest entry of each window; taps on padding count as -inf and are never active."""
    index = _windows(op)
    inside = index >= 0
    channels, boxes, rows = op.shape[0], *x.mid.shape[:2]
    place = np.maximum(index, 0)

    def taken(v: np.ndarray) -> np.ndarray:
        return v.reshape(boxes, rows, channels, -1)[..., place].transpose(0, 1, 3, 2, *range(4, place.ndim + 3))

    mask = np.broadcast_to(inside[:, None], (len(place), channels, *place.shape[1:]))
    return selected(Rows(taken(x.mid), taken(x.rad)), np.array(len(place) - 1), mask)


def _windows(op: Prepared) -> np.ndarray:
    """Flat position within a channel of every tap of every window, (taps, *sites); -1 on padding."""
    a, lengths, sites = op.attrs, op.in_shapes[0][1:], op.shape[1:]
    taps = []
    for tap in itertools.product(*(range(k) for k in a["kernel"])):
        flat, good = np.zeros(sites, dtype=np.int64), np.ones(sites, dtype=bool)
        for axis, (n, t, s, (low, _), d) in enumerate(zip(lengths, tap, a["stride"], a["padding"], a["dilation"])):
            position = (s * np.arange(sites[axis]) - low + d * t).reshape(tuple(-1 if k == axis else 1 for k in range(len(sites))))
            flat, good = flat * n + position, good & (position >= 0) & (position < n)
        taps.append(np.where(good, flat, -1))
    return np.stack(taps)


@rule("group_sort")
def group_sort(op: Prepared, x: Rows) -> Rows:
    """Rank j of a group is its j-th smallest (descending: largest) entry."""
    axis, size, n = op.axis + 1, op.attrs["size"], x.mid.shape[op.axis + 1]
    halves = op.attrs["layout"] == "halves"
    along = axis if halves else axis + 1

    def cut(v: np.ndarray) -> np.ndarray:
        parts = v.reshape(*v.shape[:axis], *((size, n // size) if halves else (n // size, size)), *v.shape[axis + 1 :])
        return np.moveaxis(parts, along, 2)

    parts = Rows(cut(x.mid), cut(x.rad))
    ranks = range(size - 1, -1, -1) if op.attrs["descending"] else range(size)
    done = [selected(parts, np.array(k)) for k in ranks]

    def joined(arrays: list[np.ndarray]) -> np.ndarray:
        return np.stack(arrays, axis=along).reshape(x.mid.shape)

    return Rows(joined([d.mid for d in done]), joined([d.rad for d in done]))


def selected(parts: Rows, rank: np.ndarray, mask: np.ndarray | None = None) -> Rows:
    """The rank-th smallest along axis 2 of rows (boxes, rows, candidates, *shape); entries outside `mask` (candidates, *shape) are -inf."""
    lower, upper = ends(parts.mid[:, 0], parts.rad[:, 0])  # (boxes, candidates, *shape)
    if mask is not None:
        lower, upper = np.where(mask, lower, -np.inf), np.where(mask, upper, -np.inf)
    low, high = (np.sort(e, axis=1)[:, int(rank)] for e in (lower, upper))
    mid, rad = middle(low, high)
    if parts.mid.shape[1] == 1:
        return clean(mid[:, None], rad[:, None])
    active = (upper >= low[:, None]) & (lower <= high[:, None])
    if mask is not None:
        active &= mask
    first, last = ends(parts.mid[:, 1:], parts.rad[:, 1:])
    first, last = np.where(active[:, None], first, np.inf).min(axis=2), np.where(active[:, None], last, -np.inf).max(axis=2)
    steps, spread = middle(first, last)
    return clean(np.concatenate([mid[:, None], steps], axis=1), np.concatenate([rad[:, None], spread], axis=1))
