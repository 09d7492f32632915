"""Bounds on ||A|| through the symbol F(w) of a convolution: unfoldings and frequency grids (methods/layer_norms.md 2.5, 2.6, 4.1-4.4).

The symbol is evaluated here directly, frequency by frequency, from phases of integer arithmetic (`exact.unit_circle`), and every frequency
is proved by the Cholesky criterion on the real twin of b^2 I - F F*. All statements are about the scaled weights of `Windows`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..core.cholesky import definite
from ..core.rounding import TINY, U, add_up, down, gamma, mul_up, norm_up, sqrt_up, up
from .exact import cosine_down, times_down, unit_circle
from .gram import LARGEST_SIDE, matrix_below
from .undilated import reduced, split
from .windows import Windows

MOST_WORK, MOST_POINTS = 3e13, 1 << 22  # flops and grid points of one step; beyond, it is refused rather than run for hours
LARGEST_PERIOD = MOST_POINTS
PER_POINT = 1e6  # what one point costs beside its flops


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
    found = reduced(a)
    if found is None:
        return None
    weight, axes = found
    return Symbol(*split(weight, [x.stride for x in axes]), tuple((x.shifts - 1, x.least) for x in axes))


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


def grid_below(symbol: Symbol, claim: str, period: list[int], twist: list[int] | list[list[int]], bound: float, slack: float) -> bool:
    """||A|| <= bound from ||F|| <= bound / factor on the grid w_i = pi (2 k_i + twist_i) / period_i; False if not proved or a hypothesis fails.

    claim "embedding" (Theorem 1): period >= the least one on every axis with more than one shift, any common twist, or one twist per group. "any_size"
    (Theorem 2): period above the largest shift, factor prod 1 / cos(pi D / (2 period)). "circular", "circular_rows": exactly the period of the map, twist 0.
    """
    twists = [row for row in twist if isinstance(row, list)] or [[tau for tau in twist if isinstance(tau, int)]] * len(symbol.kernel)
    if len(twists) != len(symbol.kernel) or any(len(row) != len(period) or not set(row) <= {0, 1} for row in twists):
        return False
    cosines = []
    for (largest, least), n in zip(symbol.axes, period, strict=True):
        if not admissible(n, least):
            return False
        if claim == "any_size":
            if not n > largest:
                return False
            cosines.append(cosine_down(Fraction(largest, 2 * n)))
        elif claim == "embedding":
            if largest > 0 and n < least:
                return False
        elif n != least:
            return False
    if claim not in ("any_size", "embedding") and any(map(any, twists)):
        return False
    rest = times_down(max(down(down(bound - slack) / sqrt_up(float(symbol.factor_squared))), 0.0), *cosines)
    level = down(rest * rest)
    count, a, b = symbol.kernel.shape[1:]
    points = math.prod(period)
    if not level > 0 or points > MOST_POINTS or len(symbol.kernel) * points * (work_per_point(count, *sorted((a, b))) + PER_POINT) > MOST_WORK:
        return False
    together = [symbol.kernel] if all(row == twists[0] for row in twists) else symbol.kernel[:, None]
    return all(points_below(kernels, symbol.shifts, [(half_grid(period, row), period)], level) for kernels, row in zip(together, twists))


def admissible(n: int, least: int) -> bool:
    """Whether a period is worth its work: a longer one only costs time."""
    return 1 <= n <= max(256, 2 * least + 2)


def work_per_point(count: int, a: int, b: int) -> float:
    """Flops of one grid point, a <= b."""
    return 4 / 3 * a**3 + 4 * a * a * b + 2 * count * a * b


def gram_error(spread: float, shifts: int, dims: int, terms: int) -> float:
    """Upper end of the error of a Gram matrix of F = sum_j R[j] exp(i <w, j>) in the spectral norm, spread >= ||P||^2 with P = sum_j |R_j|.

    A phase is a product over D = dims axes of numbers off by at most 2^-53 in each component: off by at most 9 D u (R1). So X = Re F and Y = Im F are
    off by at most e P, e = gamma_J (1 + eps) + eps, hence F by sqrt2 e P, and |X|, |Y| <= (1 + e) P. Each part of an entry of the Gram matrix is a sum
    of products X X' + Y Y' or Y X' - X Y' in which a product meets at most `terms` roundings: off by at most gamma_terms 2 (1 + e)^2 P P'. In norm
        error = ||P||^2 (2 sqrt2 gamma_terms (1 + e)^2 + 2 sqrt2 e + 2 e^2).
    """
    eps = 9 * dims * U
    e = up(gamma(shifts) * (1.0 + eps) + eps) * (1.0 + 4 * U)
    return add_up(mul_up(spread, (2.83 * gamma(terms) * (1.0 + e) ** 2 + 2.83 * e + 2 * e * e) * (1.0 + 16 * U)), TINY)


def points_below(kernels: np.ndarray, shifts: np.ndarray, batches: Iterable[tuple[np.ndarray, list[int]]], level: float) -> bool:
    """lambda_max(F F*) <= level for every group, kernels (groups, J, a, b), and at every point w_i = pi numerators_i / denominators_i of the batches
    (numerators (points, D), denominators).

    Rounding: `gram_error` with inner products of length 2b and one averaging, ||P||^2 <= min(l1 linf, Frobenius^2).
    """
    if kernels.shape[2] > kernels.shape[3]:
        kernels = kernels.transpose(0, 1, 3, 2)
    count, a, b = kernels.shape[1:]
    prepared = []
    for kernel in kernels:
        if not kernel.any():
            continue
        size = np.abs(kernel).sum(axis=0)
        sums = mul_up(float(size.sum(axis=0).max()), float(size.sum(axis=1).max()))
        spread = mul_up(min(sums, mul_up(norm_up(size, "l2"), norm_up(size, "l2"))), 1.0 + 8.0 * gamma(count + a + b))
        rest = down(level - gram_error(spread, count, shifts.shape[1], 2 * b + 4))
        if not rest > 0:
            return False
        prepared.append((np.ascontiguousarray(kernel.reshape(count, a * b)), rest))
    step = max(1, (1 << 22) // max(a * b, count, a * a))
    for points, denominators in batches:
        for i in range(0, len(points), step):
            real, imaginary = phases(points[i : i + step], shifts, denominators)
            if not all(_gram_below(flat, a, b, real, imaginary, rest) for flat, rest in prepared):
                return False
    return True


def half_grid(period: list[int], twist: list[int]) -> np.ndarray:
    """(points, D) of 2 k_i + twist_i modulo 2 period_i, one of each conjugate pair: F(-w) is the conjugate of F(w) for a real kernel."""
    axes = [2 * np.arange(n) + tau for n, tau in zip(period, twist)]
    points = np.stack([x.ravel() for x in np.meshgrid(*axes, indexing="ij")], axis=1)
    opposite = (-points) % (2 * np.array(period))
    place = np.ravel_multi_index(tuple(points.T), [2 * n for n in period])
    return points[place <= np.ravel_multi_index(tuple(opposite.T), [2 * n for n in period])]


def phases(points: np.ndarray, shifts: np.ndarray, denominators: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary parts (points, J) of exp(i <w, shift>), w_i = pi points_i / denominators_i, angles reduced as integers."""
    real, imaginary = np.ones((len(points), len(shifts))), np.zeros((len(points), len(shifts)))
    for i, n in enumerate(denominators):
        entry = unit_circle(n)[(points[:, i, None] * shifts[None, :, i]) % (2 * n)]
        real, imaginary = real * entry[..., 0] - imaginary * entry[..., 1], real * entry[..., 1] + imaginary * entry[..., 0]
    return real, imaginary


