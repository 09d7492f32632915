"""Pieces of tensors and back: Concat, Split, Slice, Gather, Pad."""

from __future__ import annotations

import math

import numpy as np

from ..onnx_network import MAX_ELEMENTS, Network
from ..onnx_values import BATCH, Call, Const, Tensor, Value, has_batch
from .registry import operator


@operator("Concat")
def concat(net: Network, call: Call) -> Value:
    call.count(1, 10_000)
    values = [call.input(i) for i in range(len(call.inputs))]
    rank = net.rank(values[0])
    axis = call.axis(call.attr("axis", None, int), rank)
    if any(net.rank(v) != rank for v in values):
        raise call.invalid("the inputs have different numbers of axes", found=[net.full(v) for v in values[:5]])
    lead = axis > 0 and any(isinstance(v, Tensor) and v.lead for v in values) and all(net.full(v)[0] == 1 for v in values)
    tensors = [_piece(net, call, v, lead) for v in values]
    return tensors[0] if len(tensors) == 1 else net.emit(call, "concat", tensors, {"axis": axis - lead}, lead=lead)


def _piece(net: Network, call: Call, value: Value, lead: bool) -> Tensor:
    if isinstance(value, Const) and lead:
        value = Const(value.array[0])
        return Tensor(net.tensor(call, value).name, True)
    t = net.tensor(call, value)
    return net.absorb(call, t) if lead else net.flat(call, t)


def _along(net: Network, call: Call, x: Tensor, axis: int) -> tuple[Tensor, int]:
    """The tensor and its node axis for an ONNX axis; the batch axis becomes ordinary (or is refused)."""
    if x.lead and axis == 0:
        x = net.flat(call, x)
    return x, axis - x.lead


