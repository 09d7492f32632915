"""MaxPool, AveragePool and their global forms."""

from __future__ import annotations

import numpy as np

from ..onnx_network import Network
from ..onnx_values import Call, Tensor
from .registry import operator
from .window import Window


@operator("MaxPool")
def max_pool(net: Network, call: Call) -> Tensor:
    """Padding never wins: it counts as minus infinity."""
    call.count(1, 1)
    call.flag("storage_order")  # orders the second output, the indices, which is not supported
    x = net.absorb(call, call.input(0))
    w = Window.read(net, call, x, None, ceil=call.opset >= 10 and call.flag("ceil_mode"))
    return net.emit(call, "max_pool", [x], {"kernel": w.kernel, "stride": w.stride, "padding": w.padding, "dilation": w.dilation})


@operator("AveragePool")
def average_pool(net: Network, call: Call) -> Tensor:
    """The divisor of a window counts its real entries; with count_include_pad also the padding that was asked for, but never what ceil_mode adds."""
    call.count(1, 1)
    x = net.absorb(call, call.input(0))
    include = call.flag("count_include_pad")
    w = Window.read(net, call, x, None, ceil=call.opset >= 10 and call.flag("ceil_mode"))
    if any(d != 1 for d in w.dilation):
        raise call.unsupported("an average pool with dilation", found=w.dilation, expected="dilations 1")
    divisor = np.ones((), dtype=np.float64)
    net.check_size(call, w.sizes)
    net.charge(call, 8 * int(np.prod(w.sizes)))
    for axis, size in enumerate(net.shape(x)[1:]):
        low, high = w.asked[axis]
        starts = np.arange(w.sizes[axis]) * w.stride[axis] - low
        least, most = (-low, size + high) if include else (0, size)
        counts = np.minimum(starts + w.kernel[axis], most) - np.maximum(starts, least)
        if counts.min() < 1:
            raise call.invalid("a window of the average holds no entry", found=f"padding {w.padding}, kernel {w.kernel}", expected="at least one entry in every window")
        divisor = np.multiply.outer(divisor, counts.astype(np.float64))
    return net.emit(call, "avg_pool", [x], {"kernel": w.kernel, "stride": w.stride, "padding": w.padding}, {"divisor": divisor})


@operator("GlobalAveragePool", "GlobalMaxPool")
def global_pool(net: Network, call: Call) -> Tensor:
    """Mean or maximum of each channel, spatial axes kept with size 1."""
    call.count(1, 1)
    x = net.absorb(call, call.input(0))
    axes = tuple(range(1, len(net.shape(x))))
    if not axes:
        return x
    return net.emit(call, "reduce", [x], {"kind": "mean" if call.op == "GlobalAveragePool" else "max", "axes": axes, "keepdims": True})
