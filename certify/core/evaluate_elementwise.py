"""Values of the operators that act entry by entry or along one axis."""

from __future__ import annotations

import numpy as np

from .evaluate_base import Operand, operator


@operator("batch_norm")
def batch_norm(op: Operand, x: np.ndarray) -> np.ndarray:
    """weight (x - mean) / sqrt(var + eps) + bias per channel; n = 6 roundings: x - mean, var + eps and its root (3/2 in all), the quotient
    weight / root, the product, the sum."""
    spread = (-1, *(1,) * (x.ndim - 2))
    root = np.sqrt(op.arrays["var"] + float(op.attrs["eps"]))
    gain = op.arrays.get("weight", 1.0) / root
    y = x - op.arrays["mean"].reshape(spread)
    y *= gain.reshape(spread)
    if "bias" in op.arrays:
        y += op.arrays["bias"].reshape(spread)
    return y


@operator("scale")
def scale(op: Operand, x: np.ndarray) -> np.ndarray:
    """x * value: one rounding."""
    return x * op.arrays["value"]


@operator("divide")
def divide(op: Operand, x: np.ndarray) -> np.ndarray:
    """x / value: one rounding."""
    return x / op.arrays["value"]


@operator("add")
def add(op: Operand, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x + y: one rounding, never an underflow."""
    return x + y


@operator("sub")
def sub(op: Operand, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x - y: one rounding, never an underflow."""
    return x - y


@operator("multiply")
def multiply(op: Operand, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x * y: one rounding."""
    return x * y


@operator("maximum")
def maximum(op: Operand, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Exact."""
    return np.maximum(x, y)


@operator("minimum")
def minimum(op: Operand, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Exact."""
    return np.minimum(x, y)


@operator("matmul")
def matmul(op: Operand, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Inner products of length k: n = k roundings."""
    return x @ y


@operator("activation")
def activation(op: Operand, x: np.ndarray) -> np.ndarray:
    """The activation's own formula; its error is what `Activation.rounding` states."""
    return op.activation.value(x)


@operator("group_sort")
def group_sort(op: Operand, x: np.ndarray) -> np.ndarray:
    """Exact: a permutation of each group."""
    axis, size, n = op.axis, op.attrs["size"], x.shape[op.axis]
    halves = op.attrs["layout"] == "halves"
    cut = x.reshape(*x.shape[:axis], *((size, n // size) if halves else (n // size, size)), *x.shape[axis + 1 :])
    along = axis if halves else axis + 1
    if size == 2:
        first, second = np.take(cut, 0, axis=along), np.take(cut, 1, axis=along)
        pair = [np.minimum(first, second), np.maximum(first, second)]
        return np.stack(pair[::-1] if op.attrs["descending"] else pair, axis=along).reshape(x.shape)
    done = np.sort(cut, axis=along)
    return (np.flip(done, axis=along) if op.attrs["descending"] else done).reshape(x.shape)


@operator("reduce")
def reduce(op: Operand, x: np.ndarray) -> np.ndarray:
    """max, min: exact. sum over k entries: n = k - 1 roundings; mean: one more, the division by k."""
    axes, keep, kind = tuple(a + 1 for a in op.attrs["axes"]), op.attrs["keepdims"], op.attrs["kind"]
    if kind in ("max", "min"):
        return (np.max if kind == "max" else np.min)(x, axis=axes, keepdims=keep)
    total = np.sum(x, axis=axes, keepdims=keep)
    return total / float(np.prod([x.shape[a] for a in axes])) if kind == "mean" else total


def _shifted(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """(x - max, max) along an axis: one rounding."""
    largest = np.max(x, axis=axis, keepdims=True)
    return x - largest, largest


def _log_sum(z: np.ndarray, axis: int) -> np.ndarray:
    """log of sum of e^z, one z being 0, so S >= 1: S - 1 is rounded once (u in the logarithm), then log1p."""
    return np.log1p(np.sum(np.exp(z), axis=axis, keepdims=True) - 1.0)


@operator("softmax")
def softmax(op: Operand, x: np.ndarray) -> np.ndarray:
    """e^z / sum e^z with z = x - max: each e^z within 8u of its z, z rounded once, the sum n = k - 1, the quotient one."""
    z, _ = _shifted(x, op.axis)
    e = np.exp(z)
    return e / np.sum(e, axis=op.axis, keepdims=True)


@operator("log_softmax")
def log_softmax(op: Operand, x: np.ndarray) -> np.ndarray:
    """z - log sum e^z with z = x - max: two roundings of x and max, and the error of the logarithm (see `logsumexp`)."""
    z, _ = _shifted(x, op.axis)
    return z - _log_sum(z, op.axis)


@operator("logsumexp")
def logsumexp(op: Operand, x: np.ndarray) -> np.ndarray:
    """max + log S, S = sum e^z in [1, k] within (8 + 0.37 k) u + gamma_(k-1) relative, log1p 8u, S - 1 one u, the sum one rounding."""
    z, largest = _shifted(x, op.axis)
    return np.squeeze(largest + _log_sum(z, op.axis), axis=op.axis)
