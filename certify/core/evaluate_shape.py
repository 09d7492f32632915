"""Values of the operators that move or copy entries: all exact. Views are returned where numpy can."""

from __future__ import annotations

import numpy as np

from .evaluate_base import Operand, operator
from .evaluate_window import padded_index


@operator("concat")
def concat(op: Operand, *parts: np.ndarray) -> np.ndarray:
    """Exact."""
    return np.concatenate(parts, axis=op.axis)


@operator("slice")
def slice_(op: Operand, x: np.ndarray) -> np.ndarray:
    """Exact."""
    return x[(slice(None),) * op.axis + (slice(op.attrs["start"], op.attrs["stop"], op.attrs["step"]),)]


@operator("gather")
def gather(op: Operand, x: np.ndarray) -> np.ndarray:
    """Exact."""
    return np.take(x, op.node.arrays["index"], axis=op.axis)


@operator("reshape")
def reshape(op: Operand, x: np.ndarray) -> np.ndarray:
    """Exact."""
    return x.reshape(len(x), *op.shape)


@operator("transpose")
def transpose(op: Operand, x: np.ndarray) -> np.ndarray:
    """Exact."""
    return x.transpose(0, *(p + 1 for p in op.attrs["perm"]))


@operator("expand")
def expand(op: Operand, x: np.ndarray) -> np.ndarray:
    """Exact."""
    inner = (1,) * (len(op.shape) - (x.ndim - 1)) + x.shape[1:]
    return np.broadcast_to(x.reshape(len(x), *inner), (len(x), *op.shape))


@operator("pad")
def pad(op: Operand, x: np.ndarray) -> np.ndarray:
    """Exact. Negative constant pads crop."""
    mode = op.attrs["mode"]
    if mode != "constant":
        for axis, (low, high) in enumerate(op.attrs["pads"], start=1):
            if low or high:
                x = np.take(x, padded_index(x.shape[axis], low, high, mode), axis=axis)
        return x
    y = np.full((len(x), *op.shape), float(op.attrs["value"]))
    kept, place = [slice(None)], [slice(None)]
    for n, (low, high) in zip(x.shape[1:], op.attrs["pads"]):
        kept.append(slice(max(0, -low), n - max(0, -high)))
        place.append(slice(max(0, low), max(0, low) + n - max(0, -low) - max(0, -high)))
    y[tuple(place)] = x[tuple(kept)]
    return y


@operator("upsample")
def upsample(op: Operand, x: np.ndarray) -> np.ndarray:
    """Exact."""
    for axis, factor in enumerate(op.attrs["factors"], start=2):
        x = np.repeat(x, factor, axis=axis)
    return x
