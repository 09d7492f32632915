"""Operators that are known from the file alone or that only ask for a shape: Shape, Size, Constant."""

from __future__ import annotations

import math

import numpy as np

from ..onnx_network import Network
from ..onnx_values import Call, Const
from .registry import operator


@operator("Shape")
def shape(net: Network, call: Call) -> Const:
    """The sizes of all axes, or of a range of them (from opset 15); a symbolic batch stays a symbol."""
    call.count(1, 1)
    sizes = net.known_shape(call.input(0))
    if call.opset >= 15:
        start, end = call.attr("start", 0), call.attr("end", len(sizes))
        low, high, _ = slice(start, end).indices(len(sizes))
        sizes = sizes[low:high]
    symbolic = any(not isinstance(n, int) for n in sizes)
    return Const(np.array(sizes, dtype=object if symbolic else np.int64))


@operator("Size")
def size(net: Network, call: Call) -> Const:
    call.count(1, 1)
    sizes = net.known_shape(call.input(0))
    if any(not isinstance(n, int) for n in sizes):
        raise call.unsupported("the number of entries depends on the batch")
    return Const(np.array(math.prod(sizes), dtype=np.int64))


@operator("Constant")
def constant(net: Network, call: Call) -> Const:
    """A stored tensor, or a list of numbers (from opset 12)."""
    call.count(0, 0)
    if len(call.attributes) != 1:
        raise call.invalid("exactly one value is expected", found=sorted(call.attributes))
    name = next(iter(call.attributes))
    kinds = {"value": np.ndarray, "value_float": float, "value_floats": list, "value_int": int, "value_ints": list}
    if name not in kinds or (name != "value" and call.opset < 12):
        raise call.unsupported("a constant of a kind that is not known for this opset", found=name, expected=", ".join(kinds))
    value = call.attr(name, None, kinds[name])
    if name == "value":
        return Const(value)
    return Const(np.array(value, dtype=np.float32 if "float" in name else np.int64))
