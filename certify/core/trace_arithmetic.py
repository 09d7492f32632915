"""Handlers of arithmetic: sums, products with constants, maxima of two tensors; copies and constants."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .trace_emit import Call, Traced, translates

_COPIES = """detach clone contiguous identity requires_grad alias cpu cuda float double half bfloat16 int long bool to type type_as _to_copy positive lift_fresh
    lift_fresh_copy resolve_conj resolve_neg""".split()


@translates(*_COPIES, several=True)
def identity(call: Call, x: Any, *settings: Any, **more: Any) -> str:
    """Copies and conversions between float32 and float64; a narrower type would round and is refused."""
    if not isinstance(x, Traced):
        call.refuse(f"'{call.op}' of a constant with a tensor that depends on the input")
    if not isinstance(call.result, torch.Tensor) or call.result.dtype not in (torch.float32, torch.float64, x.value.dtype):
        call.refuse("a conversion to a type that rounds is not a continuous function", found=getattr(call.result, "dtype", None), expected="float32 or float64")
    return x.name


@translates("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")
def filled(call: Call, x: Traced, *settings: Any, **more: Any) -> str:
    """A constant with the batch's size."""
    value = call.result
    if value.ndim < 1 or value.shape[0] != call.batch:
        call.refuse(
            f"'{call.op}' makes a tensor without the batch axis from one that has it", found=tuple(value.shape), hint="make constants in __init__ and register them as buffers"
        )
    return call.constant(call.array(value[0]), part="")


def _scaled(call: Call, name: str, factor: Any, part: str) -> str:
    return name if factor == 1 else call.add("scale", [name], {}, {"value": np.float64(factor)}, part=part)


def pair(call: Call, x: Any, y: Any) -> tuple[list[str], tuple[int, ...]]:
    """Two operands, at least one traced, as nodes of one shape (constants as constant nodes)."""
    a, b = (v.value if isinstance(v, Traced) else v for v in (x, y))
    ndim = max(t.ndim for t in (a, b) if isinstance(t, torch.Tensor))
    names, shapes = [], []
    for v in (x, y):
        if isinstance(v, Traced):
            if v.value.ndim != ndim:
                call.refuse_batch("broadcasts the batch axis of one tensor against another axis")
            names.append(v.name)
        else:
            names.append(call.constant(call.per_sample(v, ndim)))
        shapes.append(call.shape(names[-1]))
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        call.refuse(f"'{call.op}' of shapes that do not fit", found=shapes)
    if len(shape) != ndim - 1:
        call.refuse_batch("broadcasts the batch axis against another axis")
    return [call.expand(name, shape) for name in names], shape


@translates("add", several=True)
def add(call: Call, x: Any, other: Any, alpha: Any = 1) -> str:
    return _sum(call, "add", x, other, alpha)


@translates("sub", several=True)
def sub(call: Call, x: Any, other: Any, alpha: Any = 1) -> str:
    return _sum(call, "sub", x, other, alpha)


@translates("rsub", several=True)
def rsub(call: Call, x: Any, other: Any, alpha: Any = 1) -> str:
    return _sum(call, "sub", other, x, 1) if alpha == 1 else call.refuse("'rsub' with alpha")


def _is_zero(call: Call, value: Any, other: Any) -> bool:
    """A single zero that does not broadcast `other`: where Python's sum([...]) starts."""
    if isinstance(value, Traced) or not isinstance(other, Traced):
        return False
    array = call.array(value)
    return array.size == 1 and array.ndim <= other.value.ndim and float(array.ravel()[0]) == 0.0


def _sum(call: Call, op: str, x: Any, y: Any, alpha: Any) -> str:
    if _is_zero(call, y, x):
        return x.name
    if _is_zero(call, x, y) and op == "add" and alpha == 1:
        return y.name
    (a, b), _ = pair(call, x, y)
    return call.add(op, [a, _scaled(call, b, alpha, "alpha")])


@translates("mul", several=True)
def mul(call: Call, x: Any, other: Any) -> str:
    """With one constant a scaling; of two activations a gated activation, or a `multiply` node, which the rules refuse."""
    if isinstance(x, Traced) and isinstance(other, Traced):
        kind = _gated(call, x.name, other.name)
        if kind:
            return call.add("activation", [kind[1]], {"kind": kind[0]})
        names, _ = pair(call, x, other)
        return call.add("multiply", names)
    return _scale(call, "scale", x if isinstance(x, Traced) else other, other if isinstance(x, Traced) else x)


def _gated(call: Call, a: str, b: str) -> tuple[str, str] | None:
    """(kind, argument) of x * sigmoid(x), x * sigmoid(1.702 x), x * hardsigmoid(x) and x * tanh(softplus(x)), written by hand."""
    for x, gate in ((a, call.builder[b]), (b, call.builder[a])):
        if gate.op != "activation" or gate.attrs["kind"] not in ("sigmoid", "hardsigmoid", "tanh"):
            continue
        kind, inner = gate.attrs["kind"], call.builder[gate.inputs[0]]
        if gate.inputs[0] == x and kind != "tanh":
            return {"sigmoid": "silu", "hardsigmoid": "hardswish"}[kind], x
        if kind == "sigmoid" and inner.op == "scale" and inner.inputs[0] == x and inner.arrays["value"].size == 1 and float(inner.arrays["value"].ravel()[0]) == 1.702:
            return "quick_gelu", x
        if kind == "tanh" and inner.op == "activation" and dict(inner.attrs) == {"kind": "softplus", "beta": 1.0} and inner.inputs[0] == x:
            return "mish", x
    return None


@translates("div", several=True)
def div(call: Call, x: Any, other: Any, rounding_mode: Any = None) -> str:
    if isinstance(other, Traced):
        call.refuse("a division by something that depends on the input has no finite global Lipschitz constant")
    if rounding_mode is not None:
        call.refuse("a division that rounds is not continuous")
    return _scale(call, "divide", x, other)


def _scale(call: Call, op: str, x: Traced, factor: Any) -> str:
    value = call.per_sample(factor, x.value.ndim)
    try:
        shape = np.broadcast_shapes(value.shape, x.shape)
    except ValueError:
        call.refuse(f"'{call.op}' of shapes that do not fit", found=(x.shape, value.shape))
    if len(shape) != len(x.shape):
        call.refuse_batch("broadcasts the batch axis against another axis")
    return call.add(op, [call.expand(x.name, shape)], {}, {"value": value})


@translates("neg")
def neg(call: Call, x: Traced) -> str:
    return _scaled(call, x.name, -1.0, "")


@translates("square")
def square(call: Call, x: Traced) -> str:
    return call.add("multiply", [x.name, x.name])


@translates("pow")
def power(call: Call, x: Traced, exponent: Any) -> str:
    if exponent == 1:
        return x.name
    if exponent == 2:
        return square(call, x)
    call.refuse("a power of an activation has no finite global Lipschitz constant", found=f"exponent {exponent}")


@translates("maximum", "fmax", several=True)
def maximum(call: Call, x: Any, other: Any) -> str:
    names, _ = pair(call, x, other)
    return call.add("maximum", names)


@translates("minimum", "fmin", several=True)
def minimum(call: Call, x: Any, other: Any) -> str:
    names, _ = pair(call, x, other)
    return call.add("minimum", names)
