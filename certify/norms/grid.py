"""Frequency grids: half spectra, the search for the peak, the choice of a twist, and the certified maximum over a grid."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np

from ..core.errors import HypothesisError
from ..core.rounding import U, add_up, div_up, sqrt_up, up
from .base import TINY
from .cholesky import with_slack
from .eigenpair import rayleigh, top_eigenpair
from .peaks import Peak, find_peaks
from .pieces import Found, outer_lines
from .settle import settle
from .symbol import Symbol


def half_grid(period: tuple[int, ...], twist: tuple[int, ...]) -> np.ndarray:
    """Integer numerators 2k + twist of the grid with conjugate pairs counted once, (points, D).

    F has real coefficients, so F(-w) = conj F(w); with twist 0 or 1 the grid is symmetric and the longest axis needs only
    0 <= k <= N/2 (twist 0) or 0 <= k < N/2 (twist 1: 2k + 1 and 2(N - 1 - k) + 1 = 2N - (2k + 1) are a pair).
    """
    axes = [2 * np.arange(n) + t for n, t in zip(period, twist)]
    longest = int(np.argmax(period))
    n = period[longest]
    axes[longest] = axes[longest][: (n + 1) // 2 if twist[longest] else n // 2 + 1]
    return np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], axis=1)


def grid_factor(degrees: tuple[int, ...], period: tuple[int, ...]) -> float:
    """Upper end of prod 1 / cos(pi (J_i - 1) / (2 N_i)) (Theorem 2), for N_i >= 2 J_i; the computed cosine times (1 - 12u) is a lower end (R5)."""
    factor = 1.0
    for j, n in zip(degrees, period):
        if j > 1:
            if n < 2 * j:
                raise HypothesisError("a grid is too coarse for the factor of Theorem 2", found=f"period {n}, {j} shifts", expected=f"at least {2 * j} points")
            factor = div_up(factor, math.cos(math.pi * (j - 1) / (2 * n)) * (1.0 - 12.0 * U))
    return factor


def find_peak(symbol: Symbol) -> Peak:
    """The highest peak alone (`norms.peaks`)."""
    return find_peaks(symbol, 2)[0]


def around(peak: Peak, period: tuple[int, ...], twist: tuple[int, ...]) -> np.ndarray:
    """The 2^D points (numerators) of a grid next to the peak."""
    axes = []
    for q, fine, n, t in zip(peak.numerators, peak.period, period, twist):
        k = math.floor((q * n / fine - t) / 2)
        axes.append([0] if n == 1 else [2 * k + t, 2 * k + 2 + t])
    return np.array(list(product(*axes)), dtype=np.int64)


def best_twist(symbol: Symbol, peak: Peak, period: tuple[int, ...]) -> tuple[int, ...]:
    """The twist in {0, 1}^D (units of pi) whose grid points next to the peak look lowest; any choice is sound."""
    choices = list(product(*[(0, 1) if n > 1 else (0,) for n in period]))
    if len(choices) == 1:
        return choices[0]
    values = {twist: float(rayleigh(symbol.gram(around(peak, period, twist), period), peak.vector, 3)[0].max()) for twist in choices}
    return min(choices, key=lambda twist: (values[twist], twist))


def certified_maximum(symbol: Symbol, peak: Peak | None, period: tuple[int, ...], twist: tuple[int, ...]) -> tuple[float, Peak | None]:
    """(upper end of max ||F(w)|| over the grid, no room added yet; the peak that was found, or the one given, which only saves time)."""
    estimate = 0.0
    if peak is not None and symbol.a > 1:
        gram = symbol.gram(around(peak, period, twist), period)
        values, vectors = rayleigh(gram, peak.vector, 3)
        k = int(values.argmax())
        estimate = top_eigenpair(gram[k], vectors[k])[0]
    top, found = grid_upper(symbol, period, twist, estimate)
    return sqrt_up(top), peak if found is None else Peak(tuple(int(q) for q in found.numerators), found.period, found.vector, found.value)


def grid_upper(symbol: Symbol, period: tuple[int, ...], twist: tuple[int, ...], estimate: float = 0.0) -> tuple[float, Found | None]:
    """(Lambda, found) with lambda_max(G(w)) <= Lambda at every grid point; `estimate` of the maximum only saves time, `found` where it was exceeded.

    The points go line by line along the longest axis through `settle`, with one option each; Lambda is R4's. With a = 1 G(w) is a number and
    no factorisation is needed.
    """
    if symbol.a == 1:
        points = half_grid(period, twist)
        values = np.concatenate([symbol.gram(points[i : i + 65536], period).real.ravel() for i in range(0, len(points), 65536)])
        k = int(values.argmax())
        return up(add_up(add_up(float(values[k]), symbol.slack), TINY)), Found(float(values[k]), points[k], period, np.ones(1, dtype=np.complex128))
    inner = int(np.argmax(period))
    lines = outer_lines(symbol, inner, period, twist, period, 0, (4 * twist[inner],))
    option = ((period[inner], 4 * twist[inner] if period[inner] > 1 else 0),)
    done = settle(lines, [option] * len(lines), max(estimate, TINY) * (1.0 + 1e-6), None)
    return with_slack(done.shift, symbol.a, symbol.slack), done.top


def sharpened(symbol: Symbol, peak: Peak) -> Peak:
    """The peak with a converged eigenvector: worth its Lanczos steps where a search starts from it."""
    gram = symbol.gram(np.array([peak.numerators], dtype=np.int64), peak.period)[0]
    value, vector = top_eigenpair(gram, peak.vector)
    return replace(peak, value=value, vector=vector)
