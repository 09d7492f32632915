"""How far a Bernstein form is from the controller on its domain: three theorems, of which the smallest bound counts.

Notation: t in [-1, 1]^n, x = c + h t, e = B - u, L_i bounds |du/dx_i|, G_i bounds |dB/dt_i|.
A priori (classical coefficients b_k = u(node k) only): B(x) is the mean of u(Z), Z_i = l_i + W_i K_i / d_i with K_i binomial, E Z = x, so
    |e| <= sum_i L_i E|Z_i - x_i| <= sum_i L_i W_i / (2 sqrt d_i),   and   |e| <= (L / 2) sqrt(sum_i W_i^2 / d_i) with an l2 constant L.
Sampled: in a cell with centre a and half widths w (in t), |e(t)| <= |e(a)| + sum_i G_i w_i + min(sum_i L_i h_i w_i, L |h w|_2).
Slopes (networks): with u(x) - u(x_a) = J (x - x_a), J in [M - R, M + R] on the cell, and B(t) - B(a) = dB(a)(t - a) + r, |r| <= (1/2) sum_ij H_ij w_i w_j,
    e(t) in e(a) +- sum_i (|dB_i(a) - M_i h_i| + R_i h_i) w_i +- (1/2) sum_ij H_ij w_i w_j.
Cells that decide the result are cut until the bound is near the largest sampled error or the budget is spent. Everything is rounded outward: a value that
is evaluated at the float x^ near x_a costs (|M| + R) |x^ - x_a| more, which `Domain.blur` bounds. Source: methods/reach.md section 2; Huang et al. 2019 (ReachNN).
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from certify.core.rounding import U, up

from .bernstein_form import Tensor
from .bernstein_source import Domain, Slopes, Source

GROW = 1.0 + 2.0**-45  # more than all roundings of a sum of at most 60 nonnegative terms
NEAR = 1.5  # a bound within this factor of what was sampled is good enough


class Error(NamedTuple):
    """u - B lies in [lower, upper] on the domain, per output. `sampled` is the largest |e| seen up to a shift, `cells` how many were evaluated."""

    lower: np.ndarray
    upper: np.ndarray
    theorem: str
    sampled: np.ndarray
    cells: int
    limited: bool


def a_priori(domain: Domain, degrees: tuple[int, ...], halves: np.ndarray, columns: np.ndarray, whole: np.ndarray | None) -> np.ndarray:
    """(outputs,) bound of |B - u| for coefficients that are the node values within `halves`; inf where a variable has degree 0."""
    width, d = 2.0 * domain.radius[domain.active], np.array(degrees, float)
    if (d < 1).any():
        return np.full(len(columns), np.inf)
    used = columns[:, domain.active]
    bound = (used * (width / (2.0 * np.sqrt(d)))).sum(axis=1)
    if whole is not None:
        bound = np.minimum(bound, 0.5 * whole * np.sqrt((width * width / d).sum()))
    return up((bound + halves + weighted(columns, domain.blur)) * GROW)


def weighted(constants: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """sum_i |constants_i| widths_i over the last axis; a width of 0 counts 0 even where the constant is infinite."""
    with np.errstate(invalid="ignore"):
        return np.where(widths == 0, 0.0, np.abs(constants) * widths).sum(axis=-1)


def grid(cells: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(centres, half widths), each (N, n), of floats whose boxes cover [-1, 1]^n."""
    axes = [((2 * np.arange(p) + 1) / p - 1.0, np.full(p, 1.0 / p * (1 + 4 * U) + 4 * U if p > 1 else 1.0)) for p in cells]
    centres, widths = (np.array(list(itertools.product(*parts))).reshape(math.prod(cells), len(cells)) for parts in zip(*axes)) if axes else np.zeros((2, 1, 0))
    return centres, widths


def sampled(source: Source, domain: Domain, form: Tensor, cells: tuple[int, ...], columns: np.ndarray, whole: np.ndarray | None) -> Error:
    """The sampled bound on a grid of cells."""
    centres, w = grid(cells)
    e, loss = residual(source, domain, form, centres)
    h = domain.radius[domain.active]
    slope = np.maximum(-form.slopes[0], form.slopes[1])
    own = weighted(columns[:, domain.active], h * w[0])
    if whole is not None:
        own = np.minimum(own, whole * np.sqrt(((h * w[0]) ** 2).sum()))
    reach = (slope @ w[0] + own + weighted(columns, domain.blur)) * GROW
    low, high = (e - loss).min(axis=0), (e + loss).max(axis=0)
    seen = 0.5 * (e.max(axis=0) - e.min(axis=0))
    return Error(np.nextafter(low - reach, -np.inf), np.nextafter(high + reach, np.inf), "sampled", seen, len(centres), False)


