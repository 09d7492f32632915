"""Add, Sub, Mul, Div, Sum, Mean, Max, Min, Pow with broadcasting; a constant operand becomes a scale, a shift or a clip."""

from __future__ import annotations

import math

import numpy as np

from ..onnx_network import Network
from ..onnx_values import Call, Const, Tensor, Value
from .activation import clipped
from .registry import operator

_BINARY = {"Add": "add", "Sub": "sub", "Mul": "multiply", "Max": "maximum", "Min": "minimum", "Sum": "add"}


def combine(net: Network, call: Call, op: str, a: Value, b: Value) -> Tensor:
    """One of the graph's two-operand elementwise operators, both sides expanded to the common shape."""
    operands, lead = net.align(call, [a, b])
    shape = net.broadcast(call, operands)
    return net.emit(call, op, [net.spread(call, o, shape, lead) for o in operands], lead=lead)


def scaled(net: Network, call: Call, op: str, x: Tensor, c: Const) -> Tensor:
    """x times, or divided by, a constant: the constant stays small, x is expanded where it must be."""
    (operand, value), lead = net.align(call, [x, c])
    shape = net.broadcast(call, [operand, value])
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        raise call.unsupported("an integer or boolean constant meets the data path", found=c.array.dtype, expected="float tensors")
    return net.emit(call, op, [net.spread(call, operand, shape, lead)], None, {"value": value}, lead=lead)


@operator("Add", "Sub")
def add_or_subtract(net: Network, call: Call) -> Value:
    call.count(2, 2)
    return combine(net, call, _BINARY[call.op], call.input(0), call.input(1))


@operator("Mul")
def multiply(net: Network, call: Call) -> Value:
    """A product with a constant is a scale; of two tensors it is `multiply`, which no rule bounds on an unbounded domain."""
    call.count(2, 2)
    a, b = call.input(0), call.input(1)
    if isinstance(a, Const) and isinstance(b, Tensor):
        a, b = b, a
    if isinstance(b, Const):
        return scaled(net, call, "scale", net.tensor(call, a), b)
    return combine(net, call, "multiply", a, b)


@operator("Div")
def divide(net: Network, call: Call) -> Value:
    """Division by a constant without zeros."""
    call.count(2, 2)
    a, b = call.input(0), call.input(1)
    if not isinstance(b, Const):
        raise call.unsupported(
            "division by something that depends on the input", expected="a constant divisor", hint="such a quotient has no finite Lipschitz constant on an unbounded domain"
        )
    if not np.all(b.array != 0):
        raise call.invalid("division by zero", found=f"{int(np.sum(b.array == 0))} zeros in the divisor")
    return scaled(net, call, "divide", net.tensor(call, a), b)


@operator("Sum", "Mean")
def total(net: Network, call: Call) -> Value:
    """Sum (or mean) of any number of tensors."""
    call.count(1, 1000)
    result = call.input(0)
    for i in range(1, len(call.inputs)):
        result = combine(net, call, "add", result, call.input(i))
    if call.op == "Mean" and len(call.inputs) > 1:
        return net.emit(call, "divide", [net.tensor(call, result)], None, {"value": np.array(float(len(call.inputs)))})
    return result


@operator("Max", "Min")
def extreme(net: Network, call: Call) -> Value:
    """Pairwise from the left; against one constant number it is a clip."""
    call.count(1, 1000)
    result = call.input(0)
    for i in range(1, len(call.inputs)):
        result = _pair(net, call, result, call.input(i))
    return result


def _pair(net: Network, call: Call, a: Value, b: Value) -> Value:
    if isinstance(a, Const) and isinstance(b, Tensor):
        a, b = b, a
    if isinstance(a, Tensor) and isinstance(b, Const) and b.is_float and b.array.size == 1 and b.array.ndim <= net.rank(a) and np.isfinite(b.array).all():
        end = float(b.array.reshape(()))
        return clipped(net, call, a, end, math.inf) if call.op == "Max" else clipped(net, call, a, -math.inf, end)
    return combine(net, call, _BINARY[call.op], a, b)


@operator("Pow")
def power(net: Network, call: Call) -> Value:
    """The exponents 1, 2 and 3, as products."""
    call.count(2, 2)
    x, e = net.tensor(call, call.input(0)), call.input(1)
    exponent = float(e.array.reshape(())) if isinstance(e, Const) and e.array.size == 1 and e.array.ndim <= net.rank(x) and e.array.dtype != object else None
    if exponent not in (1.0, 2.0, 3.0):
        raise call.unsupported("only the exponents 1, 2 and 3 are known", found="a tensor" if exponent is None else exponent)
    result = x
    for _ in range(int(exponent) - 1):
        result = net.emit(call, "multiply", [result, x])
    return result
