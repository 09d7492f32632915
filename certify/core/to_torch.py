"""GraphModule: a Graph as a torch module with the same function, for gradients (attacks, lower ends) and for users of ONNX files.

Nothing here enters a proof. One torch expression per operator; the weights are parameters, everything else a buffer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import InputError
from .evaluate_window import padded_index
from .graph import Graph, Node
from .to_torch_activations import activation_value

_PARAMETERS = ("weight", "bias", "slope")
_PAD_MODES = {"zeros": "constant", "constant": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


class GraphModule(nn.Module):
    """The function of `graph` on batches (n, *input_shape), differentiable, in float64 until `.float()` or `.to(...)`.

    Weights, biases and slopes are parameters, every other array is a buffer; `names` maps (node, key) to the name in `state_dict`. The values
    agree with `graph(x)` up to rounding; no error bound is claimed. The module can be pickled, copied and traced. Cost: as the original network.

    >>> from certify.core.graph import GraphBuilder
    >>> b = GraphBuilder()
    >>> x = b.add("input", attrs={"shape": (2,)})
    >>> module = b.build(b.add("activation", [x], {"kind": "relu"})).to_torch()
    >>> module(torch.tensor([[-1.0, 2.0]], dtype=torch.float64)).tolist()
    [[0.0, 2.0]]
    """

    def __init__(self, graph: Graph):
        super().__init__()
        self.graph = graph
        self.names: dict[tuple[str, str], str] = {}
        for i, node in enumerate(graph.nodes):
            for key, array in node.arrays.items():
                self.names[node.name, key] = name = f"n{i}_{key}"
                if key in _PARAMETERS:
                    self.register_parameter(name, nn.Parameter(torch.tensor(array, dtype=torch.float64)))
                else:
                    self.register_buffer(name, torch.tensor(array, dtype=torch.int64 if key == "index" else torch.float64))
        self._last_use = {name: node.name for node in graph.nodes for name in node.inputs}

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Tensor) and tuple(x.shape[1:]) != self.graph.input_shape:  # a tracer's stand-in has no shape to look at
            raise InputError("a batch does not have the model's input shape", where="GraphModule", found=tuple(x.shape), expected=("n", *self.graph.input_shape))
        values: dict[str, Tensor] = {}
        for node in self.graph.nodes:
            arrays = {key: getattr(self, self.names[node.name, key]) for key in node.arrays}
            if node.op == "input":
                values[node.name] = x
            elif node.op == "constant":
                values[node.name] = arrays["value"].expand(x.shape[0], *node.shape)
            else:
                values[node.name] = _OPERATORS[node.op](Step(node, self.graph.input_shapes(node)), [values[name] for name in node.inputs], arrays)
            for name in set(node.inputs):
                if self._last_use[name] == node.name and name != self.graph.output:
                    del values[name]
        return values[self.graph.output]


@dataclass(frozen=True)
class Step:
    """A node and the shapes of its inputs: every size is known before a tensor is seen."""

    node: Node
    in_shapes: list[tuple[int, ...]]

    @property
    def attrs(self) -> Mapping[str, Any]:
        return self.node.attrs

    @property
    def shape(self) -> tuple[int, ...]:
        return self.node.shape

    @property
    def axis(self) -> int:
        return self.node.attrs["axis"] + 1


Operator = Callable[[Step, list[Tensor], Mapping[str, Tensor]], Tensor]


def _flat_pads(pads) -> list[int]:
    """torch's order: last axis first."""
    return [int(v) for low_high in reversed(pads) for v in low_high]


def _padded(x: Tensor, shape: tuple[int, ...], pads, mode: str, value: float = 0.0) -> Tensor:
    """Pad every axis after the batch. torch copies pixels in the last axes of images only; elsewhere each axis goes through an index."""
    if not any(v for pair in pads for v in pair):
        return x
    if mode == "constant":
        return F.pad(x, _flat_pads(pads), value=value)
    if len(shape) in (2, 3, 4) and not any(pads[0]):
        return F.pad(x, _flat_pads(pads[1:]), mode=mode)
    for axis, (low, high) in enumerate(pads):
        index = padded_index(shape[axis], low, high, mode)
        x = x.index_select(axis + 1, torch.as_tensor(index, device=x.device if isinstance(x, Tensor) else "cpu"))
    return x


def _conv(step: Step, x: list[Tensor], a: Mapping[str, Tensor]) -> Tensor:
    attrs = step.attrs
    image = _padded(x[0], step.in_shapes[0], [(0, 0), *attrs["padding"]], _PAD_MODES[attrs["mode"]])
    function: Any = (F.conv1d, F.conv2d, F.conv3d)[len(step.shape) - 2]
    return function(image, a["weight"], a.get("bias"), attrs["stride"], 0, attrs["dilation"], attrs["groups"])


def _conv_transpose(step: Step, x: list[Tensor], a: Mapping[str, Tensor]) -> Tensor:
    """torch's own where it can say the padding; else the full result, cropped: this is what any (low, high) pair and output_padding mean."""
    attrs = step.attrs
    function: Any = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[len(step.shape) - 2]
    sizes = zip(attrs["padding"], attrs["output_padding"], attrs["stride"], attrs["dilation"])
    if all(low == high and extra < max(s, d) for (low, high), extra, s, d in sizes):
        lows = [low for low, _ in attrs["padding"]]
        return function(x[0], a["weight"], a.get("bias"), attrs["stride"], lows, attrs["output_padding"], attrs["groups"], attrs["dilation"])
    full = function(x[0], a["weight"], None, attrs["stride"], 0, 0, attrs["groups"], attrs["dilation"])
    full = F.pad(full, _flat_pads([(-low, extra - high) for (low, high), extra in zip(attrs["padding"], attrs["output_padding"])]))
    return full if "bias" not in a else full + a["bias"].reshape(-1, *(1,) * (len(step.shape) - 1))


