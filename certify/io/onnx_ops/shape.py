"""Operators that only give the entries another shape or order: Reshape, Flatten, Transpose, Squeeze, Unsqueeze, Expand, Identity, Dropout, Cast."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..onnx_network import Network
from ..onnx_tensors import FLOATS, type_name
from ..onnx_values import BATCH, Call, Const, Tensor, Value, has_batch
from .registry import operator


@operator("Reshape")
def reshape(net: Network, call: Call) -> Tensor:
    """New shape with 0 (copy; a true zero under allowzero) and -1 (what is left); the batch must stay in front."""
    call.count(2, 2)
    x, target = net.tensor(call, call.input(0)), call.integers(1, "the new shape")
    literal = call.flag("allowzero") if call.opset >= 14 else False
    old = net.known_shape(x)
    if target is None or len(target) > 16 or sum(v == -1 for v in target if v is not BATCH) > 1 or any(v is not BATCH and v < -1 for v in target):
        raise call.invalid("the new shape makes no sense", found=str(target)[:80], expected="at most 16 sizes, one of them -1 at most")
    if any(v is not BATCH and v == 0 and (literal or i >= len(old)) for i, v in enumerate(target)):
        raise call.invalid("the new shape has a zero without an axis to copy", found=target, expected=f"an axis of {old}")
    new = [old[i] if v is not BATCH and v == 0 else v for i, v in enumerate(target)]
    if net.fixed or not x.lead:
        if has_batch(new):
            raise call.unsupported("the size of the batch gives a tensor its shape that does not have it", found=new)
        return net.view(call, x, _resolved(call, net.full(x), new))
    if not new or not (new[0] is BATCH or new[0] == -1) or has_batch(new[1:]):
        net.flat(call, x)  # refuses: the samples would be mixed
    if new[0] == -1:
        new[0] = BATCH
    return net.reshape(call, x, _resolved(call, net.shape(x), new[1:]), True)


def _resolved(call: Call, old: tuple[int, ...], new: list[Any]) -> tuple[int, ...]:
    """-1 replaced by what is left; the number of entries must not change."""
    count, rest = math.prod(old), math.prod(v for v in new if v != -1)
    if -1 in new and (rest == 0 or count % rest):
        raise call.invalid("the new shape does not divide the number of entries", found=new, expected=f"{count} entries per sample")
    shape = tuple(count // rest if v == -1 else v for v in new)
    if math.prod(shape) != count:
        raise call.invalid("the new shape has another number of entries (or takes some from the batch)", found=f"{old} -> {shape}", expected=f"{count} entries per sample")
    return shape


@operator("Flatten")
def flatten(net: Network, call: Call) -> Tensor:
    """Two axes: everything before `axis`, everything from it on."""
    call.count(1, 1)
    x, axis = net.tensor(call, call.input(0)), call.attr("axis", 1)
    rank = net.rank(x)
    if not (-rank if call.opset >= 11 else 0) <= axis <= rank:
        raise call.invalid("an axis is out of range", found=axis, expected=f"0 .. {rank}")
    axis += rank * (axis < 0)
    if x.lead and axis == 1:
        return net.reshape(call, x, (math.prod(net.shape(x)),), True)
    full = net.full(x) if net.fixed or not x.lead else net.full(net.flat(call, x))
    return net.view(call, x, (math.prod(full[:axis]), math.prod(full[axis:])))


@operator("Transpose")
def transpose(net: Network, call: Call) -> Tensor:
    call.count(1, 1)
    x = net.tensor(call, call.input(0))
    rank = net.rank(x)
    perm = call.attr("perm", list(range(rank))[::-1])
    if sorted(perm) != list(range(rank)):
        raise call.invalid("not a permutation of the axes", found=perm, expected=f"each of 0 .. {rank - 1} once")
    if x.lead and perm[0] == 0:
        perm = [p - 1 for p in perm[1:]]
    else:
        x = net.flat(call, x)
    return x if perm == sorted(perm) else net.emit(call, "transpose", [x], {"perm": tuple(perm)})


def axes_of(call: Call, since: int, rank: int) -> list[int] | None:
    """`axes` as an attribute, from opset `since` on as input 1; None if absent."""
    call.count(1, 1 if call.opset < since else 2)
    values = call.attr("axes", None, list) if call.opset < since else call.integers(1, "axes")
    return None if values is None else call.axes(values, rank)


@operator("Squeeze")
def squeeze(net: Network, call: Call) -> Tensor:
    """Axes of size 1 removed; without `axes`, all of them."""
    x = net.tensor(call, call.input(0))
    full = net.full(x)
    axes = axes_of(call, 13, len(full))
    if axes is None:
        axes = [i for i, n in enumerate(full) if n == 1]
    if any(full[i] != 1 for i in axes):
        raise call.invalid("a squeezed axis is not of size 1", found=f"axes {axes} of {full}")
    shape = tuple(n for i, n in enumerate(full) if i not in axes)
    if x.lead and 0 not in axes:
        return net.reshape(call, x, shape[1:], True)
    return net.view(call, x, shape)


@operator("Unsqueeze")
def unsqueeze(net: Network, call: Call) -> Tensor:
    """Axes of size 1 added, at places of the result."""
    x = net.tensor(call, call.input(0))
    full = net.full(x)
    count = len(call.attr("axes", [])) if call.opset < 13 else len(call.integers(1, "axes") or [])
    axes = axes_of(call, 13, len(full) + count)
    if not axes:
        raise call.invalid("no axes are given")
    old = iter(full)
    shape = tuple(1 if i in axes else next(old) for i in range(len(full) + len(axes)))
    if x.lead and 0 not in axes:
        return net.reshape(call, x, shape[1:], True)
    return net.view(call, x, shape)


@operator("Expand")
def expand(net: Network, call: Call) -> Tensor:
    """Broadcast to a shape, both ways (a size of 1 in the shape keeps the input's)."""
    call.count(2, 2)
    x, target = net.tensor(call, call.input(0)), call.integers(1, "the shape")
    sizes = [1 if v is BATCH else v for v in target or []]
    if any(v < 1 for v in sizes) or len(sizes) > 16:
        raise call.invalid("the shape makes no sense", found=sizes[:20], expected="at most 16 positive sizes")
    if has_batch((target or [])[1:]) or (x.lead and not net.fixed and len(sizes) > net.rank(x)):
        net.flat(call, x)
        raise call.unsupported("the batch would move to another axis", found=target)
    net.check_size(call, sizes)
    ones = np.broadcast_to(np.float32(0), sizes)  # a view without memory: only its shape is used
    (operand, other), lead = net.align(call, [x, Const(ones)])
    return net.spread(call, operand, net.broadcast(call, [operand, other]), lead)


@operator("Identity")
def identity(net: Network, call: Call) -> Value:
    call.count(1, 1)
    return call.input(0)


@operator("Dropout")
def dropout(net: Network, call: Call) -> Value:
    """Inference: the identity."""
    call.count(1, 3 if call.opset >= 12 else 1)
    call.attr("ratio", 0.5)
    call.attr("seed", 0)
    mode = call.optional(2)
    if mode is not None and not (isinstance(mode, Const) and mode.array.size == 1 and not mode.array.any()):
        raise call.unsupported("dropout in training mode", expected="training_mode false or absent", hint="export the model after model.eval()")
    return call.input(0)


@operator("Cast")
def cast(net: Network, call: Call) -> Value:
    """Between float types: the identity in real arithmetic, which is what certificates speak about."""
    call.count(1, 1)
    to = call.attr("to", None, int)
    call.attr("saturate", 1)
    if to not in FLOATS:
        raise call.unsupported("the data path is rounded to another type", found=type_name(to) if to is not None else None, expected="FLOAT, DOUBLE or FLOAT16")
    return call.input(0)
