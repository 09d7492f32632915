"""Rows of dot-product attention: o = P v with P = softmax(scale q k'), from the rules of matrix products and of softmax.

Two shifts change nothing and make the enclosures smaller: P is the same for keys k_j - m, since softmax ignores what is added to a whole row, and
P v = m + P (v - m), the rows of P having sum 1 and those of a difference of two P's sum 0.
"""

from __future__ import annotations

import numpy as np

from ...core.evaluate_attention import causal_mask
from ...core.rounding import U
from .linear import Prepared
from .products import matmul, softmax_last
from .rows import FLOOR, GROW, Rows, added, bilinear, clean, ends, middle, rule, shifted


@rule("attention")
def attention(op: Prepared, q: Rows, k: Rows, v: Rows) -> Rows:
    """do = P(x) dv + dP (v(y) - m): [P][J_v] + [J_P][v - m]. Values also lie in the hull of the values that a query reads."""
    p = weights(op, q, k)
    near, m = around(v)
    moved = bilinear(Rows(p.mid[:, :1], p.rad[:, :1]), Rows(near.mid[:, :1], near.rad[:, :1]))
    value = shifted(Rows(moved.mid, moved.rad), m[:, 0])
    low, high = ends(value.mid[:, 0], value.rad[:, 0])
    least, most = _hull(op, v)
    mid, rad = (e[:, None] for e in middle(np.clip(low, least, most), np.clip(high, least, most)))
    if q.mid.shape[1] == 1:
        return clean(mid, rad)
    first = bilinear(Rows(p.mid[:, :1], p.rad[:, :1]), Rows(v.mid[:, 1:], v.rad[:, 1:]))
    second = bilinear(Rows(p.mid[:, 1:], p.rad[:, 1:]), Rows(near.mid[:, :1], near.rad[:, :1]))
    steps = added(first, second)
    return clean(np.concatenate([mid, steps.mid], axis=1), np.concatenate([rad, steps.rad], axis=1))


def weights(op: Prepared, q: Rows, k: Rows) -> Rows:
    """P (boxes, rows, ..., N, M); a causal mask cuts row i down to the keys j <= i, and the rest of the row is 0."""
    scale = float(op.attrs["scale"])
    mid = q.mid * scale
    q = clean(mid, (q.rad * abs(scale) + 2 * U * np.abs(mid)) * GROW + FLOOR)
    near, _ = around(k)
    logits = matmul(op, q, Rows(np.swapaxes(near.mid, -1, -2), np.swapaxes(near.rad, -1, -2)))
    if not op.attrs["causal"]:
        return softmax_last("softmax", logits)
    mid, rad = np.zeros(logits.mid.shape), np.zeros(logits.mid.shape)
    for i in range(logits.mid.shape[-2]):
        row = softmax_last("softmax", Rows(logits.mid[..., i, : i + 1], logits.rad[..., i, : i + 1]))
        mid[..., i, : i + 1], rad[..., i, : i + 1] = row
    return Rows(mid, rad)


def around(x: Rows) -> tuple[Rows, np.ndarray]:
    """Tokens minus a constant m (boxes, 1, ..., 1, width) near the middle of all of them, and m; m = 0 where that is unbounded."""
    lower, upper = ends(x.mid[:, :1], x.rad[:, :1])
    m = 0.5 * lower.min(axis=-2, keepdims=True) + 0.5 * upper.max(axis=-2, keepdims=True)
    m = np.where(np.isfinite(m), m, 0.0)
    return shifted(Rows(x.mid.copy(), x.rad.copy()), -m[:, 0]), m


def _hull(op: Prepared, v: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest entry of the values that each query reads, (boxes, ..., N, e) or broadcastable to it."""
    lower, upper = ends(v.mid[:, 0], v.rad[:, 0])
    if not op.attrs["causal"]:
        return lower.min(axis=-2, keepdims=True), upper.max(axis=-2, keepdims=True)
    last = causal_mask(op.shape[-2], lower.shape[-2]).sum(axis=1) - 1
    return np.minimum.accumulate(lower, axis=-2)[..., last, :], np.maximum.accumulate(upper, axis=-2)[..., last, :]
