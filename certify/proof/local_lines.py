"""What a box of increments says about a block: two lines around dphi, and the slopes of the chords from the centre.

z0 lies in [z, Z], the increment d in [l, u] with l <= 0 <= u; L = down(z + l), U = up(Z + u), so z0 and z0 + d lie in [L, U]; g(d) = phi(z0 + d) - phi(z0).
Lines: low d + low0 <= g(d) <= high d + high0 for every d in [l, u].
- bent: phi(t) = a t below 0 and b t above. L >= 0: g = b d; U <= 0: g = a d. Else, for any float s, phi(t) - s t is linear on both sides of 0, so on [L, U] its
  ends are among its values at L, U and 0, and at z0 among those at z, Z and (if inside) 0: phi(z0 + d) <= s (z0 + d) + k gives g(d) <= s d + k - (phi(z0) - s z0), likewise
  from below. One line is the chord from L to U (above if b >= a), the other has the slope of the wider side.
- slopes: dphi / d in [p, q], the slopes between any two points of [L, U]. max(p d, q d) is convex: a line at least as large at l and at u is above it; min likewise.
- groups: |dphi_i| <= |(c o dz)_g|_2.
Chords: lo <= g(d) / d <= hi for d != 0. They hold with one end at z0, not between two points of the box. "bent": of the rectifier h = max(t, 0), phi = a t + (b - a) h.
h is convex, so its chord slope from z0 does not fall with d. At l < 0 it is 1 if z0 + l >= 0, 0 if z0 <= 0, else z0 / -l; at u > 0 it is 1 if z0 >= 0, 0 if
z0 + u <= 0, else 1 + z0 / u. Both are monotone in z0: lo takes z, hi takes Z. l = 0: the slope from the right at z0, here 1 only if z >= 0. u = 0: here 0 only if Z <= 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..core.rounding import down, norms_up, up
from .parts import Block

Ends = tuple[np.ndarray, np.ndarray]


class Lines(NamedTuple):
    """Slopes per entry of z (None for groups), intercepts and `size` >= |dphi| per entry of phi; `reach` >= |dz|."""

    low: np.ndarray | None
    high: np.ndarray | None
    low0: np.ndarray
    high0: np.ndarray
    size: np.ndarray
    reach: np.ndarray


def lines_of(kind: tuple, block: Block, z: Ends, box: Ends) -> Lines:
    """The lines of one block at one point: z (the enclosure of z0) and box (l, u), each a pair of (entries,)."""
    reach = np.maximum(-box[0], box[1])
    first, last = down(z[0] + box[0]), up(z[1] + box[1])
    with np.errstate(all="ignore"):
        if kind[0] == "groups":
            return _groups(block, reach)
        if kind[0] == "bent":
            return _bent(kind[1], kind[2], z, first, last, reach)
        least, most = kind[1].slope_range_on(first, last)
        return _between(least, most, box, reach)


def _bent(a: np.ndarray, b: np.ndarray, z: Ends, first: np.ndarray, last: np.ndarray, reach: np.ndarray) -> Lines:
    right, left = first >= 0, last <= 0
    open_ = ~(right | left)
    plain = np.where(right, b, a)
    chord = (b * last - a * first) / (last - first)
    steep = np.where(last > -first, b, a)
    found = []
    for s in (chord, steep):
        ends = [_offset(a, b, s, t) for t in (first, last)]
        inner = [_offset(a, b, s, t) for t in z]
        inside = (z[0] < 0) & (z[1] > 0)
        least = np.minimum(np.minimum(inner[0][0], inner[1][0]), np.where(inside, 0.0, inner[0][0]))
        most = np.maximum(np.maximum(inner[0][1], inner[1][1]), np.where(inside, 0.0, inner[0][1]))
        above = np.maximum(np.maximum(ends[0][1], ends[1][1]), 0.0)
        below = np.minimum(np.minimum(ends[0][0], ends[1][0]), 0.0)
        found.append((down(below - most), up(above - least)))
    convex = b >= a
    high = np.where(open_, np.where(convex, chord, steep), plain)
    low = np.where(open_, np.where(convex, steep, chord), plain)
    high0 = np.where(open_, np.where(convex, found[0][1], found[1][1]), 0.0)
    low0 = np.where(open_, np.where(convex, found[1][0], found[0][0]), 0.0)
    size = up(np.where(open_, np.maximum(np.abs(a), np.abs(b)), np.abs(plain)) * reach)
    return Lines(low, high, low0, high0, np.where(plain != 0, size, np.where(open_, size, 0.0)), reach)


def _offset(a: np.ndarray, b: np.ndarray, s: np.ndarray, t: np.ndarray) -> Ends:
    """Both ends of phi(t) - s t at floats t: the slope of t's side, minus s, times t."""
    slope = np.where(t >= 0, b, a)
    corners = np.stack([down(slope - s) * t, up(slope - s) * t])
    return down(corners.min(axis=0)), up(corners.max(axis=0))


def _between(p: np.ndarray, q: np.ndarray, box: Ends, reach: np.ndarray) -> Lines:
    l, u = box
    width = u - l
    flat = ~(width > 0)
    width = np.where(flat, 1.0, width)
    high = np.where(flat, p, (q * u - p * l) / width)
    low = np.where(flat, p, (p * u - q * l) / width)
    above = np.zeros(len(l))
    below = np.zeros(len(l))
    for slope in (p, q):
        for end in (l, u):
            above = np.maximum(above, up(np.maximum(down(slope - high) * end, up(slope - high) * end)))
            below = np.minimum(below, down(np.minimum(down(slope - low) * end, up(slope - low) * end)))
    return Lines(low, high, below, above, up(np.maximum(np.abs(p), np.abs(q)) * reach), reach)


def _groups(block: Block, reach: np.ndarray) -> Lines:
    sizes = up(np.maximum(np.abs(block.lo), np.abs(block.hi)) * reach)
    inside = np.asarray(block.inside)
    order = np.argsort(inside, kind="stable")
    counts = np.bincount(inside, minlength=block.groups)
    table = np.zeros((block.groups, int(counts.max(initial=1))))
    starts = np.cumsum(counts) - counts
    which = inside[order]
    table[which, np.arange(len(order)) - starts[which]] = sizes[order]
    rho = np.where(np.isnan(table).any(axis=1), np.nan, norms_up(np.where(np.isnan(table), 0.0, table), "l2"))[block.outside]
    return Lines(None, None, -rho, rho, rho, reach)


def chords(kind: tuple, block: Block, z: Ends, box: Ends) -> Ends:
    """(lo, hi) per entry: of the rectifier ("bent"), of the activation ("slopes"), of the group's constant (-c, c)."""
    first, last = down(z[0] + box[0]), up(z[1] + box[1])
    if kind[0] == "groups":
        return block.lo, block.hi
    if kind[0] == "slopes":
        return kind[1].slope_range_on(first, last)
    l, u = box
    with np.errstate(all="ignore"):
        least = np.where(l < 0, np.where(z[0] > 0, np.clip(down(z[0] / -l), 0.0, 1.0), 0.0), np.where(z[0] >= 0, 1.0, 0.0))
        most = np.where(u > 0, np.where(z[1] < 0, np.clip(up(1.0 + up(z[1] / u)), 0.0, 1.0), 1.0), np.where(z[1] <= 0, 0.0, 1.0))
    known, dead = first >= 0, last <= 0
    least = np.where(known, 1.0, np.where(dead, 0.0, least))
    most = np.where(dead & ~known, 0.0, np.where(known, 1.0, most))
    return least, most
