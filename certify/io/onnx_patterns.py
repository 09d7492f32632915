"""Graph to Graph: reshapes of reshapes, functions written out in pieces (SiLU, GELU, ...), and biases that stand beside their layer.

Each rewriting keeps the function. The written-out activations matter because x * sigmoid(x) as a product of two tensors has no
finite Lipschitz bound by rules, and as SiLU it has.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np

from ..core.graph import Graph, Node

_ULP32 = 2.0**-23


def simplify(graph: Graph) -> tuple[Graph, bool]:
    """The same function in fewer and better known nodes; True if a float32 constant was read as the number it stands for."""
    graph = _reshapes(graph)
    graph, rounded = _gates(graph)
    return _biases(graph), rounded


def _replaced(graph: Graph, new: dict[str, Node]) -> Graph:
    return Graph(tuple(new.get(n.name, n) for n in graph.nodes), graph.output).pruned() if new else graph


def _reshapes(graph: Graph) -> Graph:
    """A reshape of a reshape reads the first one's input; one that changes nothing disappears."""
    new: dict[str, Node] = {}
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        node = replace(node, inputs=tuple(renamed.get(i, i) for i in node.inputs))
        if node.op == "reshape":
            before = new[node.inputs[0]]
            if before.op == "reshape":
                node = replace(node, inputs=before.inputs)
            if new[node.inputs[0]].shape == node.shape and node.name != graph.output:
                renamed[node.name] = node.inputs[0]
        new[node.name] = node
    return _replaced(graph, new)


# --- activations in pieces -------------------------------------------------------------------------------------------------------
class _Reader:
    """Reads sums and products of nodes; `nodes` is what the graph has become so far."""

    def __init__(self, graph: Graph):
        self.nodes = dict(graph.by_name)

    def scalar(self, name: str) -> float | None:
        node = self.nodes[name]
        return _same(node.arrays["value"]) if node.op == "constant" else None

    def peeled(self, name: str) -> list[tuple[float, str]]:
        """(k, y) for every y below, such that the node is k y: scalings by one number taken off, the node itself first."""
        k, found = 1.0, [(1.0, name)]
        while (node := self.nodes[name]).op in ("scale", "divide") and len(found) < 6:
            c = _same(node.arrays["value"])
            if not c:
                break
            k, name = (k * c if node.op == "scale" else k / c), node.inputs[0]
            found.append((k, name))
        return found

    def times(self, name: str, x: str) -> float | None:
        """k when the node is k x."""
        return next((k for k, y in self.peeled(name) if y == x), None)

    def power(self, name: str, x: str, depth: int = 3) -> tuple[float, int] | None:
        """(k, n) when the node is k x^n, n <= 3."""
        for k, y in self.peeled(name):
            if y == x:
                return k, 1
            if self.nodes[y].op == "multiply" and depth:
                parts = [self.power(i, x, depth - 1) for i in self.nodes[y].inputs]
                return (k * parts[0][0] * parts[1][0], parts[0][1] + parts[1][1]) if parts[0] and parts[1] and parts[0][1] + parts[1][1] <= 3 else None
        return None

    def shifted(self, name: str) -> tuple[str, float] | None:
        """(y, c) when the node is y + c with one number c."""
        node = self.nodes[name]
        if node.op != "add":
            return None
        for a, b in (node.inputs, node.inputs[::-1]):
            if (c := self.scalar(b)) is not None and self.nodes[a].op != "constant":
                return a, c
        return None

    def activation(self, name: str, kind: str, **attrs: float) -> str | None:
        """The input of an activation node of that kind and these parameters."""
        node = self.nodes[name]
        return node.inputs[0] if node.op == "activation" and {**node.attrs} == {"kind": kind, **attrs} else None

    def gate(self, x: str, k: float, g: str) -> tuple[dict[str, object], bool] | None:
        """Attributes of the activation that k x g(x) is, and whether a rounded constant was read."""
        inner = self.activation(g, "sigmoid")
        if inner is not None and k == 1.0:
            slope = self.times(inner, x)
            return ({"kind": "silu"}, False) if slope == 1.0 else ({"kind": "quick_gelu"}, True) if _near(slope, 1.702) else None
        if (inner := self.activation(g, "tanh")) is not None and k == 1.0 and self.activation(inner, "softplus", beta=1.0) == x:
            return {"kind": "mish"}, False
        if (inner := self.activation(g, "tanh")) is not None and k == 1.0 and self.activation(inner, "softplus") == x:
            return {"kind": "mish"}, False
        if (moved := self.shifted(g)) and moved[1] == 1.0 and k == 0.5:
            if (inner := self.activation(moved[0], "erf")) is not None and _near(self.times(inner, x), math.sqrt(0.5)):
                return {"kind": "gelu", "approximate": "none"}, True
            if (inner := self.activation(moved[0], "tanh")) is not None and self._cubic(inner, x):
                return {"kind": "gelu", "approximate": "tanh"}, True
        return self._hardswish(x, k, g)

    def _hardswish(self, x: str, k: float, g: str) -> tuple[dict[str, object], bool] | None:
        """x clip(x / 6 + 1/2, 0, 1), or x clip(x + 3, 0, 6) / 6."""
        for end, slope, shift, factor in ((1.0, 1 / 6, 0.5, 1.0), (6.0, 1.0, 3.0, 1 / 6)):
            inner = self.activation(g, "hardtanh", min=0.0, max=end)
            moved = self.shifted(inner) if inner is not None else None
            if moved and moved[1] == shift and _near(self.times(moved[0], x), slope) and _near(k, factor):
                return {"kind": "hardswish"}, True
        return None

    def _cubic(self, name: str, x: str) -> bool:
        """sqrt(2 / pi) (x + 0.044715 x^3)."""
        for k, y in self.peeled(name):
            if self.nodes[y].op == "add" and _near(k, math.sqrt(2 / math.pi)):
                for a, b in (self.nodes[y].inputs, self.nodes[y].inputs[::-1]):
                    cube = self.power(b, x) if a == x else None
                    if cube and cube[1] == 3 and _near(cube[0], 0.044715):
                        return True
        return False

    def written_out(self, name: str) -> tuple[str, dict[str, object], bool] | None:
        """(x, attributes, rounded) when the node is k x g(x) for a gate g that makes a known activation."""
        outer, m = self.peeled(name)[-1]
        if self.nodes[m].op != "multiply":
            return None
        for u, v in (self.nodes[m].inputs, self.nodes[m].inputs[::-1]):
            for kx, x in self.peeled(u):
                for kg, g in self.peeled(v):
                    found = self.gate(x, outer * kx * kg, g)
                    if found and self.nodes[x].shape == self.nodes[name].shape:
                        return x, *found
        return None


