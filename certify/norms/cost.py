"""What each l2 method would cost on a map and how loose it would be, so that `auto` can choose. Rough on purpose: a wrong guess costs time, never soundness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..linear.adjoint import AdjointMap
from ..linear.base import LinearMap
from ..linear.conv import ConvMap
from .any_size import AnySize
from .base import NormMethod
from .copied_padding import CopiedPadding, without_padding
from .dense import Dense
from .fantastic_four import FantasticFour
from .fft import FFT
from .hybrid import Hybrid
from .polyphase import AxisPlan, circular_plan, convolution_of, embedding_plans
from .twisted import Twisted

_FLOPS = 2.5e10  # large products
_FACTOR = {0: 3e9, 64: 9e9, 200: 1.8e10}  # complex factorisations of at least this size
_CALL = 4e-6  # one small factorisation, whatever its size
_MOVED = 5e9  # bytes per second of matrices that are written and read once
_SECTIONS = 2  # lines of a hybrid that usually need their exact section


@dataclass(frozen=True)
class Candidate:
    """A method with its predicted seconds and relative gap bound / norm - 1 (measured on random and trained layers; proves nothing)."""

    method: NormMethod
    seconds: float
    gap: float


def candidates(map: LinearMap, dense_limit: int, steps: int = 0, tolerance: float = 0.0) -> list[Candidate]:
    """The methods that may bound the l2 norm of this map, tightest first. `steps`, `tolerance`: settings of `twisted` and `hybrid`."""
    conv = convolution_of(map)
    limit = dense_limit if conv is not None else max(dense_limit, 4096)  # other maps have no other method
    found = [Candidate(Dense(limit, memory=8 << 30 if limit > 4096 else 3 << 30), dense_seconds(map), 1e-8)]
    if conv is None:
        return found
    if conv.mode == "zeros":
        found += _zero_padded(conv, steps, tolerance)
    else:
        unpadded = without_padding(conv)
        circular = [circular_plan(a) for a in conv.axes]
        if not isinstance(map, AdjointMap) and not FFT().supports(map):
            found.append(Candidate(FFT(), grid_seconds(conv, circular, None), 1e-6))
        rows = grid_seconds(conv, [circular_plan(a, 1) for a in conv.axes], None) if conv.mode == "circular" else 0.0
        for inner in _zero_padded(unpadded, 0, 0.0):
            if not isinstance(inner.method, AnySize) or inner.method.points == 32:
                found.append(Candidate(CopiedPadding(inner.method.name), inner.seconds + rows, 0.5 + inner.gap))
    return sorted(found, key=lambda c: c.gap)


def _zero_padded(conv: ConvMap, steps: int, tolerance: float) -> list[Candidate]:
    plans = embedding_plans(conv)
    known = [plan for plan in plans if plan is not None]
    if len(known) < len(plans):
        return [Candidate(Twisted(), 0.0, 0.0)]
    curved = [0.17 * ((len(plan.shifts) - 1) / plan.period) ** 2 for plan in known]  # what embedding an axis costs, measured
    lines = grid_seconds(conv, plans, None)
    found = [Candidate(Twisted(steps=steps), lines, sum(curved) + 1e-6)]
    if conv.groups == 1:  # with a tolerance sections are made only where the lines alone would miss it
        needed = sum(curved) > 0.6 * tolerance
        gap = 0.99 * (min(tolerance, sum(curved)) if tolerance else 0.6 * sum(curved)) if needed else sum(curved) + 2e-6
        found.append(Candidate(Hybrid(steps=steps, tolerance=tolerance), lines + _SECTIONS * needed * section_seconds(conv, known), gap))
    for points in (64, 32, 16):
        factor = math.prod(1 / math.cos(math.pi * (len(p.shifts) - 1) / (2 * max(points, 2 * len(p.shifts)))) for p in known)
        found.append(Candidate(AnySize(points), grid_seconds(conv, plans, points), factor - 1 + sum(curved)))
    return [*found, Candidate(FantasticFour(), unfolding_seconds(conv, plans), 0.65)]


def application_seconds(map: LinearMap) -> float:
    """One application of the map (an upper guess for grouped ones, where only one group is searched)."""
    return 1e-4 + 2 * map.blocks()[0].nonzeros / 1.2e10


def dense_seconds(map: LinearMap) -> float:
    block = map.blocks()[0]
    a = block.size
    if convolution_of(block) is not None:
        gram = a * min(a, block.nonzeros / max(1, a)) * min(a, 64)
    else:
        gram = 2.0 * a * block.input_size * block.output_size
    return len(map.blocks()) * (1e-3 + (a**3 / 3 + gram) / _FLOPS + 40 * 8 * a * a / _MOVED + 16 * a * a / 2e9)


def grid_seconds(conv: ConvMap, plans: Sequence[AxisPlan | None], points: int | None) -> float:
    """Lag products, search for the peaks, and one matrix and factorisation per frequency."""
    known = [plan for plan in plans if plan is not None]
    if len(known) < len(plans):
        return 0.0
    degrees = [len(plan.shifts) for plan in known]
    frequencies = 1 + math.prod(1 if j == 1 else (plan.period if points is None else max(points, 2 * j)) for j, plan in zip(degrees, known)) / 2
    a, b = _sides(conv, known)
    if a == 1:
        return 2e-3 + conv.groups * (1e-5 + frequencies * math.prod(2 * j - 1 for j in degrees) * 1e-9)
    lags, taps = math.prod(2 * j - 1 for j in degrees) / 2, math.prod(degrees)
    prepare = taps * (taps + 1) * a * a * b / _FLOPS
    search = min(40.0, 1.0 + frequencies) * (10 * 16 * a * a / _MOVED + 1e-5)
    build = min(4 * (1 + min(lags, max(degrees))) * a * a, 4 * taps * a * b + 8 * a * a * b) / _FLOPS + 32 * a * a / _MOVED
    rate = next(r for size, r in sorted(_FACTOR.items(), reverse=True) if a >= size)
    return conv.groups * (1e-3 + prepare + frequencies * (_CALL + build + 4 / 3 * a**3 / rate)) + search


def section_seconds(conv: ConvMap, known: list[AxisPlan]) -> float:
    """One exact section: about (8 J (J + 1) + 1.4) a^3 operations per position, and the Lanczos steps before."""
    a, b = _sides(conv, known)
    lengths = [(plan.period, len(plan.shifts)) for plan in known if len(plan.shifts) > 1]
    if not lengths:
        return 0.0
    n, j = max(lengths)
    per_position = 4 * j * (j - 1) * a**3 + 8 * a**3
    return 2e-3 + (n * per_position + 8 * j * j * a * a * b) / _FLOPS + 80 * n * j * 16 * a * b / (4 * _MOVED)


def _sides(conv: ConvMap, known: list[AxisPlan]) -> tuple[int, int]:
    rows = conv.weight.shape[0] // conv.groups
    columns = conv.weight.shape[1] * math.prod(min(plan.phases, conv.axes[k].taps) for k, plan in enumerate(known))
    return min(rows, columns), max(rows, columns)


def unfolding_seconds(conv: ConvMap, plans: Sequence[AxisPlan | None]) -> float:
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