def residual(source: Source, domain: Domain, form: Tensor, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(e, loss), each (N, outputs): |u(x^) - B(t) - e| <= loss at the float states x^ of t."""
    value, half = source.values(domain.points(t))
    own, error = form.values(t)
    e = value - own
    return e, (half + error + 2 * U * (np.abs(value) + np.abs(own))) * GROW


def by_slopes(source: Source, slopes: Slopes, domain: Domain, form: Tensor, first: tuple[int, ...], budget: int, target: np.ndarray) -> Error:
    """The slope bound with adaptive cells: start from a grid, cut what decides."""
    centres, w = grid(first)
    done = _cells(source, slopes, domain, form, centres, w)
    used = len(centres)
    while True:
        low, high, e, share = done
        least, most = low.min(axis=0), high.max(axis=0)
        middle = 0.5 * e.max(axis=0) + 0.5 * e.min(axis=0)
        seen = 0.5 * (e.max(axis=0) - e.min(axis=0))
        goal = np.maximum(NEAR * seen, target)
        over = ((high > middle + goal) | (low < middle - goal)).any(axis=1)
        if not over.any() or not len(first):
            return Error(least, most, "slopes", seen, used, False)
        room = (budget - used) // 2
        if room < 1 or not np.isfinite(e).all():
            return Error(least, most, "slopes", seen, used, True)
        worst = np.flatnonzero(over)
        excess = np.maximum(high - middle - goal, middle - goal - low).max(axis=1)
        worst = worst[np.argsort(-excess[worst], kind="stable")][:room]
        a, b = _cut(centres[worst], w[worst], share[worst])
        kept = np.ones(len(centres), bool)
        kept[worst] = False
        centres, w = np.concatenate([centres[kept], a]), np.concatenate([w[kept], b])
        made = _cells(source, slopes, domain, form, a, b)
        done = tuple(np.concatenate([old[kept], new]) for old, new in zip(done, made))
        used += len(a)


def _cells(source: Source, slopes: Slopes, domain: Domain, form: Tensor, t: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
    """(low, high, e, share) per cell: ends of u - B, the value at the centre, and how much each variable contributes to the width."""
    active, h = domain.active, domain.radius[domain.active]
    e, loss = residual(source, domain, form, t)
    x = domain.points(t)
    spread = np.zeros(x.shape)
    spread[:, active] = h * w
    spread = np.where(domain.radius > 0, (spread + domain.blur) * GROW, 0.0)
    lower, upper = slopes(np.maximum(x - spread, domain.lower), np.minimum(x + spread, domain.upper))
    with np.errstate(all="ignore"):
        mid = 0.5 * lower + 0.5 * upper
        rad = np.maximum(upper - mid, mid - lower) * GROW
        step, error = form.gradients(t)
        gap = np.abs(step - mid[:, :, active] * h) * GROW + error + 4 * U * np.abs(mid[:, :, active]) * h
        parts = (gap + rad[:, :, active] * h) * w[:, None]
        bend = 0.5 * np.einsum("oij,ni,nj->noi", form.bend, w, w) * GROW
        blur = weighted(np.abs(mid) + rad, domain.blur)
        reach = ((parts + bend).sum(axis=2) + blur + loss) * GROW + 1e-290
        low, high = np.nextafter(e - reach, -np.inf), np.nextafter(e + reach, np.inf)
        good = np.isfinite(low) & np.isfinite(high)
        share = np.where(np.isfinite(parts), rad[:, :, active] * h * w[:, None] + 0.5 * gap * w[:, None] + bend, w[:, None] * h).max(axis=1)
    return np.where(good, low, -np.inf), np.where(good, high, np.inf), e, share


def _cut(t: np.ndarray, w: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each cell in two along the variable with the largest share; the halves overlap by their rounding."""
    i = share.argmax(axis=1)
    rows = np.arange(len(t))
    half = w.copy()
    half[rows, i] *= 0.5
    left, right = t.copy(), t.copy()
    left[rows, i] = np.clip(t[rows, i] - half[rows, i], -1.0, 1.0)
    right[rows, i] = np.clip(t[rows, i] + half[rows, i], -1.0, 1.0)
    half[rows, i] = half[rows, i] * (1 + 4 * U) + 4 * U
    return np.concatenate([left, right]), np.concatenate([half, half])


def cells_for(q: np.ndarray, budget: int) -> tuple[int, ...]:
    """Cells per coordinate with about equal q_i / p_i, their product at most the budget."""
    size = [float(v) for v in q / max(float(q.max(initial=0.0)), 1e-300)]
    low, high = 1.0, float(budget) + 1.0  # the largest count, by bisection
    while high - low > 0.5:
        most = 0.5 * (low + high)
        low, high = (most, high) if math.prod(max(1, math.floor(v * most)) for v in size) <= budget else (low, most)
    return tuple(max(1, math.floor(v * low)) for v in size)