def _batch_norm(step: Step, x: list[Tensor], a: Mapping[str, Tensor]) -> Tensor:
    return F.batch_norm(x[0], a["mean"], a["var"], a.get("weight"), a.get("bias"), False, 0.0, step.attrs["eps"])


def _group_sort(step: Step, x: list[Tensor], _: Mapping[str, Tensor]) -> Tensor:
    axis, size = step.axis, step.attrs["size"]
    count, halves = step.shape[axis - 1] // size, step.attrs["layout"] == "halves"
    split = x[0].unflatten(axis, (size, count) if halves else (count, size))
    return split.sort(dim=axis if halves else axis + 1, descending=step.attrs["descending"]).values.flatten(axis, axis + 1)


def _slice(step: Step, x: list[Tensor], _: Mapping[str, Tensor]) -> Tensor:
    index = [slice(None)] * (len(step.shape) + 1)
    index[step.axis] = slice(step.attrs["start"], step.attrs["stop"], step.attrs["step"])
    return x[0][tuple(index)]


def _max_pool(step: Step, x: list[Tensor], _: Mapping[str, Tensor]) -> Tensor:
    attrs = step.attrs
    function: Any = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(step.shape) - 2]
    if all(low == high and 2 * low <= k for (low, high), k in zip(attrs["padding"], attrs["kernel"])):
        return function(x[0], attrs["kernel"], attrs["stride"], [low for low, _ in attrs["padding"]], attrs["dilation"])
    image = _padded(x[0], step.in_shapes[0], [(0, 0), *attrs["padding"]], "constant", -math.inf)
    return function(image, attrs["kernel"], attrs["stride"], 0, attrs["dilation"])


def _avg_pool(step: Step, x: list[Tensor], a: Mapping[str, Tensor]) -> Tensor:
    attrs = step.attrs
    image = _padded(x[0], step.in_shapes[0], [(0, 0), *attrs["padding"]], "constant")
    function: Any = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(step.shape) - 2]
    return function(image, attrs["kernel"], attrs["stride"]) * (math.prod(attrs["kernel"]) / a["divisor"])


def _reduce(step: Step, x: list[Tensor], _: Mapping[str, Tensor]) -> Tensor:
    axes, keep = tuple(i + 1 for i in step.attrs["axes"]), step.attrs["keepdims"]
    function: Any = {"mean": torch.mean, "sum": torch.sum, "max": torch.amax, "min": torch.amin}[step.attrs["kind"]]
    return function(x[0], axes, keep)


def _upsample(step: Step, x: list[Tensor], _: Mapping[str, Tensor]) -> Tensor:
    y = x[0]
    for axis, factor in enumerate(step.attrs["factors"], start=2):
        y = y.repeat_interleave(factor, dim=axis)
    return y


def _layer_norm(step: Step, x: list[Tensor], a: Mapping[str, Tensor]) -> Tensor:
    shape, eps = step.shape[-step.attrs["dims"] :], float(step.attrs["eps"])
    if step.attrs["center"]:
        return F.layer_norm(x[0], shape, a.get("weight"), a.get("bias"), eps)
    y = F.rms_norm(x[0], shape, a.get("weight"), eps)
    return y + a["bias"] if "bias" in a else y


def _attention(step: Step, x: list[Tensor], _: Mapping[str, Tensor]) -> Tensor:
    return F.scaled_dot_product_attention(x[0], x[1], x[2], is_causal=step.attrs["causal"], scale=float(step.attrs["scale"]))


_OPERATORS: dict[str, Operator] = {
    "dense": lambda s, x, a: F.linear(x[0], a["weight"], a.get("bias")),
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "batch_norm": _batch_norm,
    "scale": lambda s, x, a: x[0] * a["value"],
    "divide": lambda s, x, a: x[0] / a["value"],
    "add": lambda s, x, a: x[0] + x[1],
    "sub": lambda s, x, a: x[0] - x[1],
    "multiply": lambda s, x, a: x[0] * x[1],
    "maximum": lambda s, x, a: torch.maximum(x[0], x[1]),
    "minimum": lambda s, x, a: torch.minimum(x[0], x[1]),
    "matmul": lambda s, x, a: x[0] @ x[1],
    "activation": lambda s, x, a: activation_value(s.node, x[0], a.get("slope"), s.shape),
    "group_sort": _group_sort,
    "concat": lambda s, x, a: torch.cat(x, s.axis),
    "slice": _slice,
    "gather": lambda s, x, a: x[0].index_select(s.axis, a["index"]),
    "reshape": lambda s, x, a: x[0].reshape(x[0].shape[0], *s.shape),
    "transpose": lambda s, x, a: x[0].permute(0, *(i + 1 for i in s.attrs["perm"])),
    "expand": lambda s, x, a: x[0].reshape(x[0].shape[0], *(1,) * (len(s.shape) - len(s.in_shapes[0])), *s.in_shapes[0]).expand(-1, *s.shape),
    "pad": lambda s, x, a: _padded(x[0], s.in_shapes[0], s.attrs["pads"], s.attrs["mode"], float(s.attrs["value"])),
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "reduce": _reduce,
    "softmax": lambda s, x, a: torch.softmax(x[0], s.axis),
    "log_softmax": lambda s, x, a: torch.log_softmax(x[0], s.axis),
    "logsumexp": lambda s, x, a: torch.logsumexp(x[0], s.axis),
    "upsample": _upsample,
    "layer_norm": _layer_norm,
    "attention": _attention,
}
