"""Zero padding: twisted block-circulant embeddings, with a period and a twist for each line of frequencies (the project's own method)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..core.errors import SoundnessError
from ..core.rounding import sqrt_up
from ..linear.base import LinearMap
from ..linear.conv import ConvMap
from .base import TINY, Ends, NormMethod, room
from .cholesky import with_slack
from .fft import input_of
from .groups import groups_ends
from .layout import Layout, best_layouts, first_level
from .peaks import Peak, find_peaks
from .pieces import EXACT
from .polyphase import AxisPlan, convolution_of, embedding_plans, require_convolution, symbol_taps
from .power_iteration import PowerIteration
from .settle import ExactPiece, Settled, settle
from .start import plane_wave
from .symbol import Symbol

MOST_POINTS = 1 << 20  # frequencies of one layer; `certify.proof` refuses four times as many
ExactFactory = Callable[[ConvMap, list[AxisPlan], Symbol, int], ExactPiece]


@dataclass(frozen=True)
class Twisted(NormMethod):
    """||A|| <= max over lines w_outer of min over (n, theta) of max_k ||F(w_outer, (2 pi k + theta) / n)||, each grid point certified.

    F(w) is the symbol of the polyphase kernel (dilation and stride removed). By Theorem 1 (layer_norms.md 4.3) A is a submatrix of the
    block-circulant matrix of every period above a least one, with every twist theta; applied axis by axis, the last axis may choose its
    period and twist for each line of frequencies (`norms.pieces`), which puts the grid points on both sides of the peak.

    Hypotheses: zero padding of any amount. Stride, dilation, groups, 1-3 axes, rectangular, even and asymmetric kernels, kernels larger than the input,
    transposed convolutions. Groups: each has its own twist, and the norm is the maximum.

    Claim: an upper end; the gap to the norm is O(1/n^2). With `steps` > 0 also a lower end: as many Lanczos steps from the plane wave of the peak.
    `extra`: periods above the least one that each line may try; `layouts`: how many choices of the inner axis and the outer grid are certified.

    Cost: about N^D / 2 Cholesky factorisations of size min(c_out, c_in s^D), N = n + k/2.
    """

    name = "twisted"
    cite = ("certify, twisted block-circulant embedding with a twist per line (layer_norms.md, Theorem 1)",)
    hypotheses = ("zero padding", "libm sine and cosine within 2 ulp", "triangular solves by substitution")
    extra: int = 0
    steps: int = 0
    layouts: int = 1

    def _refuses(self, map: LinearMap, norm: str) -> str:
        return not_zero_padded(map)

    def _ends(self, map: LinearMap, norm: str) -> Ends:
        return line_ends(map, self.extra, self.steps, layouts=self.layouts)


def not_zero_padded(map: LinearMap) -> str:
    conv = convolution_of(map)
    if conv is None:
        return "the map is not a convolution"
    if conv.mode != "zeros":
        return f"padding mode {conv.mode} is not zeros: a copied pixel can exceed every embedding"
    points = math.prod(1 if plan is None or len(plan.shifts) == 1 else plan.period for plan in embedding_plans(conv))
    return f"a grid of {points} frequencies is more than the checker takes ({MOST_POINTS}): use any_size" if points > MOST_POINTS else ""


def line_ends(map: LinearMap, extra: int, steps: int, exact: ExactFactory | None = None, tolerance: float = 0.0, layouts: int = 1) -> Ends:
    """Both ends of a zero-padded convolution by lines (groups: by twists); `exact` offers finite sections, which are left alone while the bound is within
    `tolerance` of the lower end."""
    conv = require_convolution(map)
    plans = embedding_plans(conv)
    known = [plan for plan in plans if plan is not None]
    if len(known) < len(plans):
        return Ends(0.0, 0.0, {"by": "zero"})
    least = tuple(1 if len(plan.shifts) == 1 else plan.period for plan in known)
    if len(conv.parts) > 1:
        ends = groups_ends(conv, known, least)
        lower, start = lower_end(map, ends.start, steps) if ends.upper > 0 else (0.0, None)
        return replace(ends, lower=lower, start=start)
    symbol = Symbol(symbol_taps(conv.parts[0].weight, known), [plan.shifts for plan in known])
    if not symbol.flat.any():
        return Ends(0.0, 0.0, {"by": "zero"})
    peaks = find_peaks(symbol)
    lower, start = lower_end(map, plane_wave(conv, known, symbol, _highest(peaks, least), 0), steps)
    layout, settled = _settled(conv, known, symbol, peaks, best_layouts(symbol, peaks, least, extra)[:layouts], lower, exact, tolerance)
    ways = [(symbol.a, symbol.slack), *((section.size, section.slack) for section in settled.sections)]
    upper = sqrt_up(max(with_slack(settled.shift, size, slack) for size, slack in ways))
    rows = [[0, 0] if option == EXACT else list(option[0]) for option in settled.chosen]
    verify = {"by": "lines", "inner": layout.inner, "period": list(layout.period), "twist": list(layout.twist), "lines": rows}
    evidence = {"points": sum(n for n, _ in rows), "sections": len(settled.sections), "side": symbol.a}
    return Ends(lower, room(upper), verify, evidence, start)


def _settled(
    conv: ConvMap, plans: list[AxisPlan], symbol: Symbol, peaks: list[Peak], layouts: list[Layout], lower: float, exact: ExactFactory | None, tolerance: float,
) -> tuple[Layout, Settled]:  # fmt: skip
    """The best of the layouts, settled; a later one is given up when it falls behind."""
    best: tuple[Layout, Settled] | None = None
    for layout in layouts:
        sections = exact(conv, plans, symbol, layout.inner) if exact is not None else None
        enough = ((1 + tolerance) * lower) ** 2 if tolerance > 0.0 else 0.0  # up to here grids will do, above it sections are asked
        top = first_level(layout, peaks, sections if enough == 0.0 else None)
        level = top.value * (1 + 1e-6) if top is not None else TINY
        level = max(min(level, enough) if enough > 0.0 else level, lower * lower)
        done = settle(layout.lines, layout.options, level, top, sections, math.inf if best is None else best[1].shift, enough)
        best = (layout, done) if done.complete else best
    if best is None:
        raise SoundnessError("no layout of a frequency grid was settled", where=repr(conv), hint="please report this layer: it is a defect of the toolkit")
    return best


def _highest(peaks: list[Peak], least: tuple[int, ...]) -> Peak:
    """The peak whose finite section is likely to be the largest: its value lowered by half its curvature times (pi / N)^2 on each axis."""
    shrink = np.array([(np.pi / n) ** 2 if n > 1 else 0.0 for n in least])
    return max(peaks, key=lambda p: p.value + (float(np.diagonal(p.hessian) @ shrink) / 2 if p.hessian is not None else 0.0))


def lower_end(map: LinearMap, wave: np.ndarray | None, steps: int) -> tuple[float, np.ndarray | None]:
    """(lower end, its vector) from `steps` Lanczos steps that start at an input of `convolution_of(map)`; no lower end without steps."""
    start = input_of(map, wave)
    if steps > 0 and start is not None:
        return PowerIteration(steps, start=start).search(map)
    return 0.0, start
