"""Rows of the operators that are a matrix and a shift, or that move entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...core import evaluate  # noqa: F401  (registers the operators that move entries)
from ...core.errors import UnsupportedLayerError
from ...core.evaluate_base import OPERATORS, Operand
from ...core.rounding import U, gamma
from .rows import FLOOR, GROW, Rows, added, clean, mapped, rule, shifted

if TYPE_CHECKING:
    from ...linear.base import LinearMap


class Prepared(Operand):
    """An operand with what its enclosure needs: the linear map and its majorant, or the transposed weights of a dense layer."""

    def __init__(self, node, in_shapes):
        super().__init__(node, in_shapes)
        if node.op == "dense":
            self.turned = np.ascontiguousarray(self.arrays["weight"].T)
            self.size = np.abs(self.turned)
            self.share = float(node.attrs.get("perturbation", 0)) * U
            self.offset = float(node.attrs.get("bias_perturbation", 0.0))
        elif node.op in ("conv", "conv_transpose", "avg_pool", "reduce", "pad", "scale", "divide"):
            from ...linear.build import linear_map  # loads scipy.sparse, which a network of dense layers does without

            self.map: LinearMap | None = linear_map(node, in_shapes[0])
            self.majorant: LinearMap | None = self.map.absolute() if self.map is not None else None


@rule("dense")
def dense(op: Prepared, x: Rows) -> Rows:
    """x W' + b over the last axis."""
    width = op.turned.shape[0]
    y = mapped(lambda v: v @ op.turned, lambda v: v @ op.size, width, x, op.share)
    return shifted(y, op.arrays["bias"], op.offset) if "bias" in op.arrays else y


@rule("conv", "conv_transpose", "avg_pool", "scale", "divide")
def linear(op: Prepared, x: Rows) -> Rows:
    """Whatever `certify.linear` makes a matrix of."""
    if op.map is None or op.majorant is None:
        raise UnsupportedLayerError("an operator whose matrix is not known has no local constant", where=op.node.source or op.node.name, found=op.node.op)
    y = mapped(op.map.apply, op.majorant.apply, op.map.terms, x, op.map.perturbation, op.map.underflow)
    if "bias" not in op.arrays or op.node.op not in ("conv", "conv_transpose"):
        return y
    bias = op.arrays["bias"].reshape(-1, *(1,) * (len(op.shape) - 1))
    return shifted(y, bias, float(op.attrs.get("bias_perturbation", 0.0)))


@rule("batch_norm")
def batch_norm(op: Prepared, x: Rows) -> Rows:
    """s (x - mean) + bias with s = weight / sqrt(var + eps): s is within 4 roundings of the exact quotient, a value meets 3 more."""
    spread = (-1, *(1,) * (len(op.shape) - 1))
    gain = (op.arrays.get("weight", 1.0) / np.sqrt(op.arrays["var"] + float(op.attrs["eps"]))).reshape(spread)
    mean, size = op.arrays["mean"].reshape(spread), np.abs(gain)
    off = np.concatenate([np.abs(x.mid[:, :1]) + np.abs(mean), np.abs(x.mid[:, 1:])], axis=1)
    mid = gain * np.concatenate([x.mid[:, :1] - mean, x.mid[:, 1:]], axis=1)
    rad = (x.rad * (1.0 + gamma(8)) + gamma(10) * off + FLOOR) * size * GROW + 2.0**-1060 * (off + x.rad) + FLOOR
    y = clean(mid, rad * GROW)
    return shifted(y, op.arrays["bias"].reshape(spread)) if "bias" in op.arrays else y


@rule("add", "sub")
def addition(op: Prepared, x: Rows, y: Rows) -> Rows:
    """Slopes add with their signs, so x - x has the slope 0."""
    return added(x, y, 1.0 if op.node.op == "add" else -1.0)


@rule("concat")
def concat(op: Prepared, *parts: Rows) -> Rows:
    """The rows of the parts, joined."""
    return Rows(np.concatenate([p.mid for p in parts], axis=op.axis + 1), np.concatenate([p.rad for p in parts], axis=op.axis + 1))


def _each(op: Prepared, x: np.ndarray) -> np.ndarray:
    y = OPERATORS[op.node.op](op, x.reshape(-1, *x.shape[2:]))
    return y.reshape(*x.shape[:2], *op.shape)


@rule("reshape", "transpose", "slice", "gather", "expand", "upsample")
def moved(op: Prepared, x: Rows) -> Rows:
    """The same entries elsewhere."""
    return Rows(_each(op, x.mid), _each(op, x.rad))


@rule("pad")
def pad(op: Prepared, x: Rows) -> Rows:
    """Copied borders move with their pixels; a constant border has its value and no slope."""
    mid, rad = _each(op, x.mid), _each(op, x.rad)
    if op.attrs["mode"] == "constant" and float(op.attrs["value"]) != 0.0:
        border = _each(op, np.zeros((1, 1, *x.mid.shape[2:])))[0, 0]
        mid[:, 1:] -= border  # value - value = 0 on the border, entry - 0 inside
        rad -= border
    return Rows(mid, rad)
