"""`linear_map`: the map of a graph node, bias and shift left out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..core.errors import InputError
from ..core.graph import Node
from .adjoint import AdjointMap
from .axis import Axis
from .base import LinearMap
from .conv import ConvMap
from .copies import CopyMap
from .dense import DenseMap
from .diagonal import DiagonalMap
from .pool import PoolMap
from .reduce import ReduceMap

_U = 2.0**-53
_TINY_ROUNDING = 2.0**-1073  # twice the error of one rounding below the normal range
_BUILDERS: dict[str, Callable[[Node, tuple[int, ...]], LinearMap | None]] = {}


def linear_map(node: Node, in_shape: tuple[int, ...]) -> LinearMap | None:
    """The linear part of a node as a function of its first input, or None if the node is not affine.

    Ops: dense conv conv_transpose batch_norm scale divide avg_pool reduce(mean, sum) expand pad, and the pure copies
    reshape transpose slice gather upsample. `perturbation` says how far the stored weights may be from the meant ones:
    attrs["perturbation"] (in units of 2^-53) for a folded node, a few 2^-53 where a division or a square root made them.
    """
    build = _BUILDERS.get(node.op)
    return None if build is None else build(node, tuple(in_shape))


def _builds(*ops: str):
    def register(function):
        _BUILDERS.update(dict.fromkeys(ops, function))
        return function

    return register


def _rounded(values: np.ndarray, units: float) -> dict[str, float]:
    """perturbation and underflow for weights that `units` roundings separate from the meant ones."""
    if units == 0:
        return {"perturbation": 0.0, "underflow": 0.0}
    small = bool((np.abs(values) < 2.0**-1000).any())
    return {"perturbation": units * _U, "underflow": units * _TINY_ROUNDING if small else 0.0}


def _folded(node: Node, weight: np.ndarray) -> dict[str, float]:
    return {"perturbation": float(node.attrs.get("perturbation", 0)) * _U}  # folding refuses what would be subnormal


def _weight(node: Node, key: str = "weight") -> np.ndarray:
    weight = node.float64(key)
    if weight is None:
        raise InputError("a node lacks its array", where=f"{node.name}.{key}", expected=f"an array '{key}'")
    return weight


@_builds("dense")
def _dense(node: Node, in_shape):
    weight = _weight(node)
    return DenseMap(weight, in_shape[:-1], **_folded(node, weight))


@_builds("conv")
def _conv(node: Node, in_shape):
    weight, a = _weight(node), node.attrs
    axes = tuple(
        Axis(n, m, k, s, d, lo, hi, a.get("mode", "zeros"))
        for n, m, k, s, d, (lo, hi) in zip(in_shape[1:], node.shape[1:], weight.shape[2:], a["stride"], a["dilation"], a["padding"])
    )
    return ConvMap(weight, axes, a["groups"], **_folded(node, weight))


@_builds("conv_transpose")
def _conv_transpose(node: Node, in_shape):
    weight, a = _weight(node), node.attrs
    axes = tuple(Axis(n, m, k, s, d, lo) for n, m, k, s, d, (lo, _) in zip(node.shape[1:], in_shape[1:], weight.shape[2:], a["stride"], a["dilation"], a["padding"]))
    return AdjointMap(ConvMap(weight, axes, a["groups"]), **_folded(node, weight))


def _channelwise(values: np.ndarray, shape) -> np.ndarray:
    return values.reshape(-1, *(1,) * (len(shape) - 1))


@_builds("batch_norm")
def _batch_norm(node: Node, in_shape):
    variance = _weight(node, "var") + float(node.attrs["eps"])
    if not (variance > 0).all():
        raise InputError("a BatchNorm has var + eps <= 0", where=node.name, found=float(variance.min()), expected="a positive variance")
    gain = node.float64("weight")
    values = (1.0 if gain is None else gain) / np.sqrt(variance)  # sum, root, division: below 3 units; 4 stated
    return DiagonalMap(_channelwise(values, in_shape), in_shape, **_rounded(values, 4))


@_builds("scale")
def _scale(node: Node, in_shape):
    value = _weight(node, "value")
    return DiagonalMap(value, in_shape) if _fits(value, in_shape) else None


@_builds("divide")
def _divide(node: Node, in_shape):
    value = _weight(node, "value")
    if not _fits(value, in_shape):
        return None
    if not value.all():
        raise InputError("division by zero", where=node.name, expected="a divisor without zeros")
    with np.errstate(over="ignore"):
        inverse = 1.0 / value
    if not np.isfinite(inverse).all():
        raise InputError("1 / divisor overflows", where=node.name, found=float(np.abs(value).min()))
    return DiagonalMap(inverse, in_shape, **_rounded(inverse, 0 if _power_of_two(value) else 2))


def _fits(value: np.ndarray, shape) -> bool:
    """Does the product keep the input's shape? (else the input itself is broadcast)"""
    return np.broadcast_shapes(value.shape, shape) == tuple(shape)


