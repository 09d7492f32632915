"""Program: a Graph as straight-line code over flat vectors: affine maps, activations, sums, products and maxima. What abstraction walkers execute."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from certify.core.activation import Activation, activation, activation_of
from certify.core.errors import UnsupportedLayerError
from certify.core.graph import Graph, GraphBuilder, Node

AFFINE = frozenset("dense conv conv_transpose batch_norm scale divide slice gather reshape transpose expand pad avg_pool upsample".split())
COPIES = frozenset("slice gather reshape transpose expand".split())


@dataclass(frozen=True, eq=False)
class Affine:
    """y = W x + b. The exact matrix and vector differ from the stored floats by at most gamma(roundings) times `size` and `shift_size`, entrywise, and the
    vector by `shift_error` more (what folding, or a decimal, left behind)."""

    source: str
    weight: np.ndarray
    bias: np.ndarray
    size: np.ndarray
    shift_size: np.ndarray
    roundings: int
    shift_error: float = 0.0


@dataclass(frozen=True, eq=False)
class Apply:
    """y = activation(x), entrywise."""

    source: str
    function: Activation


@dataclass(frozen=True, eq=False)
class Combine:
    """y = a + sign * b ("sum"), a * b ("product"), or the larger / smaller of a and b ("maximum", "minimum")."""

    left: str
    right: str
    kind: str
    sign: float = 1.0


@dataclass(frozen=True, eq=False)
class Join:
    """y = the concatenation of the parts, then permuted: y[i] = joined[order[i]]."""

    parts: tuple[str, ...]
    order: np.ndarray


@dataclass(frozen=True, eq=False)
class Constant:
    """y = value."""

    value: np.ndarray


@dataclass(frozen=True, eq=False)
class Program:
    """Instructions by name in order; `input` is the name of the input vector, `output` of the result, `uses` how often each vector is read."""

    input: str
    output: str
    instructions: tuple[tuple[str, Any], ...]
    uses: dict[str, int]


def compile_graph(graph: Graph) -> Program:
    """The program of a Graph.

    Claim: executed in exact arithmetic with each Affine's exact matrix, the program is the graph's function on flattened tensors.
    Raises:
        UnsupportedLayerError: an operator without such a form (matmul of two tensors, softmax, pooling by maximum, sorting of more than pairs), named.
    Cost: one evaluation of each affine operator on the unit vectors of its input.
    """
    instructions: list[tuple[str, Any]] = []
    uses: dict[str, int] = {}
    for node in graph.nodes:
        if node.op == "input":
            continue
        made = list(_instructions(graph, node))
        for _name, instruction in made:
            for name in _reads(instruction):
                uses[name] = uses.get(name, 0) + 1
        instructions.extend(made)
    uses[graph.output] = uses.get(graph.output, 0) + 1
    return Program(graph.input_node.name, graph.output, tuple(instructions), uses)


def _reads(instruction: Any) -> tuple[str, ...]:
    if isinstance(instruction, Combine):
        return instruction.left, instruction.right
    return instruction.parts if isinstance(instruction, Join) else () if isinstance(instruction, Constant) else (instruction.source,)


def _instructions(graph: Graph, node: Node):
    if node.op == "constant":
        yield node.name, Constant(np.broadcast_to(node.arrays["value"].astype(np.float64), node.shape).reshape(-1).copy())
    elif node.op in AFFINE or (node.op == "reduce" and node.attrs["kind"] in ("mean", "sum")):
        yield node.name, affine_of(node, graph.input_shapes(node)[0])
    elif node.op == "activation":
        yield node.name, Apply(node.inputs[0], _flat_activation(node))
    elif node.op in ("add", "sub"):
        left, right = node.inputs
        yield node.name, Combine(left, right, "sum", 1.0 if node.op == "add" else -1.0)
    elif node.op in ("multiply", "maximum", "minimum"):
        left, right = node.inputs
        yield node.name, Combine(left, right, "product" if node.op == "multiply" else node.op)
    elif node.op == "concat":
        shapes, axis = graph.input_shapes(node), int(node.attrs["axis"])
        starts = np.cumsum([0, *(math.prod(s) for s in shapes)])
        index = [np.arange(start, start + math.prod(s)).reshape(s) for start, s in zip(starts, shapes)]
        yield node.name, Join(tuple(node.inputs), np.concatenate(index, axis).reshape(-1))
    elif node.op == "group_sort" and int(node.attrs["size"]) == 2:
        yield from _pairs(graph, node)
    else:
        kind = f" of kind {node.attrs['kind']}" if node.op == "reduce" else f" of groups of {node.attrs['size']}" if node.op == "group_sort" else ""
        raise UnsupportedLayerError(
            f"the layer-wise abstraction has no rule for '{node.op}'{kind}",
            where=node.source or node.name,
            expected="affine layers, activations, sums, products, maxima of two, concatenation",
            hint="controller=reach.Bernstein() abstracts any network with few inputs by its values and a Lipschitz constant",
        )


def _pairs(graph: Graph, node: Node):
    """MaxMin as maximum and minimum of two gathered halves, joined in the node's order."""
    shape, axis, size = node.shape, int(node.attrs["axis"]), math.prod(node.shape)
    index = np.moveaxis(np.arange(size).reshape(shape), axis, -1)
    n = shape[axis]
    consecutive = node.attrs["layout"] == "consecutive"
    first, second = (index[..., 0::2], index[..., 1::2]) if consecutive else (index[..., : n // 2], index[..., n // 2 :])
    first, second = first.reshape(-1), second.reshape(-1)
    source = node.inputs[0]
    for part, rows in (("/a", first), ("/b", second)):
        yield node.name + part, _selection(source, rows, size)
    yield node.name + "/max", Combine(node.name + "/a", node.name + "/b", "maximum")
    yield node.name + "/min", Combine(node.name + "/a", node.name + "/b", "minimum")
    names = (node.name + "/max", node.name + "/min") if node.attrs["descending"] else (node.name + "/min", node.name + "/max")
    order = np.empty(size, int)
    order[np.concatenate([first, second])] = np.arange(size)
    yield node.name, Join(names, order)


def _selection(source: str, rows: np.ndarray, size: int) -> Affine:
    weight = np.zeros((len(rows), size))
    weight[np.arange(len(rows)), rows] = 1.0
    zero = np.zeros(len(rows))
    return Affine(source, weight, zero, weight, zero, 0)


def _flat_activation(node: Node) -> Activation:
    """The activation on the flattened tensor: PReLU's slopes are spread to one per entry."""
    if "slope" in node.arrays:
        return activation(node.attrs["kind"], slope=np.broadcast_to(node.arrays["slope"].astype(np.float64), node.shape).reshape(-1).copy())
    return activation_of(node)


def affine_of(node: Node, shape: tuple[int, ...]) -> Affine:
    """Matrix and vector of an affine operator, by evaluating it on unit vectors.

    Each entry is a sum of products that the operator forms from its arrays: it is within gamma(roundings) of the exact one, relative to the same sum of
    absolute values (`size`), which is the operator with absolute arrays.
    """
    n = math.prod(shape)
    linear, shift = _parts(node)
    weight = _run(linear, shape, np.eye(n).reshape(n, *shape)).reshape(n, -1).T
    bias = _run(shift, shape, np.zeros((1, *shape))).reshape(-1)
    roundings, shift_error = float(node.attrs.get("perturbation", 0)), float(node.attrs.get("bias_perturbation", 0.0))  # see certify.core.fold
    if node.op in COPIES:
        return Affine(node.inputs[0], weight, bias, np.abs(weight), np.abs(bias), 0)
    size = _run(_absolute(linear), shape, np.eye(n).reshape(n, *shape)).reshape(n, -1).T
    shift_size = _run(_absolute(shift), shape, np.zeros((1, *shape))).reshape(-1)
    exact = node.op == "dense"
    taps = (
        int(np.ceil(roundings)) + 1
        if exact
        else int(np.ceil(roundings)) + 16 + max((a.size for k, a in node.arrays.items() if k == "weight"), default=0) + (n if node.op in ("avg_pool", "reduce") else 0)
    )
    return Affine(node.inputs[0], np.ascontiguousarray(weight), bias, np.ascontiguousarray(np.abs(size)), np.abs(shift_size), taps, shift_error)


def _parts(node: Node) -> tuple[Node, Node]:
    """The node without its constant part, and the node itself (whose value at 0 is the constant part)."""
    arrays = dict(node.arrays)
    attrs = dict(node.attrs)
    if node.op == "batch_norm":
        arrays["mean"] = np.zeros_like(arrays["mean"])
    if node.op == "pad" and attrs.get("mode") == "constant":
        attrs["value"] = 0.0
    arrays.pop("bias", None)
    return Node(node.name, node.op, node.inputs, node.shape, attrs, arrays, node.source), node


def _absolute(node: Node) -> Node:
    """The node with absolute arrays (means negated, so that -mean adds up), variances as they are."""
    arrays = {k: a if k in ("var", "index") else -np.abs(a) if k == "mean" else np.abs(a) for k, a in node.arrays.items()}
    attrs = dict(node.attrs)
    if node.op == "pad" and attrs.get("mode") == "constant":
        attrs["value"] = abs(float(attrs.get("value", 0.0)))
    return Node(node.name, node.op, node.inputs, node.shape, attrs, arrays, node.source)


def _run(node: Node, shape: tuple[int, ...], batch: np.ndarray) -> np.ndarray:
    b = GraphBuilder()
    x = b.add("input", attrs={"shape": shape})
    return b.build(b.add(node.op, [x], dict(node.attrs), dict(node.arrays), name="node"))(batch)
