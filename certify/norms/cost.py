"""Predicted seconds of the l2 methods on a map, so that `auto` can choose. Rough on purpose: a wrong guess costs time, never soundness."""

from __future__ import annotations

import math

from ..linear.adjoint import AdjointMap
from ..linear.base import LinearMap
from ..linear.conv import ConvMap
from .any_size import AnySize
from .base import NormMethod
from .copied_padding import CopiedPadding, without_padding
from .dense import Dense
from .fantastic_four import FantasticFour
from .fft import FFT
from .polyphase import AxisPlan, circular_plan, convolution_of, embedding_plan

_FLOPS = 1.2e10  # large products and factorisations, one thread
_SMALL_FLOPS = 4e9  # many small factorisations
_CALL = 3e-6  # one small factorisation, whatever its size


def candidates(map: LinearMap, dense_limit: int) -> list[tuple[NormMethod, float]]:
    """Methods for the l2 norm of this map, tightest first, each with its predicted seconds."""
    found: list[tuple[NormMethod, float]] = [(Dense(dense_limit, memory=8 << 30 if dense_limit > 4096 else 3 << 30), dense_seconds(map))]
    conv = convolution_of(map)
    if conv is None:
        return found
    if conv.mode == "zeros":
        return found + _zero_padded(conv, [embedding_plan(a) for a in conv.axes])
    unpadded = without_padding(conv)
    if not isinstance(map, AdjointMap) and not FFT().supports(map):
        found.append((FFT(), grid_seconds(conv, [circular_plan(a) for a in conv.axes], None)))
    inside = _zero_padded(unpadded, [embedding_plan(a) for a in unpadded.axes])
    rows = grid_seconds(conv, [circular_plan(a, 1) for a in conv.axes], None) if conv.mode == "circular" else 0.0
    return found + [(CopiedPadding(inner.name), seconds + rows) for inner, seconds in inside if not isinstance(inner, AnySize) or inner.points == 32]


def _zero_padded(conv: ConvMap, plans: list[AxisPlan | None]) -> list[tuple[NormMethod, float]]:
    grids: list[tuple[NormMethod, float]] = [(FFT(), grid_seconds(conv, plans, None))]
    grids += [(AnySize(points), grid_seconds(conv, plans, points)) for points in (64, 32, 16)]
    return [*grids, (FantasticFour(), unfolding_seconds(conv, plans))]


def application_seconds(map: LinearMap) -> float:
    """One application of the map (an upper guess for grouped ones, where only one group is searched)."""
    return 1e-4 + 2 * map.blocks()[0].nonzeros / 5e9


def dense_seconds(map: LinearMap) -> float:
    block = map.blocks()[0]
    a = block.size
    gram = a * min(a, block.nonzeros / max(1, a)) * min(a, 64) if convolution_of(block) is not None else a * block.input_size * block.output_size / max(1, a) * a
    applications = 60 * 4 * block.nonzeros
    return len(map.blocks()) * (1e-3 + (a**3 / 3 + gram + applications) / _FLOPS + 16 * a * a / 2e9)


def grid_seconds(conv: ConvMap, plans: list[AxisPlan | None], points: int | None) -> float:
    known = [plan for plan in plans if plan is not None]
    if len(known) < len(plans):
        return 0.0
    degrees = [len(plan.shifts) for plan in known]
    frequencies = 1 + math.prod(1 if j == 1 else (plan.period if points is None else max(points, 2 * j)) for j, plan in zip(degrees, known)) / 2
    rows, columns = conv.weight.shape[0] // conv.groups, conv.weight.shape[1] * math.prod(min(plan.phases, conv.axes[k].taps) for k, plan in enumerate(known))
    a, b = min(rows, columns), max(rows, columns)
    lags = math.prod(2 * j - 1 for j in degrees) / 2
    per_point = (4 / 3 * a**3 + min(4 * lags * a * a, 4 * math.prod(degrees) * a * b + 8 * a * a * b)) / (_SMALL_FLOPS if a < 128 else _FLOPS)
    return len(conv.blocks()) * (1e-3 + frequencies * (per_point + (0.1 * _CALL if a == 1 else _CALL)))


def unfolding_seconds(conv: ConvMap, plans: list[AxisPlan | None]) -> float:
    known = [plan for plan in plans if plan is not None]
    if len(known) < len(plans):
        return 0.0
    rows, columns = conv.weight.shape[0] // conv.groups, conv.weight.shape[1] * math.prod(plan.phases for plan in known)
    total = 0.0
    for mask in range(2 ** len(known)):
        left = rows * math.prod(len(plan.shifts) for k, plan in enumerate(known) if mask >> k & 1)
        right = columns * math.prod(len(plan.shifts) for k, plan in enumerate(known) if not mask >> k & 1)
        a, b = min(left, right), max(left, right)
        total += (a**3 / 3 + a * a * b) / _FLOPS + 100 * 8 * a * a / 1e10
    return len(conv.blocks()) * (1e-3 + total)
