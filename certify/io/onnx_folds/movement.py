"""Data movement: entries keep their values, so every dtype is exact."""

from __future__ import annotations

import math

import numpy as np

from ..onnx_ops.shape import axes_of
from ..onnx_ops.slicing import slice_arguments
from ..onnx_values import BATCH, Call
from .registry import Folded, folding, limited


@folding("Identity")
def _same(call: Call, arrays: list[np.ndarray]) -> Folded:
    return arrays[0]


@folding("Reshape")
def _reshape(call: Call, arrays: list[np.ndarray]) -> Folded:
    call.count(2, 2)
    target = call.integers(1, "the new shape") or []
    if call.opset >= 14 and call.flag("allowzero"):
        return arrays[0].reshape(target)
    return arrays[0].reshape([arrays[0].shape[i] if v is not BATCH and v == 0 else 1 if v is BATCH else v for i, v in enumerate(target)])


@folding("Flatten")
def _flatten(call: Call, arrays: list[np.ndarray]) -> Folded:
    call.count(1, 1)
    axis, shape = call.attr("axis", 1), arrays[0].shape
    if not -len(shape) <= axis <= len(shape):
        raise call.invalid("an axis is out of range", found=axis)
    axis += len(shape) * (axis < 0)
    return arrays[0].reshape(math.prod(shape[:axis]), math.prod(shape[axis:]))


@folding("Transpose")
def _transpose(call: Call, arrays: list[np.ndarray]) -> Folded:
    call.count(1, 1)
    return arrays[0].transpose(call.attr("perm", None, list))


@folding("Squeeze")
def _squeeze(call: Call, arrays: list[np.ndarray]) -> Folded:
    axes = axes_of(call, 13, arrays[0].ndim)
    return arrays[0].squeeze(None if axes is None else tuple(axes))


@folding("Unsqueeze")
def _unsqueeze(call: Call, arrays: list[np.ndarray]) -> Folded:
    count = len(call.attr("axes", [], list)) if call.opset < 13 else len(call.integers(1, "axes") or [])
    return np.expand_dims(arrays[0], tuple(axes_of(call, 13, arrays[0].ndim + count) or []))


@folding("Concat")
def _concat(call: Call, arrays: list[np.ndarray]) -> Folded:
    if len({a.dtype.kind.replace("O", "i") for a in arrays}) > 1:
        raise call.invalid("the inputs have different types", found=[str(a.dtype) for a in arrays][:8])
    return np.concatenate(arrays, axis=call.axis(call.attr("axis", None, int), arrays[0].ndim))


@folding("Gather")
def _gather(call: Call, arrays: list[np.ndarray]) -> Folded:
    call.count(2, 2)
    data, index = arrays
    axis = call.axis(call.attr("axis", 0), data.ndim)
    if index.dtype != np.int64 or (index.size and not (-data.shape[axis] <= index.min() and index.max() < data.shape[axis])):
        raise call.invalid("an index is out of range", found=str(index.ravel()[:5]), expected=f"integers within {data.shape[axis]}")
    limited(call, arrays, (*data.shape[:axis], *index.shape, *data.shape[axis + 1 :]))
    return np.asarray(np.take(data, index, axis=axis), dtype=data.dtype)


@folding("Slice")
def _slice(call: Call, arrays: list[np.ndarray]) -> Folded:
    data = arrays[0]
    for axis, start, end, step in slice_arguments(call, data.ndim):
        if end is BATCH:
            raise TypeError("a slice ends at the size of the batch")
        data = data[(slice(None),) * axis + (np.array(range(data.shape[axis])[start:end:step], dtype=np.int64),)]
    return data


@folding("Shape")
def _shape(call: Call, arrays: list[np.ndarray]) -> Folded:
    call.count(1, 1)
    sizes = arrays[0].shape
    return np.array(sizes[call.attr("start", 0) : call.attr("end", len(sizes))] if call.opset >= 15 else sizes, dtype=np.int64)


@folding("ConstantOfShape")
def _filled(call: Call, arrays: list[np.ndarray]) -> Folded:
    call.count(1, 1)
    value = call.attr("value", np.zeros(1, dtype=np.float32), np.ndarray)
    if value.size != 1:
        raise call.invalid("the value is not one number", found=value.shape)
    shape = tuple(1 if v is BATCH else v for v in call.integers(0, "the shape") or [])
    if min(shape, default=0) < 0:
        raise call.invalid("a negative size", found=shape)
    return np.full(limited(call, arrays, shape), value.reshape(()))


@folding("Expand")
def _expand(call: Call, arrays: list[np.ndarray]) -> Folded:
    call.count(2, 2)
    shape = tuple(1 if v is BATCH else v for v in call.integers(1, "the shape") or [])
    if min(shape, default=0) < 0:
        raise call.invalid("a negative size", found=shape)
    return np.broadcast_to(arrays[0], limited(call, arrays, np.broadcast_shapes(arrays[0].shape, shape))).copy()
