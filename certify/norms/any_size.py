"""Any input size: the maximum over a fixed grid times a proven factor bounds the supremum of the symbol."""

from __future__ import annotations

from dataclasses import dataclass

from ..linear.base import LinearMap
from .base import Ends, NormMethod
from .fft import grid_ends, input_of
from .polyphase import convolution_of, embedding_plans, require_convolution


@dataclass(frozen=True)
class AnySize(NormMethod):
    """||A|| <= sup_w ||F(w)|| <= max over a grid of `points` frequencies per axis * prod 1 / cos(pi (J_i - 1) / (2 N_i)) (Theorem 2, sharp).

    Claim: an upper end for zero padding of any amount; the same number bounds the layer at every input size and every dilation (only dead
    taps and the common factor of stride and dilation depend on them). 3x3: 32 points 1.0097 of the supremum, 64 points 1.0024.

    Cost: points^D / 2 factorisations, whatever the input size. Source: layer_norms.md 4.4 (Riesz' lemma).
    """

    name = "any_size"
    cite = ("Riesz, Eine trigonometrische Interpolationsformel, 1914",)
    hypotheses = ("zero padding", "period >= 2 * shifts per axis", "libm sine and cosine within 2 ulp", "triangular solves by substitution")
    points: int = 32

    def _refuses(self, map: LinearMap, norm: str) -> str:
        conv = convolution_of(map)
        if conv is None:
            return "the map is not a convolution"
        return "" if conv.mode == "zeros" else f"padding mode {conv.mode} is not zeros: a copied pixel can exceed the supremum of the symbol"

    def _ends(self, map: LinearMap, norm: str) -> Ends:
        conv = require_convolution(map)
        plans = embedding_plans(conv)
        ends = grid_ends(conv, plans, "any_size", (0,) * len(plans), self.points)
        return Ends(0.0, ends.upper, ends.verify, {"statement": "Theorem 2: any input size", **ends.evidence}, input_of(map, ends.start))