def _same(array: np.ndarray) -> float | None:
    """The number that every entry is, or None."""
    first = float(array.flat[0])
    return first if np.all(array == first) else None


def _near(value: float | None, number: float) -> bool:
    """Is the value the number within one float32 rounding (or several float64 ones)?"""
    return value is not None and abs(value - number) <= _ULP32 * number


def _gates(graph: Graph) -> tuple[Graph, bool]:
    reader, new, rounded = _Reader(graph), {}, False
    for node in graph.nodes:
        found = reader.written_out(node.name) if node.op in ("multiply", "scale", "divide") else None
        if found:
            x, attrs, inexact = found
            new[node.name] = reader.nodes[node.name] = Node(node.name, "activation", (x,), node.shape, attrs, {}, node.source)
            rounded = rounded or inexact
    return _replaced(graph, new), rounded


# --- biases ----------------------------------------------------------------------------------------------------------------------
def _biases(graph: Graph) -> Graph:
    """dense or conv without bias, then plus or minus a constant per output channel: the constant becomes the bias (exact)."""
    uses = Counter(i for node in graph.nodes for i in node.inputs)
    uses[graph.output] += 1
    nodes: list[Node] = []
    place: dict[str, int] = {}
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        layer = _layer_and_bias(graph, node, uses)
        if layer is None:
            place[node.name] = len(nodes)
            nodes.append(replace(node, inputs=tuple(renamed.get(i, i) for i in node.inputs)))
            continue
        old, bias = layer
        before = nodes[place[old]]
        nodes[place[old]] = replace(before, arrays={**before.arrays, "bias": bias}, source=f"{before.source} + {node.source}")
        renamed[node.name] = old
    return Graph(tuple(nodes), renamed.get(graph.output, graph.output)).pruned() if renamed else graph


def _layer_and_bias(graph: Graph, node: Node, uses: Counter) -> tuple[str, np.ndarray] | None:
    if node.op not in ("add", "sub"):
        return None
    pairs = [node.inputs] if node.op == "sub" else [node.inputs, node.inputs[::-1]]
    for a, b in pairs:
        layer, constant = graph[a], graph[b]
        if layer.op in ("dense", "conv", "conv_transpose") and "bias" not in layer.arrays and uses[a] == 1 and constant.op == "constant":
            value = constant.arrays["value"]
            axis = value.ndim - 1 if layer.op == "dense" else 0
            bias = np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1)
            if np.all(bias == bias[:, :1]):
                return a, -bias[:, 0] if node.op == "sub" else bias[:, 0]
    return None
