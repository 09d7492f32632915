"""Pieces of a frequency grid that may choose their own period and twist: one line of frequencies, or the whole grid of one group.

By Theorem 1 (layer_norms.md 4.3) every period from the least one on and every twist bound the norm. Applied to the outer axes first, it gives
||A|| <= max over the outer frequencies w of ||B(w)||, B(w) the finite section along the inner axis, whose taps are complex matrices; applied to
each B(w) again, it gives ||B(w)|| <= max_k ||F(w, (2 pi k + theta)/n)|| for every n and theta, which may differ from line to line. The minimum over
(n, theta) per line is a sharper bound than one choice for all, at hardly more cost: only lines that fail at the level of the others are tried again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from .eigenpair import lanczos_each
from .line import LineGram
from .symbol import Symbol

Option = tuple[tuple[int, int], ...]  # (period n, twist t in quarters of pi) for each free axis
QUARTERS = 8
EXACT: Option = ((0, 0),)  # not a grid: the finite section itself


@dataclass(frozen=True, eq=False)
class Piece:
    """Frequencies w with w_i = pi numerator / period on the fixed axes, (2 pi k + pi t / 4) / n on the free ones.

    `fixed` has (numerator, period) or None per axis; `least` the least period of each free axis (1 where the symbol does not depend on it).
    """

    symbol: Symbol
    fixed: tuple[tuple[int, int] | None, ...]
    least: tuple[int, ...]
    quarters: tuple[int, ...] = (0, 4)
    extra: int = 0

    @cached_property
    def free(self) -> tuple[int, ...]:
        return tuple(i for i, f in enumerate(self.fixed) if f is None)

    @property
    def real(self) -> bool:
        """Whether conjugation maps the piece to itself: then twists 0 and pi need half the free grid only."""
        return all(f is None or f[0] % f[1] == 0 for f in self.fixed)

    def options(self) -> list[Option]:
        """Every (period, twist) that may be tried, the least period first."""
        axes = []
        for n in self.least:
            axes.append([(1, 0)] if n == 1 else [(n + e, t) for e in range(self.extra + 1) for t in self.quarters])
        return [tuple(o) for o in product(*axes)]

    def period(self, option: Option) -> tuple[int, ...]:
        """Denominators of the numerators in `points`: 4 n on a free axis."""
        free = iter(option)
        return tuple(f[1] if f is not None else 4 * next(free)[0] for f in self.fixed)

    def points(self, option: Option) -> np.ndarray:
        """Numerators (P, D) of the grid of an option; one of each conjugate pair where the piece is real and all twists are 0 or pi."""
        axes: list[np.ndarray] = []
        free = iter(option)
        for f in self.fixed:
            if f is not None:
                axes.append(np.array([f[0]]))
            else:
                n, t = next(free)
                axes.append(8 * np.arange(n) + t)
        if self.real and all(t % 4 == 0 for _, t in option):
            longest = max(self.free, key=lambda i: len(axes[i]))
            n, t = option[self.free.index(longest)]
            axes[longest] = axes[longest][: (n + 1) // 2 if t % 8 else n // 2 + 1]
        return np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], axis=1)

    def gram(self, points: np.ndarray, period: tuple[int, ...], sign: float = 1.0) -> np.ndarray:
        """sign * Gh at points of this piece."""
        if len(self.free) > 1 or not self.symbol.by_lags:
            return sign * self.symbol.gram(points, period) if sign != 1.0 else self.symbol.gram(points, period)
        inner = self.free[0]
        return self._line.gram(points[:, inner], period[inner], sign)

    @cached_property
    def _line(self) -> LineGram:
        return LineGram(self.symbol, self.free[0], tuple(0 if f is None else f[0] for f in self.fixed), tuple(1 if f is None else f[1] for f in self.fixed))

    def forget(self) -> None:
        """Free the table of the line; it is made again when needed."""
        self.__dict__.pop("_line", None)

    def beside(self, frequencies: np.ndarray, option: Option) -> np.ndarray:
        """Numerators of the 2^free grid points of an option around each frequency w / pi (rows)."""
        columns: list[list[np.ndarray]] = []
        free = iter(option)
        for i, f in enumerate(self.fixed):
            if f is not None:
                columns.append([np.full(len(frequencies), f[0])])
                continue
            n, t = next(free)
            if n == 1 and self.least[self.free.index(i)] == 1:
                columns.append([np.full(len(frequencies), t)])
                continue
            k = np.floor((frequencies[:, i] * 4 * n - t) / 8).astype(np.int64)
            columns.append([8 * k + t, 8 * k + 8 + t])
        return np.concatenate([np.stack(c, axis=1) for c in product(*columns)])

    def estimates(self, frequencies: np.ndarray, vectors: np.ndarray, options: list[Option], steps: int = 4) -> dict[Option, Found]:
        """For each option an estimate of the largest eigenvalue near the given frequencies (w / pi, rows) with their top vectors."""
        found: dict[Option, Found] = {}
        for option in options:
            near = self.beside(frequencies, option)
            period = self.period(option)
            start = np.tile(vectors, (len(near) // len(vectors), 1))
            values, tops = lanczos_each(self.gram(near, period), steps, start)
            k = int(values.argmax())
            found[option] = Found(float(values[k]), near[k], period, tops[k])
        return found


@dataclass(frozen=True, eq=False)
class Found:
    """An eigenvalue estimate, where it was found (w = pi numerators / period) and its vector."""

    value: float
    numerators: np.ndarray
    period: tuple[int, ...]
    vector: np.ndarray


def outer_lines(
    symbol: Symbol, inner: int, period: tuple[int, ...], twist: tuple[int, ...], least: tuple[int, ...], extra: int, quarters: tuple[int, ...] | None = None,
) -> list[Piece]:  # fmt: skip
    """One line along the axis `inner` for each outer frequency pi (2 k + twist) / period, of each conjugate pair the one of smaller flat index.

    This order is the one of the evidence ("lines" in `norms.base`). `quarters`: the twists that a line may try (default: all that make sense).
    """
    outer = [i for i in range(symbol.dims) if i != inner]
    rows = list(product(*(range(twist[i], 2 * period[i], 2) for i in outer)))
    points = np.array(rows, dtype=np.int64).reshape(len(rows), len(outer))
    sizes = np.array([2 * period[i] for i in outer], dtype=np.int64)
    weights = np.array([math.prod(sizes[k + 1 :].tolist()) for k in range(len(outer))], dtype=np.int64)
    flat, opposite = points @ weights, (-points % sizes) @ weights
    pieces = []
    for row in points[flat <= opposite]:
        fixed: list[tuple[int, int] | None] = [None] * symbol.dims
        for i, q in zip(outer, row.tolist()):
            fixed[i] = (q, period[i])
        real = all(q % n == 0 for q, n in (f for f in fixed if f is not None))
        # a real line has its peaks in pairs +-w: twists 0 and pi keep the grid away from both, others from one only
        pieces.append(Piece(symbol, tuple(fixed), (least[inner],), quarters or ((0, 4) if real else tuple(range(QUARTERS))), extra))
    return pieces

