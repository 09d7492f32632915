"""Node and Graph: a network as plain numpy data over a closed vocabulary of operators.

No torch here. A Graph is made by `core.trace` (torch modules) or `io.onnx` (ONNX files), read by the rules,
the walkers and the checker, and never changed: a pass takes a graph and returns a graph.

The vocabulary. Shapes never contain the batch axis, axis 0 is the first axis after it; `padding` is one
(low, high) pair per spatial axis; an image tensor is (channels, *spatial).

| op | inputs | attrs | arrays |
|---|---|---|---|
| input | - | shape | |
| constant | - | | value (any shape; no batch axis) |
| dense | x | | weight (out, in), [bias (out,)]; acts on the last axis |
| conv | x | stride, padding, dilation, groups, mode: zeros circular reflect replicate | weight (c_out, c_in/groups, *kernel), [bias] |
| conv_transpose | x | stride, padding, output_padding, dilation, groups | weight (c_in, c_out/groups, *kernel), [bias] |
| batch_norm | x | eps | mean, var, [weight], [bias], each (channels,); axis 0: weight (x - mean) / sqrt(var + eps) + bias |
| scale / divide | x | | value, broadcastable to x: x * value, x / value |
| add / sub / multiply / maximum / minimum | x, y of one shape | | |
| matmul | x, y | | |
| activation | x | kind, and the kind's own parameters | [slope] of prelu, broadcastable to x |
| group_sort | x | axis, size, layout: consecutive halves, descending: bool | |
| concat | x, y, ... | axis | |
| slice | x | axis, start, stop, step >= 1 | |
| gather | x | axis | index (int64, one-dimensional) |
| reshape / transpose / expand | x | shape / perm / shape | |
| pad | x | pads (one pair per axis), mode: constant reflect replicate circular, value | |
| max_pool | x | kernel, stride, padding, dilation | |
| avg_pool | x | kernel, stride, padding | divisor, shape of the output's spatial axes |
| reduce | x | kind: mean sum max min, axes, keepdims | |
| softmax / log_softmax / logsumexp | x | axis | |
| layer_norm | x | dims, eps > 0, center: bool | [weight], [bias], each of the shape of the last `dims` axes |
| attention | q (..., N, d), k (..., M, d), v (..., M, e) | scale, causal: bool | |
| upsample | x | factors, one integer per spatial axis; nearest | |

`layer_norm`, over the last `dims` axes taken as one group of n entries: weight c / sqrt(|c|_2^2 / n + eps) + bias with c = x - mean(x), or c = x
when `center` is false (RMSNorm). `attention`: o_i = sum over j of softmax_j(scale <q_i, k_j>) v_j for each index of the leading axes; `causal`
keeps the j <= i.

`group_sort`, layout consecutive: the axis is cut into runs of `size`, each sorted. Layout halves: group i
holds the entries i + j * (n / size), j < size (the chunk form of MaxMin). `descending=False` puts the smallest first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from .errors import InputError

VOCABULARY = frozenset(
    """input constant dense conv conv_transpose batch_norm scale divide add sub multiply maximum minimum matmul activation
    group_sort concat slice gather reshape transpose expand pad max_pool avg_pool reduce softmax log_softmax logsumexp
    upsample layer_norm attention""".split()
)


def _frozen(value: Any) -> Any:
    """JSON-like value with tuples for lists and Python scalars for numpy ones, so that equal attrs compare and digest equal."""
    if isinstance(value, list | tuple):
        return tuple(_frozen(v) for v in value)
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True, eq=False)
class Node:
    """One operator of a graph.

    `name` is unique in its graph and is what tables and errors print; `shape` is the output's, without the batch axis;
    `source` says where in the user's model it came from. Arrays keep the dtype of the model (float32 or float64; int64
    for indices) and are read-only; float64 holds each exactly.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self):
        if self.op not in VOCABULARY:
            raise InputError(f"'{self.op}' is not an operator of the graph vocabulary", where=self.name, expected=", ".join(sorted(VOCABULARY)))
        arrays = {}
        for key, value in self.arrays.items():
            array = np.array(value, order="C")
            if array.dtype not in (np.float32, np.float64, np.int64):
                raise InputError("an array of a graph node has a dtype that is not supported", where=f"{self.name}.{key}", found=array.dtype, expected="float32, float64 or int64")
            if not np.isfinite(array).all():
                bad = int(np.argmin(np.isfinite(array).ravel()))
                raise InputError(
                    "a weight is not finite",
                    where=f"{self.name}.{key}, flat index {bad}",
                    found=array.ravel()[bad],
                    expected="finite numbers",
                    hint="check the training run or the file: the model itself is broken",
                )
            array.setflags(write=False)
            arrays[key] = array
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "attrs", MappingProxyType({k: _frozen(v) for k, v in self.attrs.items()}))
        object.__setattr__(self, "arrays", MappingProxyType(arrays))

    def __getstate__(self):
        return {**self.__dict__, "attrs": dict(self.attrs), "arrays": dict(self.arrays)}

    def __setstate__(self, state):
        self.__dict__.update(state, attrs=MappingProxyType(state["attrs"]), arrays=MappingProxyType(state["arrays"]))

    def float64(self, key: str) -> np.ndarray | None:
        """The array as float64 (exact), or None if the node has none of that name."""
        return None if key not in self.arrays else self.arrays[key].astype(np.float64)


