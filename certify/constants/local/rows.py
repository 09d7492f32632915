"""Rows: a tensor over boxes, its values and its slopes in midpoint-radius form, and the rounding that every operator shares.

`mid` and `rad` have shape (boxes, rows, *shape). Row 0 encloses the tensor's values on the box; row 1 + i encloses column i of a matrix J with
t(x) - t(y) = J (x - y), for every pair x, y of the box. A node turns the rows of its inputs into its own (`rule`), and induction does the rest.

Rounding. A radius is computed from nonnegative floats. GROW = 1 + 2^-49 pays for 14 roundings of it, since (1 - u)^14 (1 + 16u) >= 1, u = 2^-53; FLOOR =
2^-900 pays for every underflow (2^-1074 each), and stands inside a radius before a matrix is applied to it, so that weights of any size scale it too.
Whatever is not finite becomes 0 +- inf: nothing is known there, and no later operator forgets it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...core.rounding import U, down, gamma, up

GROW, FLOOR = 1.0 + 2.0**-49, 2.0**-900


class Rows(NamedTuple):
    """`mid` +- `rad`, both (boxes, rows, *shape)."""

    mid: np.ndarray
    rad: np.ndarray


Rule = Callable[..., Rows]
RULES: dict[str, Rule] = {}


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """Register a function (operand, *inputs: Rows) -> Rows as the enclosure of the operators `ops`."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(ops, function))
        return function

    return register


def clean(mid: np.ndarray, rad: np.ndarray) -> Rows:
    """mid +- rad, with 0 +- inf wherever one of them is NaN or mid is infinite (an overflow, or an unbounded input)."""
    if not np.isfinite(mid.sum() + rad.sum()):
        bad = ~np.isfinite(mid) | np.isnan(rad)
        mid, rad = np.where(bad, 0.0, mid), np.where(bad, np.inf, rad)
    return Rows(mid, rad)


def ends(mid: np.ndarray, rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outward lower and upper ends of mid +- rad."""
    return down(mid - rad), up(mid + rad)


def middle(lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A midpoint and radius around [lower, upper]; 0 +- inf where an end is infinite. Points stay points."""
    mid = np.clip(0.5 * lower + 0.5 * upper, lower, upper)
    rad = np.maximum(upper - mid, mid - lower) * GROW
    good = np.isfinite(mid) & np.isfinite(rad)
    return (mid, rad) if good.all() else (np.where(good, mid, 0.0), np.where(good, rad, np.inf))


def mapped(apply: Callable, majorant: Callable, terms: int, x: Rows, perturbation: float = 0.0, underflow: float = 0.0) -> Rows:
    """A matrix applied to every row. `apply` and `majorant` take batches (n, *shape) and meet at most `terms` roundings.

    |A x - fl(A m)| <= |A|((1 + rho) r + (rho + gamma) |m|) + tau sum(|m| + r) for |x - m| <= r and a matrix within rho |A| + tau of the stored one.
    """
    boxes, rows, *shape = x.mid.shape
    size = np.abs(x.mid)
    spread = x.rad * (1.0 + perturbation) + size * (gamma(terms) + perturbation) + FLOOR
    mid = apply(x.mid.reshape(boxes * rows, *shape))
    rad = majorant(spread.reshape(boxes * rows, *shape)) * (1.0 + 2.0 * gamma(terms + 16)) + FLOOR
    if underflow:
        total = (size + x.rad).reshape(boxes * rows, -1).sum(axis=1) * (4.0 * underflow) + FLOOR
        rad = (rad + total.reshape(-1, *(1,) * (rad.ndim - 1))) * GROW
    return clean(mid.reshape(boxes, rows, *mid.shape[1:]), rad.reshape(boxes, rows, *mid.shape[1:]))


def shifted(x: Rows, shift: np.ndarray, error: float = 0.0) -> Rows:
    """x plus a constant tensor, known within `error` per entry: it moves the values, never the slopes. Changes x, which must be fresh."""
    x.mid[:, 0] += shift
    x.rad[:, 0] = (x.rad[:, 0] + 2 * U * np.abs(x.mid[:, 0]) + error) * GROW
    return clean(x.mid, x.rad)


def chained(values: tuple[np.ndarray, np.ndarray], slopes: tuple[np.ndarray, np.ndarray] | None, x: Rows) -> Rows:
    """An entrywise function: its value rows [lower, upper] and, times its slope range, the slope rows of x."""
    mid, rad = middle(*values)
    if slopes is None:
        return clean(mid[:, None], rad[:, None])
    slope, half = (a[:, None] for a in middle(*slopes))
    steps, size = x.mid[:, 1:], np.abs(slope)
    moved = slope * steps
    spread = (x.rad[:, 1:] * (size + half) + np.abs(steps) * half + 2 * U * np.abs(moved)) * GROW + FLOOR
    return clean(np.concatenate([mid[:, None], moved], axis=1), np.concatenate([rad[:, None], spread], axis=1))


def bilinear(a: Rows, b: Rows) -> Rows:
    """Matrix products a @ b (numpy broadcasting) of two uncertain factors: |ab - fl(m_a m_b)| <= |m_a|(r_b + gamma |m_b|) + r_a (|m_b| + r_b)."""
    n = a.mid.shape[-1]
    left, right = np.abs(a.mid), np.abs(b.mid)
    rad = left @ (b.rad + gamma(n) * right + FLOOR) + a.rad @ (right + b.rad + FLOOR)
    return clean(a.mid @ b.mid, rad * (1.0 + 2.0 * gamma(n + 16)) + FLOOR)


def added(a: Rows, b: Rows, sign: float = 1.0) -> Rows:
    """a + b or a - b."""
    mid = a.mid + b.mid if sign > 0 else a.mid - b.mid
    return clean(mid, (a.rad + b.rad + 2 * U * np.abs(mid)) * GROW)
