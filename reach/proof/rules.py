"""The checker's rules for the operators of a controller's graph: each takes a walk, a node and the Values of its inputs, and gives the node's Value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from certify.core.errors import CertificateError
from certify.core.graph import GraphBuilder, Node
from certify.core.interval import Interval
from certify.core.rounding import U, up

from . import layers
from .layers import Sets, Value
from .monomials import product


class Walker(Protocol):
    """What a rule needs: the sets that the walk is over, fresh numbers of blocks, and the rule of activations."""

    sets: Sets

    def fresh(self) -> int: ...

    def activate(self, name: str, node: Node, z: Value) -> Value: ...


Rule = Callable[[Walker, Node, list[Value]], Value]


def array(node: Node, key: str) -> np.ndarray:
    """An array that the node must have, in float64."""
    value = node.float64(key)
    if value is None:
        raise CertificateError("a node of the controller lacks an array", where=f"{node.name}.{key}")
    return value


def _moved(node: Node) -> tuple[int, float]:
    """How far the exact weights (in units in the last place) and bias are from the stored ones."""
    return math.ceil(float(node.attrs.get("perturbation", 0))), float(node.attrs.get("bias_perturbation", 0.0))


def _dense(walk: Walker, node: Node, z: list[Value]) -> Value:
    """The last axis through the weight; several rows at once are a block-diagonal matrix."""
    weight, bias = array(node, "weight"), node.float64("bias")
    if len(node.shape) != 1:
        copies = math.prod(node.shape[:-1])
        weight = np.kron(np.eye(copies), weight)
        bias = None if bias is None else np.tile(bias, copies)
    return layers.matrix(z[0], weight, bias, walk.sets, walk.fresh(), _moved(node))


def _linear(walk: Walker, node: Node, z: list[Value]) -> Value:
    """Zero-padded convolutions: every entry of their matrix is a stored weight, found by evaluating the operator on unit vectors."""
    if node.attrs.get("mode", "zeros") != "zeros":
        raise CertificateError("the controller cannot be checked, because the checker has no rule for this padding", where=node.name, found=node.attrs.get("mode"))
    shape = z[0].shape
    n = math.prod(shape)
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": shape})
    arrays = {key: a for key, a in node.arrays.items() if key != "bias"}
    weight = b.build(b.add(node.op, [x], dict(node.attrs), arrays))(np.eye(n).reshape(n, *shape)).reshape(n, -1).T
    bias = node.float64("bias")
    if bias is not None:
        bias = np.repeat(bias, math.prod(node.shape[1:]))
    return layers.matrix(z[0], np.ascontiguousarray(weight), bias, walk.sets, walk.fresh(), _moved(node))


def _activation(walk: Walker, node: Node, z: list[Value]) -> Value:
    return walk.activate(node.name, node, z[0])


def _sum(sign: float) -> Rule:
    return lambda walk, node, z: layers.added(z[0], z[1], sign, walk.sets)


def _product(walk: Walker, node: Node, z: list[Value]) -> Value:
    t, (s, q, m) = walk.sets.table, z[0].P.shape
    c, lost = product(t, z[0].P.reshape(-1, m).T, z[1].P.reshape(-1, m).T)
    return layers.multiplied(z[0], z[1], walk.sets, c.T.reshape(s, q, m), lost.reshape(s, q))


def _extreme(walk: Walker, name: str, a: Value, b: Value, largest_of: bool) -> Value:
    """max(a, b) = b + relu(a - b), min(a, b) = a - relu(a - b)."""
    difference = layers.added(a, b, -1.0, walk.sets)
    gap = walk.activate(name, Node(name, "activation", (), difference.shape, {"kind": "relu"}), difference)
    return layers.added(b if largest_of else a, gap, 1.0 if largest_of else -1.0, walk.sets)


def _pairs(walk: Walker, node: Node, z: list[Value]) -> Value:
    """Sorting in groups of two: the larger and the smaller of two halves, put back in their places."""
    if int(node.attrs["size"]) != 2:
        what = "the controller cannot be checked, because the checker has no rule for sorting groups of this size"
        raise CertificateError(what, where=node.name, found=node.attrs["size"], expected=2)
    axis, shape = int(node.attrs["axis"]), node.shape
    index = np.moveaxis(np.arange(math.prod(shape)).reshape(shape), axis, -1)
    half = shape[axis] // 2
    first, second = (index[..., 0::2], index[..., 1::2]) if node.attrs["layout"] == "consecutive" else (index[..., :half], index[..., half:])
    first, second = first.ravel(), second.ravel()
    whole = layers.promoted(z[0], walk.fresh())
    a, b = (layers.moved(whole, rows, (len(rows),)) for rows in (first, second))
    top, bottom = _extreme(walk, f"{node.name}/max", a, b, True), _extreme(walk, f"{node.name}/min", a, b, False)
    order = np.empty(math.prod(shape), int)
    order[np.concatenate([first, second])] = np.arange(len(order))
    return layers.joined([top, bottom] if node.attrs["descending"] else [bottom, top], order, shape)


def _move(index: Callable[[Node, np.ndarray], np.ndarray]) -> Rule:
    def rule(walk: Walker, node: Node, z: list[Value]) -> Value:
        rows = index(node, np.arange(math.prod(z[0].shape)).reshape(z[0].shape)).ravel()
        source = layers.promoted(z[0], walk.fresh()) if len(np.unique(rows)) < len(rows) else z[0]
        return layers.moved(source, rows, node.shape)

    return rule


def _slice(node: Node, index: np.ndarray) -> np.ndarray:
    cut = [slice(None)] * index.ndim
    cut[int(node.attrs["axis"])] = slice(int(node.attrs["start"]), int(node.attrs["stop"]), int(node.attrs["step"]))
    return index[tuple(cut)]


def _concat(walk: Walker, node: Node, z: list[Value]) -> Value:
    starts = np.cumsum([0, *(math.prod(v.shape) for v in z)])
    order = np.concatenate([np.arange(a, b).reshape(v.shape) for a, b, v in zip(starts, starts[1:], z)], int(node.attrs["axis"]))
    return layers.joined([layers.promoted(v, walk.fresh()) for v in z], order.ravel(), node.shape)


def _scale(walk: Walker, node: Node, z: list[Value]) -> Value:
    value = np.broadcast_to(array(node, "value"), node.shape).reshape(-1).astype(float)
    if node.op == "scale":
        return layers.scaled(z[0], value, 0.0, walk.sets)
    inverse = 1.0 / value
    return layers.scaled(z[0], inverse, 2 * U * np.abs(inverse), walk.sets)


def _batch_norm(walk: Walker, node: Node, z: list[Value]) -> Value:
    """gain x + shift with gain = weight / sqrt(var + eps), shift = bias - gain mean, enclosed."""
    channels = node.shape[0]
    root = (Interval.point(array(node, "var")) + float(node.attrs["eps"])).sqrt()
    weight, bias = (node.float64(key) for key in ("weight", "bias"))
    gain = Interval.point(np.ones(channels) if weight is None else weight) / root
    shift = Interval.point(np.zeros(channels) if bias is None else bias) - gain * array(node, "mean")
    rows = [np.repeat(x, math.prod(node.shape[1:])) for y in (gain, shift) for x in (y.midpoint, up(np.maximum(y.upper - y.midpoint, y.midpoint - y.lower)))]
    return layers.shifted(layers.scaled(z[0], rows[0], rows[1], walk.sets), rows[2], rows[3])


def _constant(walk: Walker, node: Node, z: list[Value]) -> Value:
    value = np.broadcast_to(array(node, "value"), node.shape).reshape(-1)
    count, n = walk.sets.e0.shape
    P = np.zeros((count, len(value), walk.sets.table.size))
    P[..., 0] = value
    return Value(node.shape, P, np.zeros((count, len(value), n)), {}, np.zeros((count, len(value))))


RULES: dict[str, Rule] = {
    "dense": _dense,
    "conv": _linear,
    "conv_transpose": _linear,
    "activation": _activation,
    "add": _sum(1.0),
    "sub": _sum(-1.0),
    "multiply": _product,
    "maximum": lambda walk, node, z: _extreme(walk, node.name, z[0], z[1], True),
    "minimum": lambda walk, node, z: _extreme(walk, node.name, z[0], z[1], False),
    "group_sort": _pairs,
    "scale": _scale,
    "divide": _scale,
    "batch_norm": _batch_norm,
    "constant": _constant,
    "concat": _concat,
    "reshape": _move(lambda node, index: index),
    "transpose": _move(lambda node, index: np.transpose(index, node.attrs["perm"])),
    "expand": _move(lambda node, index: np.broadcast_to(index, node.shape)),
    "slice": _move(_slice),
    "gather": _move(lambda node, index: np.take(index, node.arrays["index"], axis=int(node.attrs["axis"]))),
    "upsample": _move(lambda node, index: _upsampled(index, node.attrs["factors"])),
}


def _upsampled(index: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    for axis, factor in enumerate(factors):
        index = np.repeat(index, int(factor), axis=axis + 1)
    return index
