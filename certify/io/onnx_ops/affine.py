"""Gemm, MatMul, Conv, ConvTranspose, BatchNormalization."""

from __future__ import annotations

import math

import numpy as np

from ..error_free import exact_product
from ..onnx_network import Network
from ..onnx_values import Call, Const, Tensor, Value
from .registry import operator
from .window import Window


@operator("MatMul")
def matmul(net: Network, call: Call) -> Tensor:
    """numpy.matmul; with a stored matrix on either side it is a dense layer (the left one acts on the last axis but one)."""
    call.count(2, 2)
    return product(net, call, call.input(0), call.input(1))


@operator("Gemm")
def gemm(net: Network, call: Call) -> Tensor:
    """alpha A' B' + beta C."""
    call.count(2 if call.opset >= 11 else 3, 3)
    a, b, c = call.input(0), call.input(1), call.optional(2)
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    a, b = _matrix(net, call, a, call.flag("transA")), _matrix(net, call, b, call.flag("transB"))
    result = product(net, call, a, b)
    if alpha != 1.0:
        result = net.emit(call, "scale", [result], None, {"value": np.array(alpha)})
    if c is None or beta == 0.0:
        return result
    return _add(net, call, result, _scaled(net, call, c, beta))


def _matrix(net: Network, call: Call, value: Value, transpose: bool) -> Value:
    if net.rank(value) != 2:
        raise call.invalid("an operand is not a matrix", found=f"shape {net.full(value)}", expected="two axes")
    if not transpose:
        return value
    if isinstance(value, Const):
        return Const(value.array.T)
    return net.emit(call, "transpose", [net.flat(call, value)], {"perm": (1, 0)})


def _scaled(net: Network, call: Call, value: Value, factor: float) -> Value:
    if factor == 1.0:
        return value
    if isinstance(value, Const):
        if not value.is_float:
            raise call.invalid("C is not a float tensor", found=value.array.dtype)
        scaled = exact_product(value.array, np.array(factor))
        if scaled is not None:
            return Const(scaled)
    return net.emit(call, "scale", [net.tensor(call, value)], None, {"value": np.array(factor)})


def _add(net: Network, call: Call, x: Tensor, c: Value) -> Tensor:
    operands, lead = net.align(call, [x, c])
    shape = net.broadcast(call, operands)
    if math.prod(shape) != math.prod(net.shape(x)):
        raise call.invalid("C does not broadcast to the product", found=net.full(c), expected=net.full(x))
    return net.emit(call, "add", [net.spread(call, o, shape, lead) for o in operands], lead=lead)


def product(net: Network, call: Call, a: Value, b: Value) -> Tensor:
    """a @ b by numpy's rules (1-D operands too)."""
    if 0 in (net.rank(a), net.rank(b)):
        raise call.invalid("an operand is a scalar", found=f"{net.full(a)} @ {net.full(b)}")
    if net.full(a)[-1] != net.full(b)[-2 if net.rank(b) > 1 else 0]:
        raise call.invalid("the inner sizes differ", found=f"{net.full(a)} @ {net.full(b)}", expected="(..., i, k) @ (..., k, j)")
    for value in (a, b):
        if isinstance(value, Const) and not value.is_float:
            raise call.invalid("an operand is not a float tensor", found=value.array.dtype)
    if isinstance(a, Tensor) and isinstance(b, Const) and _plain(net, b, a):
        return _right(net, call, a, _squeezed(b.array))
    if isinstance(a, Const) and isinstance(b, Tensor) and _plain(net, a, b):
        return _left(net, call, _squeezed(a.array), b)
    return _general(net, call, a, b)


def _plain(net: Network, weight: Const, x: Tensor) -> bool:
    """One matrix (or vector) for every entry of x's other axes."""
    return weight.array.ndim <= 2 or (weight.array.ndim <= net.rank(x) and math.prod(weight.array.shape[:-2]) == 1)


def _squeezed(weight: np.ndarray) -> np.ndarray:
    return weight.reshape(weight.shape[-2:])


def _right(net: Network, call: Call, x: Tensor, weight: np.ndarray) -> Tensor:
    """x @ weight: dense on the last axis."""
    if net.rank(x) == 1:
        x = net.flat(call, x)
    matrix = weight.T if weight.ndim == 2 else weight[None, :]
    y = net.emit(call, "dense", [x], None, {"weight": matrix})
    return y if weight.ndim == 2 else net.reshape(call, y, net.shape(y)[:-1], y.lead)