@operator("Split")
def split(net: Network, call: Call) -> list[Value]:
    """Cut one axis into given, or equal, pieces (from opset 18 the last may be smaller)."""
    call.count(1, 1 if call.opset < 13 else 2)
    x = net.tensor(call, call.input(0))
    x, axis = _along(net, call, x, call.axis(call.attr("axis", 0), net.rank(x)))
    size, parts = net.shape(x)[axis], call.attr("num_outputs", 0) if call.opset >= 18 else 0
    sizes = call.attr("split", None, list) if call.opset < 13 else call.integers(1, "the sizes")
    if sizes is not None and parts:
        raise call.invalid("both sizes and num_outputs are given")
    if sizes is None:
        n = parts or call.outputs
        if n != call.outputs or n > size or (size % n and not parts):
            raise call.invalid("the axis cannot be split evenly", found=f"{size} into {n}, {call.outputs} outputs")
        step = -(-size // n)
        sizes = [min(step, size - step * i) for i in range(n)]
    if has_batch(sizes) or len(sizes) != call.outputs or min(sizes, default=0) < 1 or sum(sizes) != size:
        raise call.invalid("the sizes do not fit the axis", found=str(sizes)[:80], expected=f"{call.outputs} sizes, sum {size}")
    ends = np.cumsum([0, *sizes]).tolist()
    return [net.emit(call, "slice", [x], {"axis": axis, "start": a, "stop": b, "step": 1}) for a, b in zip(ends, ends[1:])]


def slice_arguments(call: Call, rank: int) -> list[tuple[int, int, int, int]]:
    """(axis, start, end, step) of a Slice, attributes before opset 10, inputs from then on."""
    if call.opset < 10:
        call.count(1, 1)
        starts, ends, axes, steps = call.attr("starts", [], list), call.attr("ends", [], list), call.attr("axes", None, list), None
    else:
        call.count(3, 5)
        starts, ends, axes, steps = (call.integers(i, name) for i, name in enumerate(("starts", "ends", "axes", "steps"), 1))
        starts, ends = starts or [], ends or []
    axes = call.axes(list(range(len(starts))) if axes is None else axes, rank)
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or has_batch(starts + steps) or 0 in steps:
        raise call.invalid("starts, ends, axes and steps do not fit each other", found=f"{starts}, {ends}, {axes}, {steps}"[:120], expected="lists of one length, no step 0")
    return list(zip(axes, starts, ends, steps))


@operator("Slice")
def slices(net: Network, call: Call) -> Tensor:
    x = net.tensor(call, call.input(0))
    for axis, start, end, step in slice_arguments(call, net.rank(x)):
        if x.lead and axis == 0 and start == 0 and step == 1 and (end is BATCH or end >= MAX_ELEMENTS or (net.fixed and end >= 1)):
            continue  # the whole batch
        if end is BATCH:
            raise call.unsupported("a slice of another axis ends at the size of the batch")
        x, k = _along(net, call, x, axis)
        size = net.shape(x)[k]
        picked = range(*slice(start, end, step).indices(size))
        if not picked:
            raise call.invalid("a slice is empty", found=f"{start}:{end}:{step} of an axis of {size}")
        if step < 0:
            x = net.emit(call, "gather", [x], {"axis": k}, {"index": np.array(picked, dtype=np.int64)})
        elif len(picked) < size:
            x = net.emit(call, "slice", [x], {"axis": k, "start": picked[0], "stop": picked[-1] + 1, "step": step})
    return x


@operator("Gather")
def gather(net: Network, call: Call) -> Tensor:
    """Entries of one axis at constant indices; an index of k axes puts k axes there (none for a single number)."""
    call.count(2, 2)
    x, index = net.tensor(call, call.input(0)), call.input(1)
    if not isinstance(index, Const) or index.array.dtype != np.int64:
        raise call.unsupported("the indices are not integers stored in the file", expected="a constant")
    axis = call.axis(call.attr("axis", 0), net.rank(x))
    x, k = _along(net, call, x, axis)
    size, shape, places = net.shape(x)[k], net.shape(x), index.array
    if places.size == 0 or not (-size <= places.min() and places.max() < size):
        raise call.invalid("an index is out of range", found=str(places.ravel()[:5]), expected=f"{-size} .. {size - 1}")
    net.check_size(call, (*shape[:k], places.size, *shape[k + 1 :]))
    flat = (places % size).ravel()
    if flat.size == 1:
        y = net.emit(call, "slice", [x], {"axis": k, "start": int(flat[0]), "stop": int(flat[0]) + 1, "step": 1})
    else:
        y = net.emit(call, "gather", [x], {"axis": k}, {"index": flat})
    return net.reshape(call, y, (*shape[:k], *places.shape, *shape[k + 1 :]), y.lead)


_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@operator("Pad")
def pad(net: Network, call: Call) -> Tensor:
    """Constant (negative pads crop), reflect, edge and, from opset 19, wrap."""
    mode = call.attr("mode", "constant")
    if mode not in _MODES or (mode == "wrap" and call.opset < 19):
        raise call.unsupported("attribute 'mode' has a value that is not known", found=mode, expected=", ".join(_MODES))
    x = net.tensor(call, call.input(0))
    rank = net.rank(x)
    if call.opset < 11:
        call.count(1, 1)
        flat, value, axes = call.attr("pads", [], list), call.number("value", 0.0), None
    else:
        call.count(2, 4 if call.opset >= 18 else 3)
        flat, value, axes = call.integers(1, "the pads") or [], _fill(call), call.integers(3, "the axes")
    axes = list(range(rank)) if axes is None else call.axes(axes, rank)
    if len(flat) != 2 * len(axes) or has_batch(flat):
        raise call.invalid("the pads do not fit the axes", found=str(flat)[:80], expected=f"{2 * len(axes)} integers")
    pairs = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        pairs[axis] = (flat[i], flat[i + len(axes)])
    if x.lead and any(pairs[0]):
        x = net.flat(call, x)
    pairs = pairs[x.lead :]
    if not any(map(any, pairs)):
        return x
    if math.prod(max(n, 1) + max(a, 0) + max(b, 0) for n, (a, b) in zip(net.shape(x), pairs)) > MAX_ELEMENTS:
        raise call.invalid("the padded tensor is too large", found=pairs, expected=f"at most {MAX_ELEMENTS} entries for one sample")
    return net.emit(call, "pad", [x], {"pads": tuple(pairs), "mode": _MODES[mode], "value": value if mode == "constant" else 0.0})


def _fill(call: Call) -> float:
    value = call.optional(2)
    if value is None:
        return 0.0
    if not isinstance(value, Const) or value.array.size != 1 or not value.is_float:
        raise call.unsupported("the value of the padding is not one float stored in the file")
    number = float(value.array.reshape(()))
    if not math.isfinite(number):
        raise call.unsupported("the value of the padding is not finite", found=number, hint="padding before a max pool belongs into the pool")
    return number
