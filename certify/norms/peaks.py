"""Where the symbol is largest: the highest peaks of lambda_max(G(w)) with their curvatures. A search: nothing here proves anything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

from .eigenpair import lanczos_each, top_eigenpair
from .symbol import Symbol

_FINE = 512  # search frequencies are multiples of pi / 512: integer numerators, one table of phases
_STEPS = 8
_LARGE = 256
_CLOSE = 0.06  # peaks this much below the highest one are not looked at
_CHUNK = 1 << 23


@dataclass(frozen=True, eq=False)
class Peak:
    """w = pi numerators / period, an estimate `value` of lambda_max(G(w)) with its `vector`, and the Hessian of the value there (D x D, per rad^2)."""

    numerators: tuple[int, ...]
    period: tuple[int, ...]
    vector: np.ndarray
    value: float
    hessian: np.ndarray | None = None

    @property
    def frequency(self) -> np.ndarray:
        """w / pi."""
        return np.array([q / n for q, n in zip(self.numerators, self.period)])


def find_peaks(symbol: Symbol, count: int = 4) -> list[Peak]:
    """At most `count` peaks, highest first: Lanczos on a grid of 2 J + 2 points per axis, then two quadratic fits to a 3^D stencil around each.

    Cost: about (2 J + 2)^D / 2 + 18 count Gram matrices (D = 2), 4 to 8 products with a vector for each.
    """
    large = symbol.a >= _LARGE  # there a matrix costs milliseconds, and the spectrum is flat: look less closely
    coarse = tuple(1 if j == 1 else 2 * j + (1 if large else 2) for j in symbol.degrees)
    period = tuple(_FINE if n > 1 else 1 for n in coarse)
    points = _half(coarse, period)
    values, vectors = _values(symbol, points, period)
    peaks = []
    for k in _highest(points, values, coarse, period, min(count, 2) if large else count):
        if max(coarse) > 1:
            peaks.append(_refined(symbol, points[k], period, vectors[k], coarse, (3,) if large else (2, 5)))
        else:
            peaks.append(Peak(tuple(points[k].tolist()), period, vectors[k], float(values[k])))
    peaks.sort(key=lambda p: -p.value)
    best = peaks[0]
    value, vector = top_eigenpair(symbol.gram(np.array([best.numerators]), period)[0], best.vector)
    return [Peak(best.numerators, period, vector, value, best.hessian), *peaks[1:]]


def _half(coarse: tuple[int, ...], period: tuple[int, ...]) -> np.ndarray:
    """Numerators of the coarse grid, about half of it: one of each conjugate pair along the longest axis."""
    axes = [np.round(2.0 * _FINE * np.arange(n) / n).astype(np.int64) if n > 1 else np.zeros(1, dtype=np.int64) for n in coarse]
    longest = int(np.argmax(coarse))
    axes[longest] = axes[longest][: coarse[longest] // 2 + 1]
    return np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], axis=1)


def _values(symbol: Symbol, points: np.ndarray, period: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    step = max(4, _CHUNK // (16 * symbol.a * max(symbol.a, 0 if symbol.by_lags else symbol.b)))
    found = [lanczos_each(symbol.gram(points[i : i + step], period), _STEPS) for i in range(0, len(points), step)]
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def _highest(points: np.ndarray, values: np.ndarray, coarse: tuple[int, ...], period: tuple[int, ...], count: int) -> list[int]:
    """The highest coarse points that are not neighbours of a higher one (on the torus, up to conjugation)."""
    chosen: list[int] = []
    reach = np.array([2.0 * _FINE / n * 1.1 if n > 1 else 1.0 for n in coarse])
    turn = 2 * np.array(period)
    for k in np.argsort(-values):
        if len(chosen) == count or (chosen and not values[k] >= (1 - _CLOSE) * values[chosen[0]]):
            break
        apart = [np.abs((s * points[k] - points[c] + turn // 2) % turn - turn // 2) for c in chosen for s in (1, -1)]
        if all((d > reach).any() for d in apart):
            chosen.append(int(k))
    return chosen


def _refined(symbol: Symbol, start: np.ndarray, period: tuple[int, ...], vector: np.ndarray, coarse: tuple[int, ...], divisors: tuple[int, ...]) -> Peak:
    free = [i for i, n in enumerate(coarse) if n > 1]
    center, value, hessian = start.astype(np.int64), 0.0, None
    stencil = np.array(list(product((-1, 0, 1), repeat=len(free))), dtype=np.int64)
    for divide in divisors:
        size = np.array([max(4, round(2 * _FINE / coarse[i] / divide)) for i in free])
        near = np.tile(center, (len(stencil), 1))
        near[:, free] += stencil * size
        values, vectors = lanczos_each(symbol.gram(near, period), 6, np.tile(vector, (len(near), 1)))
        k = int(values.argmax())
        vector = vectors[k]
        step, curvature = _newton(stencil, values)
        center[free] += np.round(step * size).astype(np.int64)
        value = float(values[k])
        hessian = np.zeros((len(coarse), len(coarse)))
        hessian[np.ix_(free, free)] = curvature / np.outer(size, size) * (_FINE / math.pi) ** 2
    return Peak(tuple(int(q) % (2 * n) for q, n in zip(center, period)), period, vector, value, hessian)


def _newton(stencil: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares quadratic on a stencil of -1, 0, 1: (step to its maximum, at most 1 per axis; Hessian). The best point if it has no maximum."""
    d = stencil.shape[1]
    pairs = [(i, j) for i in range(d) for j in range(i, d)]
    columns = [np.ones(len(stencil)), *stencil.T.astype(float), *(stencil[:, i] * stencil[:, j] for i, j in pairs)]
    fit = np.linalg.lstsq(np.stack(columns, axis=1).astype(float), values, rcond=None)[0]
    gradient, hessian = fit[1 : d + 1], np.zeros((d, d))
    for (i, j), c in zip(pairs, fit[d + 1 :]):
        hessian[i, j] += c
        hessian[j, i] += c
    if np.linalg.eigvalsh(hessian)[-1] < 0:
        step = -np.linalg.solve(hessian, gradient)
        if np.abs(step).max() <= 1.5:
            return np.clip(step, -1, 1), hessian
    return stencil[int(values.argmax())].astype(float), hessian
