"""The Jacobian of a chain in midpoint-radius form, and norms of interval matrices."""

from __future__ import annotations

import numpy as np

from ...core.interval import Interval
from ...core.midrad import MidRad
from ...core.rounding import TINY, add_up, down, gamma, mul_up, norm_up, norms_up, sqrt_up, up
from ..sdp.chain import Chain


def jacobian(chain: Chain) -> Interval:
    """[J]: for every pair of runs that obeys the chain's slopes, the output difference is J dx_0 for some J in it.

    Proof: dphi = m dz + psi with |psi_i| <= r |dz_i|, so psi = D dz for a diagonal |D| <= r, or, in a group, psi_g = B (r dz)_g for a matrix B of norm at most 1:
    entry (i, j) of B (r J_z) is at most the norm of the part of column j of r J_z that belongs to the group. Cost: inputs x state products per block."""
    state = MidRad(np.eye(chain.input_size))
    for layer in chain.layers:
        z = layer.weight.dense() @ state
        size = up(layer.half[:, None] * up(np.abs(z.mid) + z.radius()))
        if layer.inside is not None and layer.outside is not None:
            size = np.stack([norms_up(size[layer.inside == g].T, "l2") for g in range(layer.groups)])[layer.outside]
        psi = layer.inject.dense() @ MidRad(np.zeros(size.shape), size)
        state = layer.through().dense() @ state + psi
    return around(chain.last.dense() @ state)


def around(a: MidRad) -> Interval:
    """The enclosed matrix as an Interval."""
    a = a.dense()
    return Interval(down(a.mid - a.radius()), up(a.mid + a.radius()))


def largest_norm(j: Interval, norm: str) -> float:
    """Upper end of the operator norm (p to p) over an interval matrix; inf where an entry is unbounded. l2: |mid|_2 + |rad|_2, |sup|_2, Frobenius, sqrt(l1 linf)."""
    size = np.maximum(-j.lower, j.upper)
    if not np.isfinite(size).all():
        return float(np.inf)
    rows, columns = (_largest_sum(size, axis) for axis in (1, 0))
    if norm != "l2":
        return rows if norm == "linf" else columns
    best = min(norm_up(size, "l2"), sqrt_up(mul_up(rows, columns)))
    if min(size.shape) > 1:
        from ...linear.dense import DenseMap
        from ...norms import auto

        middle = 0.5 * j.lower + 0.5 * j.upper
        radius = up(np.maximum(j.upper - middle, middle - j.lower))
        parts = [auto.enclose(DenseMap(a), "l2", "fast").upper for a in (middle, radius, size)]
        best = min(best, add_up(parts[0], parts[1]), parts[2])
    return best


def _largest_sum(size: np.ndarray, axis: int) -> float:
    return add_up(mul_up(float(size.sum(axis=axis).max(initial=0.0)), 1.0 + 2 * gamma(size.shape[axis] + 4)), TINY) if size.any() else 0.0