def _gram_below(flat: np.ndarray, a: int, b: int, real: np.ndarray, imaginary: np.ndarray, level: float) -> bool:
    x, y = (real @ flat).reshape(-1, a, b), (imaginary @ flat).reshape(-1, a, b)
    if a == 1:  # the Gram matrix is a number
        return bool((np.einsum("fab,fab->f", x, x) + np.einsum("fab,fab->f", y, y) <= level).all())
    z, swapped = np.concatenate([x, y], axis=2), np.concatenate([y, -x], axis=2)
    upper = z.transpose(0, 2, 1)
    gram, skew = z @ upper, swapped @ upper
    gram, skew = (gram + gram.transpose(0, 2, 1)) / 2, (skew - skew.transpose(0, 2, 1)) / 2
    # ||fl(F)||^2 <= ||fl(F)||_F^2 <= trace (1 + gamma_(2b+4)); the last factor adds at most gamma_(2b+4) spread, which `gram_error` holds beside the
    # error of F itself: a level above the spread would be true of every F
    easy = up(np.einsum("fii->f", gram) * (1.0 + 2.0 * gamma(a))) <= level
    return all(definite(g + 1j * s, down(level - np.diagonal(g)), -1.0, 0) for g, s, simple in zip(gram, skew, easy) if not simple)
