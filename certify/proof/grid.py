"""Bounds on ||A|| through the symbol F(w) of a convolution: unfoldings and frequency grids (methods/layer_norms.md 2.5, 2.6, 4.1-4.4).

The symbol is evaluated here directly, frequency by frequency, from phases of integer arithmetic (`exact.unit_circle`), and every frequency
is proved by the Cholesky criterion on the real twin of b^2 I - F F*. All statements are about the scaled weights of `Windows`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..core.cholesky import definite
from ..core.rounding import TINY, U, add_up, down, gamma, mul_up, norm_up, sqrt_up, up
from .exact import cosine_down, times_down, unit_circle
from .gram import LARGEST_SIDE, matrix_below
from .windows import Axis, Windows

LARGEST_PERIOD = 8192
_MOST_WORK, _MOST_POINTS = 3e13, 1 << 22  # flops and grid points of one step; beyond, it is refused rather than run for hours


@dataclass(frozen=True, eq=False)
class Symbol:
    """F(w) = sum_j kernel[g, j] exp(i <w, shifts_j>), kernel (groups, J, a, b); `factor_squared` >= 1 multiplies ||A||^2 (rows or pixels that repeat)."""

    kernel: np.ndarray
    shifts: np.ndarray
    axes: tuple[tuple[int, int], ...]  # per axis: largest shift, least period of the embedding (or the period itself)
    factor_squared: int = 1


def polyphase(a: Windows) -> Symbol | None:
    """The symbol of a zero-padded convolution: dilation removed (4.1), strides split into phases (4.2). None when no tap is live.

    Per axis the second number of `axes` is the least period of Theorem 1 over all dilation classes.
    """
    weight, reduced = a.weight, []
    for i, axis in enumerate(a.axes):
        live = np.nonzero((axis.source >= 0).any(axis=0))[0]
        if not len(live):
            return None
        first, last = int(live[0]), int(live[-1])
        weight = weight.take(np.arange(first, last + 1), axis=3 + i)
        reduced.append(_undilated(axis, last - first + 1, axis.low - axis.dilation * first))
    strides = [r[0] for r in reduced]
    taps = weight.shape[3:]
    shifts = [math.ceil(k / s) for k, s in zip(taps, strides)]
    padded = np.zeros((*weight.shape[:3], *(j * s for j, s in zip(shifts, strides))))
    padded[(slice(None), slice(None), slice(None), *(slice(0, k) for k in taps))] = weight
    split = padded.reshape(*weight.shape[:3], *itertools.chain(*zip(shifts, strides)))
    d = len(taps)
    order = (0, *(3 + 2 * i for i in range(d)), 1, 2, *(4 + 2 * i for i in range(d)))
    kernel = split.transpose(order).reshape(a.groups, math.prod(shifts), weight.shape[1], -1)
    every = np.array(list(itertools.product(*(range(j) for j in shifts))), dtype=np.int64).reshape(-1, d)
    return Symbol(kernel, every, tuple((j - 1, r[1]) for j, r in zip(shifts, reduced)))


def _undilated(axis: Axis, taps: int, low: int) -> tuple[int, int]:
    """(stride, least period) after 4.1: every class rho of outputs is an undilated section of stride s / gcd(s, d)."""
    e = math.gcd(axis.stride, axis.dilation)
    offset = -low % e
    n, p = math.ceil((axis.inputs - offset) / e), (low + offset) // e
    s, d = axis.stride // e, axis.dilation // e
    period = 1
    for rho in range(d):
        q, c = divmod(s * rho - p, d)
        inputs, outputs, padding = math.ceil((n - c) / d), math.ceil((axis.outputs - rho) / d), -q
        if inputs > 0 and outputs > 0:
            last = s * (outputs - 1) - padding + taps - 1
            period = max(period, math.ceil((inputs + padding) / s), math.ceil((last + 1) / s), outputs)
    return s, period


def circular(a: Windows) -> Symbol | None:
    """The symbol of 2.6, phases by stride, for circular padding with s | n and m = n / s on every axis; else None."""
    if any(axis.mode != "circular" or axis.inputs != axis.outputs * axis.stride for axis in a.axes):
        return None
    strides = [axis.stride for axis in a.axes]
    return _circular(a, strides, [axis.outputs for axis in a.axes], 1)


def circular_rows(a: Windows) -> Symbol | None:
    """Any circular map: its rows are rows of the stride-1 map on n points, each at most ceil(m / (n / gcd(n, s))) times (section 3)."""
    if any(axis.mode != "circular" for axis in a.axes):
        return None
    repeats = math.prod(math.ceil(axis.outputs / (axis.inputs // math.gcd(axis.inputs, axis.stride))) for axis in a.axes)
    return _circular(a, [1] * len(a.axes), [axis.inputs for axis in a.axes], repeats)


def _circular(a: Windows, strides: list[int], periods: list[int], repeats: int) -> Symbol:
    shift = [[(axis.dilation * t) // s for t in range(axis.taps)] for axis, s in zip(a.axes, strides)]
    phase = [[(axis.dilation * t) % s for t in range(axis.taps)] for axis, s in zip(a.axes, strides)]
    distinct = [sorted(set(x)) for x in shift]
    every = np.array(list(itertools.product(*distinct)), dtype=np.int64).reshape(-1, len(a.axes))
    place = {tuple(row): i for i, row in enumerate(every.tolist())}
    rows, columns = a.weight.shape[1:3]
    kernel = np.zeros((a.groups, len(every), rows, columns, math.prod(strides)))
    for t in a.tap_indices():
        j = place[tuple(x[i] for x, i in zip(shift, t))]
        r = int(np.ravel_multi_index([x[i] for x, i in zip(phase, t)], strides))
        kernel[:, j, :, :, r] += a.weight[(slice(None), slice(None), slice(None), *t)]  # one tap per (shift, phase): no rounding
    sizes = tuple((len(x) - 1, n if len(x) > 1 else 1) for x, n in zip(distinct, periods))
    return Symbol(kernel.reshape(a.groups, len(every), rows, -1), every, sizes, repeats)


def unfolding_below(symbol: Symbol, counts: list[int], subset: list[int], bound: float, slack: float) -> bool:
    """2.5: sqrt(prod J) ||R reshaped to (rows, taps of the subset) x (columns, other taps)|| <= bound, for every group. counts: J per axis."""
    factor = sqrt_up(float(math.prod(counts)))
    rest = down(down(bound - slack) / factor)
    if not rest >= 0:
        return False
    others = [i for i in range(len(counts)) if i not in subset]
    for kernel in symbol.kernel:
        a, b = kernel.shape[1:]
        full = kernel.reshape(*counts, a, b)
        d = len(counts)
        matrix = full.transpose(d, *subset, d + 1, *others).reshape(a * math.prod(counts[i] for i in subset), -1)
        if min(matrix.shape) > LARGEST_SIDE or not matrix_below(matrix, rest):
            return False
    return True


def grid_below(symbol: Symbol, claim: str, period: list[int], twist: list[int], bound: float, slack: float) -> bool:
    """||A|| <= bound from ||F|| <= bound / factor on the grid w_i = pi (2 k_i + twist_i) / period_i; False if not proved or a hypothesis fails.

    claim "embedding" (Theorem 1): period >= the least one on every axis with more than one shift, any common twist. "any_size" (Theorem 2): period
    above the largest shift, factor prod 1 / cos(pi D / (2 period)). "circular", "circular_rows": exactly the period of the map, twist 0.
    """
    cosines = []
    for (largest, least), n, tau in zip(symbol.axes, period, twist, strict=True):
        if not 1 <= n <= max(256, 2 * least + 2) or tau not in (0, 1):  # a longer period only costs time
            return False
        if claim == "any_size":
            if not n > largest:
                return False
            cosines.append(cosine_down(Fraction(largest, 2 * n)))
        elif claim == "embedding":
            if largest > 0 and n < least:
                return False
        elif n != least or tau != 0:
            return False
    rest = times_down(max(down(down(bound - slack) / sqrt_up(float(symbol.factor_squared))), 0.0), *cosines)
    level = down(rest * rest)
    return level > 0 and all(_group_below(kernel, symbol.shifts, period, twist, level) for kernel in symbol.kernel)


def _group_below(kernel: np.ndarray, shifts: np.ndarray, period: list[int], twist: list[int], level: float) -> bool:
    """lambda_max(F F*) <= level at every grid point, kernel (J, a, b).

    Rounding. P = sum_j |R_j|. A phase is a product over D axes of numbers off by at most 2^-53 in each component: off by at most 9 D u (R1). So
    X = Re F and Y = Im F are off by at most e P, e = gamma_J (1 + eps) + eps, hence F by sqrt2 e P, and |X|, |Y| <= (1 + e) P. The Gram
    matrix is computed with inner products of length 2b and one averaging, each part off by gamma_(2b+4) 2 (1 + e)^2 P P'. In norm
        error = |P|_2^2 (2 sqrt2 gamma_(2b+4) (1 + e)^2 + 2 sqrt2 e + 2 e^2),  |P|_2^2 <= min(l1 linf, Frobenius^2).
    """
    if not kernel.any():
        return True
    if kernel.shape[1] > kernel.shape[2]:
        kernel = kernel.transpose(0, 2, 1)
    count, a, b = kernel.shape
    size = np.abs(kernel).sum(axis=0)
    sums = mul_up(float(size.sum(axis=0).max()), float(size.sum(axis=1).max()))
    spread = mul_up(min(sums, mul_up(norm_up(size, "l2"), norm_up(size, "l2"))), 1.0 + 8.0 * gamma(count + a + b))
    eps = 9 * len(period) * U
    e = up(gamma(count) * (1.0 + eps) + eps) * (1.0 + 4 * U)
    error = add_up(mul_up(spread, (2.83 * gamma(2 * b + 4) * (1.0 + e) ** 2 + 2.83 * e + 2 * e * e) * (1.0 + 16 * U)), TINY)
    level = down(level - error)
    if not level > 0:
        return False
    if math.prod(period) > _MOST_POINTS or math.prod(period) * (4 / 3 * a**3 + 4 * a * a * b + 2 * count * a * b) > _MOST_WORK:
        return False
    points = _half_grid(period, twist)
    flat = np.ascontiguousarray(kernel.reshape(count, a * b))
    step = max(1, (1 << 22) // max(a * b, count, a * a))
    return all(_points_below(flat, a, b, *_phases(points[i : i + step], shifts, period), level) for i in range(0, len(points), step))


def _half_grid(period: list[int], twist: list[int]) -> np.ndarray:
    """(points, D) of 2 k_i + twist_i modulo 2 period_i, one of each conjugate pair: F(-w) is the conjugate of F(w) for a real kernel."""
    axes = [2 * np.arange(n) + tau for n, tau in zip(period, twist)]
    points = np.stack([x.ravel() for x in np.meshgrid(*axes, indexing="ij")], axis=1)
    opposite = (-points) % (2 * np.array(period))
    place = np.ravel_multi_index(tuple(points.T), [2 * n for n in period])
    return points[place <= np.ravel_multi_index(tuple(opposite.T), [2 * n for n in period])]


def _phases(points: np.ndarray, shifts: np.ndarray, period: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary parts (points, J) of exp(i <w, shift>), angles reduced as integers."""
    real, imaginary = np.ones((len(points), len(shifts))), np.zeros((len(points), len(shifts)))
    for i, n in enumerate(period):
        entry = unit_circle(n)[(points[:, i, None] * shifts[None, :, i]) % (2 * n)]
        real, imaginary = real * entry[..., 0] - imaginary * entry[..., 1], real * entry[..., 1] + imaginary * entry[..., 0]
    return real, imaginary


def _points_below(flat: np.ndarray, a: int, b: int, real: np.ndarray, imaginary: np.ndarray, level: float) -> bool:
    x, y = (real @ flat).reshape(-1, a, b), (imaginary @ flat).reshape(-1, a, b)
    if a == 1:  # the Gram matrix is a number
        return bool((np.einsum("fab,fab->f", x, x) + np.einsum("fab,fab->f", y, y) <= level).all())
    z, swapped = np.concatenate([x, y], axis=2), np.concatenate([y, -x], axis=2)
    upper = z.transpose(0, 2, 1)
    gram, skew = z @ upper, swapped @ upper
    gram, skew = (gram + gram.transpose(0, 2, 1)) / 2, (skew - skew.transpose(0, 2, 1)) / 2
    easy = up(np.einsum("fii->f", gram) * (1.0 + 2.0 * gamma(a))) <= level  # the trace is the squared Frobenius norm
    return all(definite(g + 1j * s, down(level - np.diagonal(g)), -1.0, 0) for g, s, simple in zip(gram, skew, easy) if not simple)
