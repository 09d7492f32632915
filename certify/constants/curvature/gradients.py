"""Ranges of the gradient of row . output with respect to every activation's output, over all inputs: signed intervals, backward through the chain.

Claim: with p the gradient with respect to the state after a layer, F = G' p is the gradient with respect to its phi, and before the layer it is
H' p + W' (f'(z) o F), f'(z) in [lo, hi]. So intervals that start at the exact row C' c enclose F for every input. One hidden layer: F is exact; two: each entry's
range is exact over all slopes. Products enclose by core.midrad; the rest is rounded outward here.
Source: Singla and Feizi 2020 for the identity Hess = sum_l B_l' diag(F_l o f''(z_l)) B_l, B_l = dz_l/dx, in which the ranges are used.
"""

from __future__ import annotations

import numpy as np

from ...core.midrad import MidRad
from ...core.rounding import down, up
from ..sdp.chain import Chain, Layer

Range = tuple[np.ndarray, np.ndarray]


def gradient_ranges(chain: Chain, rows: np.ndarray) -> list[Range]:
    """Per layer (lower, upper), each (len(rows), entries of phi), for exact float rows (k, outputs)."""
    p = MidRad(np.asarray(rows, dtype=np.float64)) @ chain.last.dense()
    found = []
    for layer in reversed(chain.layers):
        f = p @ layer.inject.dense()
        found.append(ends(f))
        before = times(found[-1], layer) @ layer.weight.dense()
        p = before if layer.keep is None else before + p @ layer.keep.dense()
    return found[::-1]


def ends(f: MidRad) -> Range:
    """Outward ends; a midpoint without radius is a point."""
    return (f.mid, f.mid) if f.rad is None else (down(f.mid - f.rad), up(f.mid + f.rad))


def times(f: Range, layer: Layer) -> MidRad:
    """Slopes [lo, hi] times F: the hull of the four products."""
    corners = [a * b for a in (layer.lo, layer.hi) for b in f]
    lower, upper = down(np.minimum.reduce(corners)), up(np.maximum.reduce(corners))
    mid = 0.5 * lower + 0.5 * upper
    return MidRad(mid, up(np.maximum(upper - mid, mid - lower)))
