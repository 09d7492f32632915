"""Functions of one entry. What ONNX parametrises differently from the graph is written as a composition that is exactly equal."""

from __future__ import annotations

import math

import numpy as np

from ..onnx_network import Network
from ..onnx_values import Call, Const, Tensor, Value
from .registry import operator


def activate(net: Network, call: Call, x: Value, kind: str, **parameters: float | str) -> Tensor:
    return net.emit(call, "activation", [net.tensor(call, x)], {"kind": kind, **parameters})


_SAME = {
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "HardSwish": "hardswish",
    "Mish": "mish",
    "Abs": "abs",
    "Erf": "erf",
    "Sin": "sin",
    "Cos": "cos",
}
_SINCE = {"HardSwish": 14, "Mish": 18, "Erf": 9}


def _simple(net: Network, call: Call) -> Tensor:
    """An activation without parameters."""
    call.count(1, 1)
    return activate(net, call, call.input(0), _SAME[call.op])


for _name in _SAME:
    operator(_name, since=_SINCE.get(_name, 8))(_simple)


@operator("LeakyRelu", "Elu")
def one_slope(net: Network, call: Call) -> Tensor:
    """x for x >= 0; alpha x, or alpha (exp(x) - 1), below. Continuous for every alpha."""
    call.count(1, 1)
    kind, default = {"LeakyRelu": ("leaky_relu", 0.01), "Elu": ("elu", 1.0)}[call.op]
    return activate(net, call, call.input(0), kind, alpha=call.number("alpha", default))


@operator("Celu", since=12)
def celu(net: Network, call: Call) -> Tensor:
    """max(0, x) + min(0, alpha (exp(x / alpha) - 1)); with alpha > 0 this is x above zero."""
    call.count(1, 1)
    alpha = call.number("alpha", 1.0)
    if not alpha > 0:
        raise call.unsupported("alpha is not positive", found=alpha, expected="alpha > 0")
    return activate(net, call, call.input(0), "celu", alpha=alpha)


@operator("Selu")
def selu(net: Network, call: Call) -> Tensor:
    """gamma elu_alpha(x): with the stored float32 alpha and gamma, which are not the decimals of the graph's own selu."""
    call.count(1, 1)
    alpha, gamma = call.number("alpha", 1.67326319217681884765625), call.number("gamma", 1.05070102214813232421875)
    y = activate(net, call, call.input(0), "elu", alpha=alpha)
    return net.emit(call, "scale", [y], None, {"value": np.array(gamma)})


@operator("Gelu", since=20)
def gelu(net: Network, call: Call) -> Tensor:
    """x Phi(x), or its tanh form."""
    call.count(1, 1)
    approximate = call.attr("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise call.unsupported("attribute 'approximate' has a value that is not known", found=approximate, expected="none or tanh")
    return activate(net, call, call.input(0), "gelu", approximate=approximate)


@operator("PRelu")
def prelu(net: Network, call: Call) -> Tensor:
    """x for x >= 0, slope x below; the slope broadcasts to x."""
    call.count(2, 2)
    x, slope = net.tensor(call, call.input(0)), call.weight(1, "slope")
    if not all(a in (1, b) for a, b in zip(reversed(slope.shape), reversed(net.full(x)))) or slope.ndim > net.rank(x):
        raise call.invalid("the slope does not broadcast to x", found=slope.shape, expected=f"broadcastable to {net.full(x)}")
    if x.lead and slope.ndim == net.rank(x):
        slope = slope[0]
    return net.emit(call, "activation", [x], {"kind": "prelu"}, {"slope": slope})


@operator("HardSigmoid")
def hard_sigmoid(net: Network, call: Call) -> Tensor:
    """max(0, min(1, alpha x + beta)) with the stored alpha: a scale, a shift and a clip."""
    call.count(1, 1)
    alpha, beta = call.number("alpha", 0.2), call.number("beta", 0.5)
    y = net.emit(call, "scale", [net.tensor(call, call.input(0))], None, {"value": np.array(alpha)})
    shift = net.spread(call, np.array(beta), net.shape(y), y.lead)
    return activate(net, call, net.emit(call, "add", [y, shift]), "hardtanh", min=0.0, max=1.0)


@operator("Neg")
def negate(net: Network, call: Call) -> Tensor:
    call.count(1, 1)
    return net.emit(call, "scale", [net.tensor(call, call.input(0))], None, {"value": np.array(-1.0)})


@operator("Clip")
def clip(net: Network, call: Call) -> Value:
    """min(max(x, low), high); an end that is not given is infinite."""
    if call.opset < 11:
        call.count(1, 1)
        low, high = call.attr("min", -math.inf), call.attr("max", math.inf)
    else:
        call.count(1, 3)
        low, high = _end(call, 1, -math.inf), _end(call, 2, math.inf)
    return clipped(net, call, call.input(0), low, high)


def clipped(net: Network, call: Call, x: Value, low: float, high: float) -> Value:
    if not low <= high:  # NaN fails too
        raise call.invalid("the lower end of a clip is not below the upper one", found=f"{low} .. {high}", expected="min <= max")
    if math.isinf(low) and math.isinf(high):
        if low < high:
            return x
        raise call.invalid("a clip to infinity", found=f"{low} .. {high}")
    if low == 0 and math.isinf(high):
        return activate(net, call, x, "relu")
    if low == high:
        raise call.unsupported("a clip to one value", found=low, expected="min < max")
    return activate(net, call, x, "hardtanh", min=low, max=high)


def _end(call: Call, i: int, default: float) -> float:
    value = call.optional(i)
    if value is None:
        return default
    if not isinstance(value, Const):
        raise call.unsupported("an end of the clip depends on the input", expected="a constant")
    if value.array.size != 1 or not value.is_float:
        raise call.invalid("an end of the clip is not one float", found=f"{value.array.dtype} {value.array.shape}")
    return float(value.array.reshape(()))