def _left(net: Network, call: Call, weight: np.ndarray, x: Tensor) -> Tensor:
    """weight @ x: dense on the last axis but one, by two transposes (none for a vector x)."""
    if net.rank(x) <= 2:
        x = net.flat(call, x)
    matrix = weight if weight.ndim == 2 else weight[None, :]
    if net.rank(x) == 1:
        y = net.emit(call, "dense", [x], None, {"weight": matrix})
    else:
        y = _swap(net, call, net.emit(call, "dense", [_swap(net, call, x)], None, {"weight": matrix}))
    if weight.ndim == 2:
        return y
    shape = net.shape(y)
    return net.reshape(call, y, shape[1:] if net.rank(x) == 1 else (*shape[:-2], shape[-1]), y.lead)


def _swap(net: Network, call: Call, x: Tensor) -> Tensor:
    n = len(net.shape(x))
    return net.emit(call, "transpose", [x], {"perm": (*range(n - 2), n - 1, n - 2)})


def _general(net: Network, call: Call, a: Value, b: Value) -> Tensor:
    """Both operands as nodes of one rank, leading axes made equal, then `matmul`. A batch in front of `a` stays in front."""
    fa, fb = net.full(a), net.full(b)
    a2, b2 = ((1, *fa) if len(fa) == 1 else fa), ((*fb, 1) if len(fb) == 1 else fb)
    left, right = net.tensor(call, a), net.tensor(call, b)
    both = left.lead and right.lead and len(fa) == len(fb) > 2
    only = left.lead and not right.lead and len(fa) > 1 and len(b2) <= max(2, len(fa) - 1)
    if both:
        a2, b2 = a2[1:], b2[1:]
    elif only:
        a2 = a2[1:] if len(a2) > 2 else a2  # (batch, k): one row per sample, (1, k)
    else:
        left, right = net.flat(call, left), net.flat(call, right)
    lead = both or only
    try:
        outer = np.broadcast_shapes(a2[:-2], b2[:-2])
    except ValueError as error:
        raise call.invalid("the leading axes do not broadcast", found=f"{fa} @ {fb}") from error
    left = net.spread(call, net.reshape(call, left, a2, lead), (*outer, *a2[-2:]), lead)
    right = net.spread(call, net.reshape(call, right, b2, lead), (*outer, *b2[-2:]), lead)
    y = net.emit(call, "matmul", [left, right], lead=lead)
    rows = () if len(fa) == 1 or (only and len(fa) == 2) else (a2[-2],)
    columns = (b2[-1],) if len(fb) > 1 else ()
    return net.reshape(call, y, (*outer, *rows, *columns), lead)


@operator("Conv")
def conv(net: Network, call: Call) -> Tensor:
    """Cross-correlation, 1 to 3 spatial axes, groups, dilation, asymmetric padding."""
    call.count(2, 3)
    x, weight = net.absorb(call, call.input(0)), call.weight(1, "kernel W")
    window = Window.read(net, call, x, weight.shape[2:])
    bias = None if call.optional(2) is None else call.weight(2, "bias B")
    attrs = {"stride": window.stride, "padding": window.padding, "dilation": window.dilation, "groups": call.attr("group", 1), "mode": "zeros"}
    return net.emit(call, "conv", [x], attrs, {"weight": weight, "bias": bias})


@operator("ConvTranspose")
def conv_transpose(net: Network, call: Call) -> Tensor:
    """The adjoint of Conv; padding from pads, auto_pad or output_shape."""
    call.count(2, 3)
    x, weight = net.absorb(call, call.input(0)), call.weight(1, "kernel W")
    window = Window.read(net, call, x, weight.shape[2:], transposed=True)
    bias = None if call.optional(2) is None else call.weight(2, "bias B")
    attrs = {"stride": window.stride, "padding": window.padding, "output_padding": window.output_padding, "dilation": window.dilation, "groups": call.attr("group", 1)}
    return net.emit(call, "conv_transpose", [x], attrs, {"weight": weight, "bias": bias})


@operator("BatchNormalization")
def batch_norm(net: Network, call: Call) -> Tensor:
    """Inference only: scale (x - mean) / sqrt(var + epsilon) + B, per channel."""
    call.count(5, 5)
    call.attr("momentum", 0.9)
    trains = call.flag("training_mode") if call.opset >= 14 else call.outputs > 1
    if trains or call.outputs > 1 or (call.opset < 9 and call.attr("spatial", 1) != 1):
        raise call.unsupported("batch normalisation in training mode, or not per channel", expected="training_mode 0 and one output", hint="export the model after model.eval()")
    x = net.absorb(call, call.input(0))
    names = ("weight", "bias", "mean", "var")
    arrays = {name: call.weight(i, name) for i, name in enumerate(names, 1)}
    eps = call.number("epsilon", 1e-5)
    if not float(arrays["var"].min(initial=np.inf)) + eps > 0:
        raise call.invalid("a variance is not positive", found=float(arrays["var"].min(initial=np.inf)), expected=f"var + epsilon > 0, epsilon = {eps}")
    return net.emit(call, "batch_norm", [x], {"eps": eps}, arrays)
