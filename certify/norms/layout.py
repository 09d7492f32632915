"""Which axis is the inner one, and the outer periods and twists: chosen by the quadratic shape of the highest peaks. Every choice is sound.

Near a peak at p, lambda_max(G(w)) is about lambda + (w - p)' H (w - p) / 2. Along the line at outer offset d its maximum is lambda + d' S d / 2,
S the Schur complement of H_ii, at inner frequency p_i - H_io d / H_ii; the twist of the line puts that midway between two grid points. So each
layout can be judged without evaluating the symbol again: the best one keeps the outer grid away from all peaks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

from .peaks import Peak
from .pieces import QUARTERS, Found, Option, Piece, outer_lines
from .settle import ExactPiece
from .symbol import Symbol

_OUTER = 3  # periods above the least one that are looked at on the outer axes
_LOOKED_AT = 4  # layouts whose levels are estimated
_PRICE = 2e-5  # relative loss per extra outer period: more lines cost time
_RESOLUTION = 1 - 1.0 / QUARTERS  # twists come in eighths of a turn: a peak is at least this share of half a step away from the grid
Split = tuple[np.ndarray, np.ndarray, float]


@dataclass(frozen=True, eq=False)
class Layout:
    """`lines` along the axis `inner`, each with a first option; outer grid `period`, `twist` (0 or 1, units of pi; 1 and 0 at the inner axis)."""

    inner: int
    period: tuple[int, ...]
    twist: tuple[int, ...]
    lines: list[Piece]
    options: list[Option]


def best_layouts(symbol: Symbol, peaks: list[Peak], least: tuple[int, ...], extra: int) -> list[Layout]:
    """The layouts whose lines look lowest at all peaks, best first; `extra`: inner periods above the least one that each line may try."""
    ranked: list[tuple[float, int, tuple[tuple[int, int], ...]]] = []
    for inner in range(symbol.dims):
        if 2 * least[inner] < max(least):
            continue  # nothing to choose along it, or too many lines beside it
        splits = [_split(peak, inner) for peak in peaks]
        outer = [[(1, 0)] if i == inner or n == 1 else [(n + e, t) for e in range(_OUTER + 1) for t in (0, 1)] for i, n in enumerate(least)]
        for choice in product(*outer):
            price = 1 + _PRICE * sum(n - low for i, ((n, _), low) in enumerate(zip(choice, least)) if i != inner)
            value = max(_predicted(peak, split, inner, choice, least[inner]) for peak, split in zip(peaks, splits)) * price
            ranked.append((value, inner, choice))
    layouts = [_layout(symbol, peaks, least, extra, inner, choice) for _, inner, choice in sorted(ranked)[: _LOOKED_AT if symbol.a < 256 else 1]]
    if len(layouts) == 1:
        return layouts
    tops = [first_level(layout, peaks) for layout in layouts]  # the shape is a guess: see what the best few really give
    levels = [math.inf if top is None else top.value for top in tops]
    return [layouts[k] for k in sorted(range(len(layouts)), key=lambda k: (levels[k], k))]


def _layout(symbol: Symbol, peaks: list[Peak], least: tuple[int, ...], extra: int, inner: int, choice: tuple[tuple[int, int], ...]) -> Layout:
    period, twist = tuple(n for n, _ in choice), tuple(t for _, t in choice)
    lines = outer_lines(symbol, inner, period, twist, least, extra)
    splits = [_split(peak, inner) for peak in peaks]
    return Layout(inner, period, twist, lines, [_first_option(line, splits, peaks, inner) for line in lines])


def _split(peak: Peak, inner: int) -> Split:
    """(S, H_io / H_ii, H_ii) of a peak; zeros where it is not curved downwards."""
    d = len(peak.numerators)
    h = peak.hessian if peak.hessian is not None else np.zeros((d, d))
    outer = [i for i in range(d) if i != inner]
    own = float(h[inner, inner])
    slope = h[inner, outer] / own if own < 0 else np.zeros(len(outer))
    return h[np.ix_(outer, outer)] - np.outer(slope, slope) * own, slope, min(own, 0.0)


def _predicted(peak: Peak, split: Split, inner: int, choice: tuple[tuple[int, int], ...], least: int) -> float:
    """The larger line maximum beside a peak, lowered by what a straddling inner grid gains."""
    schur, _, own = split
    offsets = []
    for i, (n, t) in enumerate(choice):
        if i != inner:
            at = peak.frequency[i] * n / 2 - t / 2  # in steps of the grid
            share = at - math.floor(at)
            offsets.append((0.0,) if n == 1 else (-share * 2 * math.pi / n, (1 - share) * 2 * math.pi / n))
    worst = max(float(np.array(d) @ schur @ np.array(d)) / 2 for d in product(*offsets))
    gain = own / 2 * (_RESOLUTION * math.pi / least) ** 2 if least > 1 else 0.0
    return peak.value + min(worst, 0.0) + gain


def _first_option(line: Piece, splits: list[Split], peaks: list[Peak], inner: int) -> Option:
    """The twist that straddles the peak which seems highest on this line (a peak or its mirror image)."""
    n = line.least[0]
    if n == 1:
        return ((1, 0),)
    best, center = -math.inf, 0.0
    outer = [(i, f) for i, f in enumerate(line.fixed) if f is not None]
    for peak, (schur, slope, _) in zip(peaks, splits):
        for sign in (1, -1):
            offset = np.array([_turned(f[0] / f[1] - sign * peak.frequency[i]) for i, f in outer]) * math.pi
            value = peak.value + min(float(offset @ schur @ offset) / 2, 0.0)
            if value > best:
                best, center = value, sign * peak.frequency[inner] - float(slope @ offset) / math.pi
    quarter = round(center * 4 * n + 4) % QUARTERS
    return ((n, min(line.quarters, key=lambda t: (min((t - quarter) % QUARTERS, (quarter - t) % QUARTERS), t))),)


def _turned(x: float) -> float:
    """An angle / pi modulo 2, in [-1, 1)."""
    return (x + 1) % 2 - 1


def first_level(layout: Layout, peaks: list[Peak], exact: ExactPiece | None = None) -> Found | None:
    """The largest eigenvalue estimate beside the peaks on the lines next to them, at their first options or of their sections: where the shift may start."""
    top: Found | None = None
    for line, option in zip(layout.lines, layout.options):
        near = [(peak, sign) for peak in peaks for sign in (1, -1) if _beside(line, sign * peak.frequency)]
        own: Found | None = None
        for peak, sign in near:
            vector = peak.vector if sign == 1 else peak.vector.conj()
            own = _higher(own, line.estimates(sign * peak.frequency[None], vector[None], [option])[option])
        if own is not None and exact is not None:
            own = min(own, exact(line).estimate(), key=lambda f: f.value)
        top = _higher(top, own) if own is not None else top
    return top


def _beside(line: Piece, frequency: np.ndarray) -> bool:
    """Whether a frequency w / pi is within a step of the outer grid of the line."""
    return all(abs(_turned(f[0] / f[1] - frequency[i])) < 2.0 / f[1] for i, f in enumerate(line.fixed) if f is not None)


def _higher(top: Found | None, found: Found) -> Found:
    return found if top is None or found.value > top.value else top
