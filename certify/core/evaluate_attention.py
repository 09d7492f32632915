"""Values of layer normalisation and dot-product attention."""

from __future__ import annotations

import numpy as np

from .evaluate_base import Operand, operator


@operator("layer_norm")
def layer_norm(op: Operand, x: np.ndarray) -> np.ndarray:
    """weight (c / s) + bias, s = sqrt(|c|^2 / d + eps), c = x - mean(x) over groups of d entries (c = x without centring).

    c is off by d + 1 roundings of x (the sum, its division by d, the difference), times the slope 1 / sqrt(eps) of c -> c / s; on the computed c
    the root meets d + 2 (all terms positive), the quotient, the product with the weight and the bias one each. A |c|^2 that overflows gives
    c / s = 0, which is no NaN: `rules.normalization` makes its rounding term large there.
    """
    dims = op.attrs["dims"]
    axes = tuple(range(x.ndim - dims, x.ndim))
    d = float(np.prod(op.shape[-dims:]))
    c = x - np.sum(x, axis=axes, keepdims=True) / d if op.attrs["center"] else x
    y = c / np.sqrt(np.sum(c * c, axis=axes, keepdims=True) / d + float(op.attrs["eps"]))
    if "weight" in op.arrays:
        y *= op.arrays["weight"]
    if "bias" in op.arrays:
        y += op.arrays["bias"]
    return y


def causal_mask(queries: int, keys: int) -> np.ndarray:
    """(queries, keys): True where query i reads key j, j <= i."""
    return np.arange(keys) <= np.arange(queries)[:, None]


@operator("attention")
def attention(op: Operand, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """softmax(scale q k') v. Inner products of length d and one more rounding, then as `softmax`, then inner products of length M.

    No rule states an error: there is no global constant, so no walker reads it.
    """
    logits = (q @ np.swapaxes(k, -1, -2)) * float(op.attrs["scale"])
    if op.attrs["causal"]:
        logits = np.where(causal_mask(*logits.shape[-2:]), logits, -np.inf)
    e = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return (e / np.sum(e, axis=-1, keepdims=True)) @ v
