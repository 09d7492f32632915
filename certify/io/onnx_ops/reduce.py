"""Reductions over axes, softmax and its relatives."""

from __future__ import annotations

import math

from ..onnx_network import Network
from ..onnx_values import Call, Tensor
from .registry import operator
from .shape import axes_of

_KINDS = {"ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "max", "ReduceMin": "min"}


def _axes(net: Network, call: Call, x: Tensor) -> tuple[Tensor, list[int], bool]:
    """The tensor, the node axes to reduce (maybe none), keepdims. No axes given: all of them, the batch too, unless noop_with_empty_axes."""
    axes = axes_of(call, 13 if call.op == "ReduceSum" else 18, net.rank(x))
    keep = call.flag("keepdims", 1)
    noop = call.flag("noop_with_empty_axes") if call.opset >= (13 if call.op == "ReduceSum" else 18) else False
    if not axes:
        axes = [] if noop else list(range(net.rank(x)))
    if x.lead and 0 in axes:
        x = net.flat(call, x)
    return x, sorted(a - x.lead for a in axes), keep


@operator("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")
def reduce(net: Network, call: Call) -> Tensor:
    x, axes, keep = _axes(net, call, net.tensor(call, call.input(0)))
    return net.emit(call, "reduce", [x], {"kind": _KINDS[call.op], "axes": tuple(axes), "keepdims": keep}) if axes else x


@operator("ReduceLogSumExp")
def log_sum_exp(net: Network, call: Call) -> Tensor:
    """log(sum(exp(x))): the reduced axes are brought to the end and made one."""
    x, axes, keep = _axes(net, call, net.tensor(call, call.input(0)))
    if not axes:
        return x
    shape = net.shape(x)
    rest = [i for i in range(len(shape)) if i not in axes]
    if rest + axes != list(range(len(shape))):
        x = net.emit(call, "transpose", [x], {"perm": (*rest, *axes)})
    x = net.reshape(call, x, (*(shape[i] for i in rest), math.prod(shape[i] for i in axes)), x.lead)
    y = net.emit(call, "logsumexp", [x], {"axis": len(rest)})
    return net.reshape(call, y, tuple(1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes), y.lead)


@operator("Softmax", "LogSoftmax")
def softmax(net: Network, call: Call) -> Tensor:
    """From opset 13 along one axis (default the last); before, over all axes from `axis` (default 1) on, taken together."""
    call.count(1, 1)
    x, op = net.tensor(call, call.input(0)), {"Softmax": "softmax", "LogSoftmax": "log_softmax"}[call.op]
    axis = call.axis(call.attr("axis", -1 if call.opset >= 13 else 1), net.rank(x))
    if x.lead and axis == 0:
        x = net.flat(call, x)
    axis -= x.lead
    shape = net.shape(x)
    if call.opset >= 13 or math.prod(shape[axis + 1 :]) == 1:
        return net.emit(call, op, [x], {"axis": axis})
    flat = net.reshape(call, x, (*shape[:axis], math.prod(shape[axis:])), x.lead)
    return net.reshape(call, net.emit(call, op, [flat], {"axis": axis}), shape, x.lead)
