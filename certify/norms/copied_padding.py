"""Reflect, replicate and general circular padding: A = V P with a copying P, so the norm is at most ||P|| ||V||."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..core.rounding import mul_up, sqrt_up
from ..linear.adjoint import AdjointMap
from ..linear.axis import Axis
from ..linear.base import LinearMap
from ..linear.conv import ConvMap
from .base import Ends, NormMethod, methods, scale_up
from .fft import grid_ends
from .polyphase import circular_plan, convolution_of, require_convolution


@dataclass(frozen=True)
class CopiedPadding(NormMethod):
    """||A|| <= sqrt(prod count_i) ||V||: count_i = copies of the most frequent pixel in the padded axis, V the unpadded convolution on the padded points.

    Proposition 0 (layer_norms.md section 3): A = V P and P'P is the diagonal of the copy counts. V has zero padding (none), so its bound comes from
    the method `inner` ("auto", "fft", "any_size", "fantastic_four", "dense").
    Circular padding, any output size, also: the rows of A are rows of the stride-1 circular map C on n points, each at most
    c_i = ceil(m_i / (n_i / gcd(n_i, s_i))) times, ||A|| <= sqrt(prod c_i) ||C||, and ||C|| is exact by Fourier. The smaller one is taken.

    An upper end only, 1.0 to 3.8 of the truth in practice; small maps are exact by `dense`. Zero-padding bounds of the same kernel would be false here.
    Cost: that of the inner method.
    """

    name = "copied_padding"
    cite = ("layer_norms.md, Proposition 0",)
    hypotheses = ("the padding copies pixels",)
    own_scale = True
    inner: str = "fft"

    def _refuses(self, map: LinearMap, norm: str) -> str:
        conv = convolution_of(map)
        if conv is None:
            return "the map is not a convolution"
        return "the padding copies nothing" if conv.mode == "zeros" else ""

    def _ends(self, map: LinearMap, norm: str) -> Ends:
        conv = require_convolution(map)
        stored = replace(conv, perturbation=0.0, underflow=0.0)
        unpadded = methods()[self.inner].enclose(without_padding(stored), norm)
        counts = [a.copies for a in conv.axes]
        upper = mul_up(sqrt_up(float(math.prod(counts))), unpadded.upper)
        ends = Ends(0.0, upper, {"by": "copies", "count": counts, "of": unpadded.evidence["verify"]})
        if conv.mode == "circular" and not isinstance(map, AdjointMap):
            other = _circular_rows(stored)
            ends = other if other.upper < ends.upper else ends
        return ends


def without_padding(conv: ConvMap) -> ConvMap:
    """V: the same kernel on the n + low + high padded points, no padding left."""
    axes = tuple(Axis(a.inputs + a.low + a.high, a.outputs, a.taps, a.stride, a.dilation) for a in conv.axes)
    return ConvMap(conv.weight, axes, conv.groups)


def _circular_rows(conv: ConvMap) -> Ends:
    scaled, e = conv.scaled()
    ends = grid_ends(require_convolution(scaled), [circular_plan(a, stride=1) for a in conv.axes], "circular_rows", (0,) * len(conv.axes))
    repeats = [-(-a.outputs // (a.inputs // math.gcd(a.inputs, a.stride))) for a in conv.axes]
    upper = mul_up(sqrt_up(float(math.prod(repeats))), ends.upper)
    return Ends(0.0, scale_up(upper, e), ends.verify, {"repeats": repeats})