@dataclass(frozen=True, eq=False)
class Graph:
    """An immutable network: nodes in topological order, exactly one input, one output.

    Guarantee: every node's inputs come before it and its stored shape equals `core.shapes.infer_shape` of them.
    Call it on a numpy batch (n, *input_shape) for the float64 value (an estimate of the exact real value; `robustness.margins`
    bounds the difference). `digest` is the SHA-256 of structure and weights; names and sources do not enter it.
    """

    nodes: tuple[Node, ...]
    output: str

    def __post_init__(self):
        object.__setattr__(self, "nodes", tuple(self.nodes))
        from .shapes import infer_shape

        seen: dict[str, Node] = {}
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in seen]
            if missing or node.name in seen:
                raise InputError("graph nodes are not in topological order with unique names", where=node.name, found=missing or "name used twice")
            shape = infer_shape(node.op, [seen[name].shape for name in node.inputs], node.attrs, {k: a.shape for k, a in node.arrays.items()}, where=node.name)
            if shape != node.shape:
                raise InputError("a node's stored shape is not what its inputs give", where=node.name, found=node.shape, expected=shape)
            seen[node.name] = node
        if self.output not in seen or sum(node.op == "input" for node in self.nodes) != 1:
            raise InputError("a graph needs exactly one input and its output among its nodes", found=f"output '{self.output}', {sum(n.op == 'input' for n in self.nodes)} inputs")

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        return MappingProxyType({node.name: node for node in self.nodes})

    def __getitem__(self, name: str) -> Node:
        return self.by_name[name]

    def __getstate__(self):
        return {"nodes": self.nodes, "output": self.output}

    @property
    def input_node(self) -> Node:
        return next(node for node in self.nodes if node.op == "input")

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.input_node.shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self[self.output].shape

    def input_shapes(self, node: Node) -> list[tuple[int, ...]]:
        """Shapes of a node's inputs, in order and with multiplicity."""
        return [self[name].shape for name in node.inputs]

    def pruned(self) -> Graph:
        """The same function without nodes that the output does not depend on (the input always stays)."""
        needed, stack = {self.input_node.name}, [self.output]
        while stack:
            name = stack.pop()
            if name not in needed or name == self.input_node.name:
                needed.add(name)
                stack.extend(n for n in self[name].inputs if n not in needed)
        return Graph(tuple(node for node in self.nodes if node.name in needed), self.output)

    @cached_property
    def digest(self) -> str:
        from .record import digest_graph

        return digest_graph(self)

    def __call__(self, inputs) -> np.ndarray:
        from .evaluate import evaluate

        return evaluate(self, inputs)

    def to_torch(self):
        """A `torch.nn.Module` with the same function and the weights as parameters (loads torch)."""
        from .to_torch import GraphModule

        return GraphModule(self)


class GraphBuilder:
    """Collects nodes in order, names them uniquely and infers their shapes; `build` gives the immutable Graph."""

    def __init__(self):
        self._nodes: dict[str, Node] = {}

    def add(self, op: str, inputs=(), attrs=None, arrays=None, name: str = "", source: str = "") -> str:
        """Append a node and return the name it got (`name`, made unique)."""
        from .shapes import infer_shape

        base = name or op
        unique, k = base, 1
        while unique in self._nodes:
            k += 1
            unique = f"{base}#{k}"
        attrs, arrays = dict(attrs or {}), {k: np.asarray(v) for k, v in (arrays or {}).items() if v is not None}
        shape = infer_shape(op, [self._nodes[i].shape for i in inputs], {k: _frozen(v) for k, v in attrs.items()}, {k: a.shape for k, a in arrays.items()}, where=source or unique)
        self._nodes[unique] = Node(unique, op, tuple(inputs), shape, attrs, arrays, source)
        return unique

    def __getitem__(self, name: str) -> Node:
        return self._nodes[name]

    def build(self, output: str) -> Graph:
        return Graph(tuple(self._nodes.values()), output).pruned()
