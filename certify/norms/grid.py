"""Frequency grids: half spectra, the search for the peak, the choice of a twist, and the certified maximum over a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ..core.errors import HypothesisError
from ..core.rounding import U, div_up, sqrt_up
from .cholesky import grid_upper
from .eigenpair import rayleigh, top_eigenpair
from .symbol import Symbol

_FINE = 8  # the peak is searched on a grid 8 times finer than the coarse one
_CANDIDATES = 5
_COARSE_BYTES = 1 << 25


@dataclass(frozen=True)
class Peak:
    """Where ||F(w)|| seems largest: w = pi numerators / period, `vector` the top eigenvector of G there, `value` its eigenvalue estimate."""

    numerators: tuple[int, ...]
    period: tuple[int, ...]
    vector: np.ndarray
    value: float


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
    """Search on a coarse grid of about 4 J points per axis, then halving steps: proves nothing."""
    coarse = tuple(1 if j == 1 else (4 * j if symbol.dims < 3 else 2 * j + 1) for j in symbol.degrees)
    period = tuple(_FINE * n if n > 1 else 1 for n in coarse)
    points = half_grid(coarse, (0,) * symbol.dims) * np.array([_FINE if n > 1 else 1 for n in coarse])
    step = max(1, _COARSE_BYTES // (16 * symbol.a * max(symbol.a, symbol.b)))
    found = [rayleigh(symbol.gram(points[i : i + step], period), None, 6) for i in range(0, len(points), step)]
    values, vectors = np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])
    promising = [int(k) for k in np.argsort(values)[-(_CANDIDATES if symbol.a > 1 else 1) :]]  # power steps are not converged: look closer
    pairs = [top_eigenpair(symbol.gram(points[k : k + 1], period)[0], vectors[k]) for k in promising]
    chosen = max(range(len(pairs)), key=lambda k: pairs[k][0])
    (value, vector), best = pairs[chosen], points[promising[chosen]]
    offsets = np.array(list(product(*[(-1, 0, 1) if n > 1 else (0,) for n in coarse])), dtype=np.int64)
    size = _FINE  # in units of 2 numerators: half a coarse step first
    while size > 1 and len(offsets) > 1:
        near = best + offsets * size
        values, vectors = rayleigh(symbol.gram(near, period), vector, 3)
        k = int(values.argmax())
        best, vector, value = near[k], vectors[k], float(values[k])
        size //= 2
    return Peak(tuple(int(x) for x in best), period, vector, value)


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
    top, where = grid_upper(symbol, half_grid(period, twist), period, estimate)
    if where is not None:
        peak = Peak(tuple(int(q) for q in where), period, peak.vector if peak else np.ones(symbol.a, dtype=np.complex128), top)
    return sqrt_up(top), peak


def sharpened(symbol: Symbol, peak: Peak) -> Peak:
    """The peak with a converged eigenvector: worth its Lanczos steps where a search starts from it."""
    gram = symbol.gram(np.array([peak.numerators], dtype=np.int64), peak.period)[0]
    value, vector = top_eigenpair(gram, peak.vector)
    return replace(peak, value=value, vector=vector)
