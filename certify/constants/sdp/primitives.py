"""A Graph in two kinds of parts: linear maps of earlier tensors, and blocks with a multiplier each.

A block stands for dphi = m o dz + psi with, for each of its groups g, |psi_g|_2 <= |(r o dz)_g|_2 for any two runs of the network:
- an activation: one group per neuron, m = (lo + hi)/2, r = (hi - lo)/2 of its exact slope range [lo, hi];
- max(a, b) = (a + b)/2 + |a - b|/2, so maxima, minima, MaxMin and max pools are linear maps and `abs` (slopes [-1, 1]) of differences;
- GroupSort of more than two: sorting keeps the mean and is 1-Lipschitz on the rest: dphi = mean part + (psi - its mean), |psi_g| <= |dz_g - mean|;
- anything else with a finite l2 constant c (softmax, layer normalisation): one group, m = 0, r = c.
"""

from __future__ import annotations

import math

import numpy as np

from ...core.activation import activation_of
from ...core.errors import UnsupportedLayerError
from ...core.fold import fold_affine
from ...core.graph import Graph, Node
from ...core.midrad import MidRad, kept
from ...core.rounding import U, gamma, up
from ...linear.build import linear_map
from ...rules.base import rule_for
from .parts import Block, Linear, Part, Parts, identity, rows
from .selections import group_sort, max_pool, maximum, reduce

__all__ = ["Block", "Linear", "Part", "Parts", "parts_of"]


def parts_of(graph: Graph) -> Parts:
    """The parts of the folded graph.

    Raises:
        UnsupportedLayerError: an operator without a finite l2 constant.
    """
    graph = fold_affine(graph).pruned()
    out = Parts(graph.input_node.name, math.prod(graph.input_shape), graph.output)
    for node in graph.nodes:
        if node.op != "input":
            _BUILD.get(node.op, _affine_or_generic)(out, node, graph.input_shapes(node))
    return out


def _affine_or_generic(out: Parts, node: Node, shapes: list[tuple[int, ...]]) -> None:
    matrix = linear_map(node, shapes[0]) if node.inputs else None
    if matrix is None:
        _generic(out, node, shapes)
        return
    mid = matrix.sparse()
    majorant = matrix.absolute().sparse()
    share = matrix.perturbation + (gamma(matrix.entry_sums + 1) if matrix.entry_sums > 1 else 0.0)
    radius = None if share == 0 else majorant._with_data(up(majorant.data * (share * (1 + 8 * U))))
    if matrix.underflow:
        mid = mid.toarray()
        radius = up((0.0 if radius is None else radius.toarray()) + matrix.underflow)
    mid = kept(mid)
    if radius is not None and isinstance(mid, np.ndarray) and not isinstance(radius, np.ndarray):
        radius = radius.toarray()
    out.linear(node.name, (node.inputs[0], MidRad(mid, radius)))


def _generic(out: Parts, node: Node, shapes: list[tuple[int, ...]]) -> None:
    local = rule_for(node.op, node.source or node.name).local(node, shapes, "l2", "balanced")
    if len(local.constants) != 1 or not math.isfinite(local.constants[0]):
        raise UnsupportedLayerError("the semidefinite bounds have no description of this operator", where=node.source or node.name, found=node.op, hint="method='product'")
    before, size = math.prod(shapes[0]), math.prod(node.shape)
    c = np.full(before, local.constants[0])
    out.add(node.name, Block(size, node.inputs[0], -c, c, np.zeros(before, np.int64), np.zeros(size, np.int64)))


def _activation(out: Parts, node: Node, shapes: list[tuple[int, ...]]) -> None:
    lo, hi = activation_of(node).slope_range_on(np.full(node.shape, -np.inf), np.full(node.shape, np.inf))
    out.add(node.name, Block(lo.size, node.inputs[0], lo.ravel(), hi.ravel(), node=node.name))


def _sum(out: Parts, node: Node, shapes: list[tuple[int, ...]]) -> None:
    size, sign = math.prod(node.shape), -1.0 if node.op == "sub" else 1.0
    out.linear(node.name, (node.inputs[0], identity(size)), (node.inputs[1], identity(size, sign)))


def _concat(out: Parts, node: Node, shapes: list[tuple[int, ...]]) -> None:
    axis, start, terms = node.attrs["axis"] % len(node.shape), 0, []
    for name, shape in zip(node.inputs, shapes, strict=True):
        places = np.full(node.shape, -1)
        places[(slice(None),) * axis + (slice(start, start + shape[axis]),)] = np.arange(math.prod(shape)).reshape(shape)
        terms.append((name, rows(places.ravel(), math.prod(shape))))
        start += shape[axis]
    out.linear(node.name, *terms)


def _constant(out: Parts, node: Node, shapes: list[tuple[int, ...]]) -> None:
    out.add(node.name, Linear(math.prod(node.shape), ()))


def _reduce(out: Parts, node: Node, shapes: list[tuple[int, ...]]) -> None:
    (reduce if node.attrs["kind"] in ("max", "min") else _affine_or_generic)(out, node, shapes)


_BUILD = {
    "activation": _activation, "add": _sum, "sub": _sum, "concat": _concat, "constant": _constant, "maximum": maximum, "minimum": maximum,
    "max_pool": max_pool, "reduce": _reduce, "group_sort": group_sort,
}  # fmt: skip
