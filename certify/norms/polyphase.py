"""From a convolution to the matrix symbol F(w) = sum_j R[j] exp(i <w, j>): live taps, dilation and stride removed, least periods."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..core.errors import HypothesisError
from ..linear.adjoint import AdjointMap
from ..linear.axis import Axis
from ..linear.base import LinearMap
from ..linear.conv import ConvMap


@dataclass(frozen=True)
class AxisPlan:
    """What becomes of the taps of one axis: tap t is dropped, or goes to shift `shifts[index[t]]` and column phase `phase[t]`.

    `period` is the least period of Theorem 1 (embedding), or the only one of a circular claim.
    """

    keep: np.ndarray
    index: np.ndarray
    phase: np.ndarray
    shifts: np.ndarray
    phases: int
    period: int


def convolution_of(map: LinearMap) -> ConvMap | None:
    """The convolution with the same l2 norm (the map itself, or the one whose adjoint it is), None for other maps."""
    inner = map.inner if isinstance(map, AdjointMap) else map
    return inner if isinstance(inner, ConvMap) else None


def require_convolution(map: LinearMap) -> ConvMap:
    """`convolution_of` for methods that have checked `supports`."""
    conv = convolution_of(map)
    if conv is None:
        raise HypothesisError("the map is not a convolution", where=repr(map))
    return conv


def sections_of(axis: Axis) -> list[tuple[int, int, int]]:
    """(n', p', m') of the undilated sections that an axis is the direct sum of (4.1), at the stride s / gcd(s, d); empty if no tap is live."""
    live = np.flatnonzero(axis.live)
    if len(live) == 0:
        return []
    n, m, s, d, p = axis.inputs, axis.outputs, axis.stride, axis.dilation, axis.low - axis.dilation * int(live[0])
    common = math.gcd(s, d)  # only inputs congruent to -p modulo gcd(s, d) are read
    offset = -p % common
    n, p, s, d = -(-(n - offset) // common), (p + offset) // common, s // common, d // common
    found = []
    for rho in range(d):  # outputs of class rho read inputs of class c
        q, c = divmod(s * rho - p, d)
        inputs, low, outputs = -(-(n - c) // d), -q, -(-(m - rho) // d)
        if inputs > 0 and outputs > 0:
            found.append((inputs, low, outputs))
    return found


def embedding_plan(axis: Axis) -> AxisPlan | None:
    """Zero padding: steps 1-4 of `norms.base` (layer_norms.md 4.1-4.3). None if no tap is live: the map is zero."""
    live = np.flatnonzero(axis.live)
    if len(live) == 0:
        return None
    first, k, s = int(live[0]), int(live[-1] - live[0]) + 1, axis.stride // math.gcd(axis.stride, axis.dilation)
    period = 1
    for inputs, low, outputs in sections_of(axis):
        last = s * (outputs - 1) - low + k - 1
        period = max(period, -(-(inputs + low) // s), -(-(last + 1) // s), outputs)
    t = np.clip(np.arange(axis.taps) - first, 0, k - 1)
    return AxisPlan(axis.live, t // s, t % s, np.arange(-(-k // s)), s, period)


def embedding_plans(conv: ConvMap) -> list[AxisPlan | None]:
    """`embedding_plan` of every axis."""
    return [embedding_plan(a) for a in conv.axes]


def circular_plan(axis: Axis, stride: int | None = None) -> AxisPlan:
    """Circular padding: dilated shifts modulo the stride (2.6); stride=1 gives the stride-1 map of section 3. Taps fold by themselves."""
    s = axis.stride if stride is None else stride
    position = axis.dilation * np.arange(axis.taps)
    shifts, index = np.unique(position // s, return_inverse=True)
    return AxisPlan(np.ones(axis.taps, dtype=bool), index, position % s, shifts, s, axis.inputs // s)


def is_block_circulant(conv: ConvMap) -> str:
    """"" if the hypotheses of the exact Fourier formula hold, else the one that fails."""
    for a in conv.axes:
        if a.mode != "circular":
            return f"padding mode {a.mode} is not circular"
        if a.inputs % a.stride:
            return f"stride {a.stride} does not divide the input size {a.inputs}"
        if a.outputs != a.inputs // a.stride:
            return f"{a.outputs} outputs are not input size / stride = {a.inputs // a.stride}"
    return ""


def symbol_taps(weight: np.ndarray, plans: list[AxisPlan]) -> np.ndarray:
    """R, shaped (a, b, *J): the kernel (c_out, c_in, *k) of one group by shift, columns (c_in, phases) that are zero everywhere left out."""
    out = _spread(weight, plans)
    return out[:, used_columns(out)]


def used_columns(spread: np.ndarray) -> np.ndarray:
    """Which columns of R are kept: those that are not zero in every shift, the first one if all are."""
    used: np.ndarray = (spread != 0).any(axis=(0, *range(2, spread.ndim)))  # type: ignore[assignment]
    return used if used.any() else np.arange(spread.shape[1]) < 1


def column_phases(weight: np.ndarray, plans: list[AxisPlan], axis: int) -> np.ndarray:
    """The phase along one axis of every column of `symbol_taps`."""
    kept = np.flatnonzero(used_columns(_spread(weight, plans)))
    return np.unravel_index(kept, (weight.shape[1], *(plan.phases for plan in plans)))[1 + axis]


def group_taps(weight: np.ndarray, groups: int, plans: list[AxisPlan]) -> np.ndarray:
    """R of all groups at once, (groups, a, b, *J), columns that are zero kept: the weight is (groups a, c_in, *k)."""
    out = _spread(weight, plans)
    return out.reshape(groups, -1, *out.shape[1:])


def _spread(weight: np.ndarray, plans: list[AxisPlan]) -> np.ndarray:
    a, b = weight.shape[:2]
    for k, plan in enumerate(plans):
        weight = np.compress(plan.keep, weight, axis=k + 2)
    grid = np.ix_(*(plan.phase[plan.keep] for plan in plans)), np.ix_(*(plan.index[plan.keep] for plan in plans))
    out = np.zeros((a, b, *(plan.phases for plan in plans), *(len(plan.shifts) for plan in plans)))
    out[(slice(None), slice(None), *grid[0], *grid[1])] = weight
    return out.reshape(a, -1, *(len(plan.shifts) for plan in plans))