def _power_of_two(value: np.ndarray) -> bool:
    return bool((np.abs(np.frexp(value)[0]) == 0.5).all())


@_builds("avg_pool")
def _avg_pool(node: Node, in_shape):
    a, divisor = node.attrs, _weight(node, "divisor")
    axes = tuple(Axis(n, m, k, s, 1, lo) for n, m, k, s, (lo, _) in zip(in_shape[1:], node.shape[1:], a["kernel"], a["stride"], a["padding"]))
    inverse = 1.0 / divisor
    units = 0 if _power_of_two(divisor) else 2
    if (divisor == divisor.flat[0]).all():
        weight = np.full((in_shape[0], 1, *a["kernel"]), inverse.flat[0])
        return ConvMap(weight, axes, in_shape[0], **_rounded(inverse, units))
    return PoolMap(inverse, ConvMap(np.ones((in_shape[0], 1, *a["kernel"])), axes, in_shape[0]), **_rounded(inverse, units))


@_builds("reduce")
def _reduce(node: Node, in_shape):
    kind, axes = node.attrs["kind"], tuple(sorted(node.attrs["axes"]))
    if kind not in ("mean", "sum"):
        return None
    count = math.prod(in_shape[a] for a in axes)
    weight = 1.0 if kind == "sum" else 1.0 / count
    return ReduceMap(in_shape, axes, weight, bool(node.attrs.get("keepdims", False)), **_rounded(np.array([weight]), 0 if kind == "sum" or count & (count - 1) == 0 else 2))


def _positions(shape) -> np.ndarray:
    return np.arange(math.prod(shape)).reshape(shape)


@_builds("expand")
def _expand(node: Node, in_shape):
    return CopyMap(np.broadcast_to(_positions(in_shape), node.shape), in_shape)


@_builds("pad")
def _pad(node: Node, in_shape):
    mode = {"constant": "zeros"}.get(node.attrs.get("mode", "constant"), node.attrs.get("mode", "constant"))
    index = _positions(in_shape)
    for axis, (low, high) in enumerate(node.attrs["pads"]):
        if low == high == 0:
            continue
        if min(low, high) < 0 and mode != "zeros":
            return None
        source = Axis(in_shape[axis], in_shape[axis] + low + high, 1, 1, 1, low, high, mode).source
        index = np.where(_along(source < 0, axis, index.ndim), -1, np.take(index, np.maximum(source, 0), axis=axis))
    return CopyMap(index, in_shape)


def _along(vector: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    return vector.reshape(tuple(-1 if k == axis else 1 for k in range(ndim)))


@_builds("reshape")
def _reshape(node: Node, in_shape):
    return CopyMap(_positions(in_shape).reshape(node.shape), in_shape)


@_builds("transpose")
def _transpose(node: Node, in_shape):
    return CopyMap(_positions(in_shape).transpose(node.attrs["perm"]), in_shape)


@_builds("slice")
def _slice(node: Node, in_shape):
    a = node.attrs
    return CopyMap(_positions(in_shape)[(slice(None),) * a["axis"] + (slice(a["start"], a["stop"], a["step"]),)], in_shape)


@_builds("gather")
def _gather(node: Node, in_shape):
    return CopyMap(np.take(_positions(in_shape), node.arrays["index"], axis=node.attrs["axis"]), in_shape)


@_builds("upsample")
def _upsample(node: Node, in_shape):
    index = _positions(in_shape)
    for axis, factor in enumerate(node.attrs["factors"], start=1):
        index = np.repeat(index, factor, axis=axis)
    return CopyMap(index, in_shape)
