"""Grouped convolutions: the norm is the maximum over the groups, and each group has its own twist; depthwise ones are plain numbers."""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from ..core.rounding import U, gamma, sqrt_up, up
from ..linear.conv import ConvMap
from .base import TINY, Ends, room
from .cholesky import with_slack
from .grid import half_grid, sharpened
from .majorant import size_up
from .peaks import Peak, find_peaks
from .pieces import Found, Option, Piece
from .polyphase import AxisPlan, group_taps, symbol_taps
from .settle import settle
from .start import plane_wave
from .symbol import Symbol, phases


def groups_ends(conv: ConvMap, plans: list[AxisPlan], least: tuple[int, ...]) -> Ends:
    """Upper end of the maximum over the groups by Theorem 1, one twist in {0, pi}^D for each; `start` is the plane wave of the largest one."""
    taps = group_taps(conv.weight, conv.groups, plans)
    shifts = [plan.shifts for plan in plans]
    if not taps.any():
        return Ends(0.0, 0.0, {"by": "zero"})
    side = min(taps.shape[1], int((taps != 0).any(axis=(0, 1, *range(3, taps.ndim))).sum()))
    if side == 1:
        kept = taps if taps.shape[1] == 1 else taps[:, :, (taps != 0).any(axis=(0, 1, *range(3, taps.ndim)))].swapaxes(1, 2)
        upper, twists, k, where = _scalars(kept[:, 0], shifts, least)
        symbol = Symbol(symbol_taps(conv.parts[k].weight, plans), shifts)
        peak = Peak(where, least, np.ones(1, dtype=np.complex128), upper)
    else:
        symbols = [Symbol(symbol_taps(block.weight, plans), shifts) for block in conv.parts]
        upper, twists, k, peak = _matrices(symbols, least)
        symbol = symbols[k]
    verify = {"by": "grid", "claim": "embedding", "period": list(least), "twist": [list(t) for t in twists]}
    evidence = {"points": math.prod(least), "side": symbol.a, "groups": conv.groups}
    return Ends(0.0, room(upper), verify, evidence, plane_wave(conv, plans, symbol, sharpened(symbol, peak), k))


def _twists(least: tuple[int, ...]) -> list[tuple[int, ...]]:
    return list(product(*[(0, 1) if n > 1 else (0,) for n in least]))


def _scalars(rows: np.ndarray, shifts: list[np.ndarray], least: tuple[int, ...]) -> tuple[float, list[tuple[int, ...]], int, tuple[int, ...]]:
    """Depthwise, R of shape (groups, b, *J): (upper end, twist of each group, the largest group, its point of the grid of period `least`).

    G(w) = sum_c |F_c(w)|^2 = C_0 + sum over lags l > 0 of 2 cos <w, l> C_l, C_l = sum_(c, t) R_c[t] R_c[t + l], is evaluated for all groups and all
    points at once. No factorisation is needed, and R2 holds per group: |fl(G) - G| <= sqrt2 (gamma_(K+L+2) (1 + eps) + eps) P^2 with K terms in
    a lag, L lags, P^2 = sum_c (sum_t |R_c[t]|)^2 and the phase error eps = 9 D u.
    """
    flat = rows.reshape(*rows.shape[:2], -1)
    b = flat.shape[1]
    at = np.array(list(product(*shifts)), dtype=np.int64).reshape(-1, len(shifts))
    lags, table = _scalar_lags(flat, at)
    eps, terms = 9.0 * len(shifts) * U, flat.shape[2] * b + len(lags) + 2
    slope = 1.5 * (gamma(terms) * (1.0 + 2.0 * eps) + 2.0 * eps)
    weight = np.square(np.abs(flat).sum(2)).sum(1) * up(1.0 + 4.0 * gamma(flat.shape[2] + b + 2))
    slack = up(up(weight * up(slope)) + TINY)
    best = np.full(len(flat), math.inf)
    choice, where = np.zeros(len(flat), dtype=int), np.zeros((len(flat), len(least)), dtype=int)
    twists = _twists(least)
    for k, twist in enumerate(twists):
        points = half_grid(least, twist)
        top, places = _largest_values(points, least, lags, table)
        better = top < best
        best[better], choice[better], where[better] = top[better], k, points[places[better]]
    ends = np.maximum(up(best + slack), 0.0)
    g = int(ends.argmax())
    return sqrt_up(float(ends[g])), [twists[k] for k in choice], g, tuple(int(q) for q in where[g])


def _scalar_lags(flat: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(lags (L, D), table (L, groups)): C_0 in the first row, 2 C_l in the others."""
    sums: dict[tuple[int, ...], np.ndarray] = {}
    zero = (0,) * at.shape[1]
    products = np.einsum("gbs,gbt->stg", flat, flat)
    for s, t in product(range(len(at)), repeat=2):
        lag = tuple((at[t] - at[s]).tolist())
        if lag >= zero:
            sums[lag] = sums.get(lag, 0.0) + products[s, t]
    order = sorted(sums)
    return np.array(order, dtype=np.int64).reshape(-1, at.shape[1]), np.stack([sums[lag] * (1.0 if lag == zero else 2.0) for lag in order])


def _largest_values(points: np.ndarray, period: tuple[int, ...], lags: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every group the largest computed G over the points, and where."""
    top, at = np.full(table.shape[1], -math.inf), np.zeros(table.shape[1], dtype=int)
    step = max(1, (1 << 23) // (8 * max(table.shape)))
    for i in range(0, len(points), step):
        values = phases(points[i : i + step], period, lags).real @ table
        k = values.argmax(axis=0)
        high = values[k, np.arange(len(k))]
        better = ~(high <= top)  # NaN counts as large
        top[better], at[better] = high[better], i + k[better]
    return top, at


def _matrices(symbols: list[Symbol], least: tuple[int, ...]) -> tuple[float, list[tuple[int, ...]], int, Peak]:
    """(upper end, twist of each group, the group that set it, its peak): every group is one piece of `settle`."""
    sizes = [size_up(s.flat) for s in symbols]
    order = sorted(range(len(symbols)), key=lambda g: (-sizes[g], g))
    pieces = [Piece(symbols[g], (None,) * symbols[g].dims, least) for g in order if symbols[g].flat.any()]
    if not pieces:
        return 0.0, [(0,) * len(least)] * len(symbols), 0, Peak((0,) * len(least), least, np.ones(1, dtype=np.complex128), 0.0)
    peak = find_peaks(pieces[0].symbol, 1)[0]
    frequency = peak.frequency[None]
    found = pieces[0].estimates(frequency, peak.vector[None], pieces[0].options())
    default: Option = min(found, key=lambda o: (found[o].value, o))
    done = settle(pieces, [default] * len(pieces), found[default].value * (1 + 1e-6), found[default])
    upper = max(with_slack(done.shift, p.symbol.a, p.symbol.slack) for p in pieces)
    chosen = dict(zip(order, done.chosen))
    twists = [tuple(t // 4 for _, t in chosen[g]) if g in chosen else (0,) * len(least) for g in range(len(symbols))]
    best: Found = done.top if done.top is not None else found[default]
    k = next(g for g, p in zip(order, pieces) if p is (done.piece or pieces[0]))
    return sqrt_up(upper), twists, k, Peak(tuple(int(q) for q in best.numerators), best.period, best.vector, best.value)
