"""Fourier: exact for circular padding; for zero padding a twisted block-circulant embedding, which bounds from above only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..core.rounding import mul_up, sqrt_up
from ..linear.adjoint import AdjointMap
from ..linear.base import LinearMap
from ..linear.conv import ConvMap
from .base import Ends, NormMethod, room
from .grid import best_twist, certified_maximum, find_peak, grid_factor, sharpened
from .majorant import core_of, size_up
from .polyphase import AxisPlan, circular_plan, convolution_of, embedding_plan, is_block_circulant, require_convolution, symbol_taps
from .search import quotient_down, top_vector
from .start import plane_wave
from .symbol import Symbol


@dataclass(frozen=True)
class FFT(NormMethod):
    """||A|| from the matrix symbol F(w) on a frequency grid, each grid point certified by one shifted Cholesky factorisation.

    Circular padding, s | n and m = n / s on every axis: A is unitarily equivalent to the direct sum of F(2 pi k / (n/s)), so the maximum over
    this grid is ||A||, for kernels larger than the image too (taps fold by themselves). Both ends. [2.6; Sedghi, Gupta & Long 2019]

    Zero padding: with the periods of Theorem 1 (layer_norms.md 4.3) and a twist theta in {0, pi}^D, A is a submatrix of a twisted
    block-circulant matrix, so ||A|| <= max ||F(w_k)||. An upper end only: the circular value of the same kernel is neither a bound nor
    stated. `twist` (one 0 or 1 per axis, in units of pi) is chosen by a search when it is None; every choice is sound.

    Cost: half a grid of N^D factorisations of size min(c_out, c_in s^D). Refuses reflect and replicate padding, and circular padding with other
    output sizes: see `copied_padding`.
    """

    name = "fft"
    cite = ("Sedghi, Gupta & Long, The singular values of convolutional layers, ICLR 2019", "Senderovich et al., Towards practical control of singular values, NeurIPS 2022")
    hypotheses = ("libm sine and cosine within 2 ulp", "triangular solves by substitution")
    twist: tuple[int, ...] | None = None

    def _refuses(self, map: LinearMap, norm: str) -> str:
        conv = convolution_of(map)
        if conv is None:
            return "the map is not a convolution"
        if self.twist is not None and (len(self.twist) != len(conv.axes) or any(t not in (0, 1) for t in self.twist)):
            return f"twist {self.twist} is not one 0 or 1 per axis: half the spectrum would not be enough"
        return "" if conv.mode == "zeros" else is_block_circulant(conv)

    def _ends(self, map: LinearMap, norm: str) -> Ends:
        conv = require_convolution(map)
        circular = conv.mode != "zeros"
        plans = [circular_plan(a) if circular else embedding_plan(a) for a in conv.axes]
        claim = "circular" if circular else "embedding"
        statement = "exact: block-circulant" if circular else "Theorem 1: embedding in a twisted block-circulant matrix, an upper end only"
        ends = grid_ends(conv, plans, claim, self.twist if not circular else (0,) * len(plans))
        start = input_of(map, ends.start)
        lower = 0.0
        if circular and start is not None:  # near a singular vector; a few Lanczos steps settle which frequency of the grid it is
            lower = quotient_down(core_of(map), top_vector(core_of(map), 20, start)[0])
        return Ends(lower, ends.upper, ends.verify, {"statement": statement, **ends.evidence}, start)


def input_of(map: LinearMap, wave: np.ndarray | None) -> np.ndarray | None:
    """The wave of `convolution_of(map)` as an input of the map itself: carried through the convolution where the map is its adjoint."""
    core = core_of(map)
    if wave is None or not isinstance(core, AdjointMap):
        return wave
    return core.inner.apply(wave[None])[0]


def grid_ends(conv: ConvMap, plans: list[AxisPlan | None], claim: str, twist: tuple[int, ...] | None, points: int | None = None) -> Ends:
    """Upper end over the frequency grid of a claim of `norms.base` (without the factor of circular_rows); `points`: the any-size period."""
    if any(plan is None for plan in plans):
        return Ends(0.0, 0.0, {"by": "zero"})
    known = [plan for plan in plans if plan is not None]
    symbols = sorted(((cheap_bound(s), k, s) for k, s in enumerate(_symbols(conv, known)) if s.flat.any()), key=lambda row: (-row[0], row[1]))
    if not symbols:
        return Ends(0.0, 0.0, {"by": "zero"})
    degrees = symbols[0][2].degrees
    period = tuple(1 if j == 1 else (plan.period if points is None else max(points, 2 * j)) for j, plan in zip(degrees, known))
    first = find_peak(symbols[0][2])  # the group with the largest weights decides about the twist of all
    twist = best_twist(symbols[0][2], first, period) if twist is None else twist
    factor = 1.0 if points is None else grid_factor(degrees, period)
    upper, best, top = 0.0, symbols[0][2], symbols[0][1]
    found, peaks = first, {top: first}
    for bound, k, symbol in symbols:
        if mul_up(bound, factor) <= upper:
            break  # this group and all later ones are below the maximum, on the grid too
        if symbol.a > 1 and k not in peaks:
            peaks[k] = find_peak(symbol)
        grid_value, peak = certified_maximum(symbol, peaks.get(k), period, twist)
        value = mul_up(grid_value, factor)
        if value > upper:
            upper, best, top, found = value, symbol, k, peak or first
    start = plane_wave(conv, known, best, sharpened(best, found), top)
    verify = {"by": "grid", "claim": claim, "period": list(period), "twist": [t if n > 1 else 0 for t, n in zip(twist, period)]}
    return Ends(0.0, room(upper), verify, {"points": math.prod(period), "side": best.a, "groups": len(symbols)}, start)


def _symbols(conv: ConvMap, plans: list[AxisPlan]) -> list[Symbol]:
    return [Symbol(symbol_taps(block.weight, plans), [plan.shifts for plan in plans]) for block in conv.parts]


def cheap_bound(symbol: Symbol) -> float:
    """Upper end of sup ||F(w)|| <= sqrt(taps) ||R||_F (Cauchy-Schwarz), which bounds every grid value."""
    return mul_up(sqrt_up(float(len(symbol.at))), size_up(symbol.flat))

