"""Boxes of every pre-activation increment on a ball around x0, by backward linear bounds; and lower ends of linear functions of the output.

What is stored. For a ball |dx|_p <= r (or a box |dx_i| <= h_i) around x0: float32 l <= 0 <= u, one pair per z entry of every block in chain order, with
l <= z(x0 + dx) - z(x0) <= u on the region. They are INCREMENTS, in the form of `form.py` (kinks at 0 written through the rectifier; z is the same).
How they are found, and how a checker finds them again, block after block k = 1, 2, ...:
1. Rows A = [W_k; -W_k], bounds c = 0, errors e = 0. For the blocks j = k-1, ..., 1: B = A G_j; with the lines of block j on its STORED box (`lines`)
       c += B+ low0 + B- high0,   A <- A H_j + (B+ low + B- high) W_j      (B+ = max(B, 0), B- = min(B, 0); the last term is absent for groups).
   Then A dx >= -r |A|_q (q dual to p; -sum |A_i| h_i for a box), so c - e - r |A|_q is below W_k s and, of the lower half, minus an upper end.
2. |dz_i| <= sum_j |W_ij| t_j too, t the magnitudes of the state (t_0: r, or h; t' = |H| t + |G| size), and, where gains are given, |dz_i| <= gain_i r.
3. The smaller of these, moved outward by 2^-20 of its width, then to float32, outward. The room is for other programs' rounding.
A margin is a row (e_y - e_j) C taken through all blocks like the rows of 1.

Errors e (rounding.md, sections 2 and 4). Let M be a true matrix, |M - M~| <= R. At one block, with the true increments of this block dphi, dz, ds bounded by
size, |W| t, t: B dphi is off by |A| (R_G + gamma |G|) size, the sums in c by gamma_(2n+4) (B+ |low0| - B- |high0|) and u |c|, the rounding of
B+ low + B- high (one product each, the other is 0) and its product with W by |B'| (R_W + gamma_(n+8) (|W| + R_W)) t, A H by |A| (R_H + gamma |H|) t, the
sum of the two by 2u |A'| t. Each is a sum of nonnegative floats: two nested inner products of length at most 2^20 and a few roundings, paid by the factor
1 + 2^-28 on the total; underflow by 2^-900 (1 + sum of all magnitudes). The relaxations themselves are exact inequalities between floats.
Source: Zhang, Weng, Chen, Hsieh, Daniel 2018 (CROWN); methods/network_lipschitz.md section 10.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.midrad import MidRad
from ...core.rounding import U, down, dual_norm, gamma, norms_up, up
from .form import Form, Step
from .lines import Lines, lines_of

GROW, FLOOR = 1.0 + 2.0**-28, 2.0**-900
ROOM = 2.0**-20
_ENTRIES = 1 << 22


@dataclass(frozen=True, eq=False)
class Reach:
    """n regions |dx|_norm <= radius_i, or, with `halves` (n, inputs), the boxes |dx| <= halves."""

    norm: str
    radius: np.ndarray
    halves: np.ndarray | None = None

    def __getitem__(self, index) -> Reach:
        return Reach(self.norm, self.radius[index], None if self.halves is None else self.halves[index])

    def magnitudes(self, inputs: int) -> np.ndarray:
        """t_0 (n, inputs)."""
        return np.repeat(self.radius[:, None], inputs, axis=1) if self.halves is None else self.halves

    def largest(self, rows: np.ndarray) -> np.ndarray:
        """Upper ends (n, q) of rows @ dx for rows (n or 1, q, inputs)."""
        if self.halves is not None:
            return up((np.abs(rows) @ self.halves[:, :, None])[..., 0] * GROW) + FLOOR
        rows = np.where(np.isnan(rows), np.inf, rows)  # nothing is known: -inf in the end
        norms = norms_up(rows.reshape(-1, rows.shape[-1]), dual_norm(self.norm)).reshape(rows.shape[:2])
        return up(norms * self.radius[:, None])


class Backward:
    """Bounds on linear functions of the states, block after block, for n regions; `boxes` runs it."""

    def __init__(self, form: Form, reach: Reach):
        self.form, self.reach = form, reach
        self.lines: list[Lines] = []
        self.sizes = [reach.magnitudes(form.input_size)]
        self.total = self.sizes[0].sum(axis=1)
        self.errors: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def spread(self, step: Step) -> np.ndarray:
        """Upper ends (n, entries) of |dz| by magnitudes alone."""
        return _times(np.abs(step.weight.mid) + step.weight.radius(), self.sizes[-1])

    def append(self, step: Step, lines: Lines) -> None:
        """One more block, whose box is known."""
        t, w, g, h = self.sizes[-1], step.weight, step.inject, step.keep
        size_g = np.abs(g.mid)
        error_g = _times(g.radius() + gamma(g.shape[0] + 4) * size_g, lines.size)
        error_w = _times(w.radius() + gamma(w.shape[0] + 8) * (np.abs(w.mid) + w.radius()), t)
        after = _times(size_g + g.radius(), lines.size)
        error_h = np.zeros((1, g.shape[0]))
        if h is not None:
            error_h = _times(h.radius() + gamma(h.shape[0] + 4) * np.abs(h.mid), t)
            after = up(after + _times(np.abs(h.mid) + h.radius(), t))
        self.lines.append(lines)
        self.errors.append((error_g, error_w, error_h))
        self.sizes.append(after)
        self.total = self.total + after.sum(axis=1) + lines.size.sum(axis=1) + self.spread_total(w, t)

    @staticmethod
    def spread_total(w: MidRad, t: np.ndarray) -> np.ndarray:
        return _times(np.abs(w.mid) + w.radius(), t).sum(axis=1)

    def lower(self, mid: np.ndarray, rad: np.ndarray | None) -> np.ndarray:
        """Lower ends (n, q) of rows @ state over the regions, for rows (n or 1, q, state) within rad; NaN-free: -inf where nothing is known."""
        with np.errstate(all="ignore"):
            a, c = mid, np.zeros((1, mid.shape[1]))
            e = np.zeros((1, 1)) if rad is None else _rows(rad, self.sizes[-1])
            for step, lines, errors, t in list(zip(self.form.steps, self.lines, self.errors, self.sizes))[::-1]:
                a, c, e = _through(step, lines, errors, t, a, c, e)
            e = up(e * GROW) + FLOOR * (1.0 + self.total[:, None])
            found = down(down(c - e) - self.reach.largest(a))
            return np.where(np.isnan(found), -np.inf, found)


def _through(step: Step, lines: Lines, errors, t, a, c, e):
    """Rows on the state after a block -> rows on the state before it."""
    size = np.abs(a)
    b = a @ step.inject.mid
    above, below = np.maximum(b, 0.0), np.minimum(b, 0.0)
    e = e + _rows(size, errors[0]) + gamma(2 * b.shape[-1] + 8) * (_rows(above, np.abs(lines.low0)) + _rows(-below, np.abs(lines.high0)))
    c = c + (_rows(above, lines.low0) + _rows(below, lines.high0))
    e = e + 2 * U * np.abs(c)
    after = np.zeros((1, 1, step.weight.shape[1]))
    if lines.low is not None and lines.high is not None:
        turned = above * lines.low[:, None] + below * lines.high[:, None]
        e = e + _rows(np.abs(turned), errors[1])
        after = turned @ step.weight.mid
    if step.keep is not None:
        after = after + a @ step.keep.mid
        e = e + _rows(size, errors[2]) + 2 * U * _rows(np.abs(after), t)
    return after, c, e


def boxes(form: Form, z: tuple[np.ndarray, np.ndarray], reach: Reach, gains: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, Backward]:
    """float32 (n, entries) l, u of every z entry, and the state of the backward pass for further rows.

    Args:
        z: enclosures (n, entries) of z at the centres; gains: (entries,) upper ends of |dz_i| / |dx|_norm, or None.
    Guarantee: module docstring. Each point's numbers are the same in any batch. Cost: for block k, rows x state x state per earlier block.
    """
    passed = Backward(form, reach)
    lower, upper = np.empty((2, len(reach.radius), form.entries), dtype=np.float32)
    for step, place in zip(form.steps, form.places):
        with np.errstate(all="ignore"):
            most = passed.spread(step)
            if gains is not None:
                most = np.minimum(most, up(gains[place] * reach.radius[:, None]))
            both = passed.lower(np.concatenate([step.weight.mid, -step.weight.mid])[None], _twice(step.weight.rad))
            low, high = np.maximum(both[:, : step.size], -most), np.minimum(-both[:, step.size :], most)
            lower[:, place], upper[:, place] = outward(low, high)
        box = lower[:, place].astype(np.float64), upper[:, place].astype(np.float64)
        passed.append(step, lines_of(step, (z[0][:, place], z[1][:, place]), box))
    return lower, upper, passed


def outward(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 ends around [low, high] and 0, with room; (-inf, inf) where an end is NaN."""
    low, high = np.where(np.isnan(low), -np.inf, np.minimum(low, 0.0)), np.where(np.isnan(high), np.inf, np.maximum(high, 0.0))
    room = np.where(np.isfinite(high - low), ROOM * (high - low), 0.0)
    low, high = down(low - room), up(high + room)
    first, last = low.astype(np.float32), high.astype(np.float32)
    first = np.where(first > low, np.nextafter(first, np.float32(-np.inf)), first)
    return first, np.where(last < high, np.nextafter(last, np.float32(np.inf)), last)


def chunk(form: Form, rows: int = 0) -> int:
    """Regions that are worked on together: the largest array keeps about 2^22 entries."""
    widest = max(max(*s.weight.shape, *s.inject.shape) for s in form.steps)
    return max(1, _ENTRIES // (2 * max(rows, *(s.size for s in form.steps)) * widest))


def _twice(rad: np.ndarray | None) -> np.ndarray | None:
    return None if rad is None else np.concatenate([rad, rad])[None]


def _rows(a: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """(n or 1, q, s) times (n or 1, s): one product per region, so that no result depends on the others."""
    return (a @ vector[:, :, None])[..., 0]


def _times(matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Upper ends (n, m) of matrix @ vector for nonnegative floats."""
    return up((matrix @ vectors[:, :, None])[..., 0] * GROW) + FLOOR
