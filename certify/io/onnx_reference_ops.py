"""Operators by the text of the ONNX standard, a second time: what the comparison of `onnx_compare` runs where onnx's own evaluator will not do.

The evaluator of onnx 1.23 is wrong or unusably slow for the operators below, so they are taken from the text of the standard,
written with loops over kernel positions and without any code of `certify.core`:

- BatchNormalization before opset 14 (it normalises by the batch), Softmax and LogSoftmax before opset 13 (one axis only),
- ConvTranspose with groups (writes one channel per group) and its loops, pools with ceil_mode (padding split to both sides) and theirs,
- MaxPool with auto_pad SAME_LOWER (pads the other side), GlobalMaxPool except on images, Mean with broadcasting, Erf (rounds to float32),
- LayerNormalization, GroupNormalization and InstanceNormalization (function bodies that cast to float32, or an evaluator that does),
- Upsample 7, Resize (a Python call per pixel), Pad with negative pads, Dropout, Gelu, HardSwish and Mish (function bodies with float32 constants).
"""

from __future__ import annotations

import itertools
import math

import numpy as np


def _softmax(x, opset, axis=None):
    axis = (-1 if opset >= 13 else 1) if axis is None else axis
    axis %= x.ndim
    y = x if opset >= 13 else x.reshape(math.prod(x.shape[:axis]), -1)
    where = axis if opset >= 13 else 1
    y = y - y.max(axis=where, keepdims=True)
    return y - np.log(np.exp(y).sum(axis=where, keepdims=True)), x.shape


def softmax(x, opset, axis=None):
    y, shape = _softmax(x, opset, axis)
    return np.exp(y).reshape(shape)


def log_softmax(x, opset, axis=None):
    y, shape = _softmax(x, opset, axis)
    return y.reshape(shape)


def batch_normalization(x, scale, bias, mean, var, opset, epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1):
    column = (-1,) + (1,) * (x.ndim - 2)
    return (x - mean.reshape(column)) / np.sqrt(var.reshape(column) + np.float32(epsilon).astype(float)) * scale.reshape(column) + bias.reshape(column)


def _normalised(rows, epsilon):
    centred = rows - rows.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + float(np.float32(epsilon)))


def layer_normalization(x, scale, bias=None, *, opset, axis=-1, epsilon=1e-5, stash_type=1):
    axis %= x.ndim
    y = _normalised(x.reshape(*x.shape[:axis], -1), epsilon).reshape(x.shape) * scale
    return y if bias is None else y + bias


def group_normalization(x, scale, bias, opset, num_groups, epsilon=1e-5, stash_type=1):
    y = _normalised(x.reshape(len(x), num_groups, -1), epsilon)
    if opset < 21:  # scale and bias per group
        return (y * scale[:, None] + bias[:, None]).reshape(x.shape)
    column = (-1,) + (1,) * (x.ndim - 2)
    return y.reshape(x.shape) * scale.reshape(column) + bias.reshape(column)


def instance_normalization(x, scale, bias, opset, epsilon=1e-5):
    return group_normalization(x, scale, bias, 21, x.shape[1], epsilon)


def _auto_pads(sizes, ends, strides, auto_pad, pads):
    n = len(sizes)
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        total = [max((math.ceil(size / s) - 1) * s + e - size, 0) for size, s, e in zip(sizes, strides, ends)]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        return small + large if auto_pad == "SAME_UPPER" else large + small
    return list(pads) if pads else [0] * (2 * n)


def _windows(x, outside, kernel, strides, dilations, pads, ceil_mode):
    """For every kernel position, the entry of each window there; beyond the asked padding NaN, in the padding `outside`."""
    n = len(kernel)
    ends = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    asked = np.pad(x, [(0, 0), (0, 0), *zip(pads[:n], pads[n:])], constant_values=outside)
    rounding = math.ceil if ceil_mode else math.floor
    sizes = [rounding((size - e) / s) + 1 for size, e, s in zip(asked.shape[2:], ends, strides)]
    extra = [max((m - 1) * s + e - size, 0) for m, s, e, size in zip(sizes, strides, ends, asked.shape[2:])]
    padded = np.pad(asked, [(0, 0), (0, 0), *((0, e) for e in extra)], constant_values=np.nan)
    for position in itertools.product(*map(range, kernel)):
        yield padded[(slice(None), slice(None), *(slice(p * d, p * d + (m - 1) * s + 1, s) for p, d, m, s in zip(position, dilations, sizes, strides)))]


def max_pool(x, opset, kernel_shape, strides=None, dilations=None, pads=None, auto_pad="NOTSET", ceil_mode=0, storage_order=0):
    n = len(kernel_shape)
    strides, dilations = strides or [1] * n, dilations or [1] * n
    pads = _auto_pads(x.shape[2:], [(k - 1) * d + 1 for k, d in zip(kernel_shape, dilations)], strides, auto_pad, pads)
    return np.fmax.reduce(list(_windows(x, np.nan, kernel_shape, strides, dilations, pads, ceil_mode)))


def average_pool(x, opset, kernel_shape, strides=None, pads=None, auto_pad="NOTSET", ceil_mode=0, count_include_pad=0, dilations=None):
    n = len(kernel_shape)
    strides, dilations = strides or [1] * n, dilations or [1] * n
    pads = _auto_pads(x.shape[2:], kernel_shape, strides, auto_pad, pads)
    values = np.stack(list(_windows(x, 0.0 if count_include_pad else np.nan, kernel_shape, strides, dilations, pads, ceil_mode)))
    return np.nanmean(values, axis=0)


def conv_transpose(x, weight, bias=None, *, opset, auto_pad="NOTSET", dilations=None, group=1, kernel_shape=None, output_padding=None, output_shape=None, pads=None, strides=None):
    n = x.ndim - 2
    kernel = weight.shape[2:]
    strides, dilations, extra = strides or [1] * n, dilations or [1] * n, output_padding or [0] * n
    whole = [s * (size - 1) + e + (k - 1) * d + 1 for s, size, e, k, d in zip(strides, x.shape[2:], extra, kernel, dilations)]
    if output_shape is None and auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        output_shape = [size * s for size, s in zip(x.shape[2:], strides)]
    if output_shape is not None:
        half = [(w - o) // 2 for w, o in zip(whole, output_shape)]
        pads = half + [w - o - h for w, o, h in zip(whole, output_shape, half)]
    pads = pads or [0] * (2 * n)
    out = np.zeros((x.shape[0], group, weight.shape[1], *whole))
    xs, ws = x.reshape(x.shape[0], group, -1, *x.shape[2:]), weight.reshape(group, -1, *weight.shape[1:])
    for position in itertools.product(*map(range, kernel)):
        place = tuple(slice(p * d, p * d + s * (size - 1) + 1, s) for p, d, s, size in zip(position, dilations, strides, x.shape[2:]))
        out[(slice(None),) * 3 + place] += np.einsum("ngc...,gcm->ngm...", xs, ws[(..., *position)])
    out = out.reshape(x.shape[0], -1, *whole)[(slice(None), slice(None), *(slice(a, w - b) for a, b, w in zip(pads[:n], pads[n:], whole)))]
    return out if bias is None else out + bias.reshape(-1, *(1,) * n)


def upsample(x, scales_input=None, *, opset, mode="nearest", scales=None):
    for axis, f in enumerate(scales if scales_input is None else scales_input):
        x = np.take(x, np.floor(np.arange(x.shape[axis] * int(f)) / f).astype(int), axis=axis)
    return x


def resize(x, *inputs, opset, mode="nearest", coordinate_transformation_mode="half_pixel", nearest_mode="round_prefer_floor", axes=None, **ignored):
    if opset == 10:
        return upsample(x, inputs[0], opset=opset)
    _, scales, sizes = (*inputs, None, None, None)[:3]
    axes = list(range(x.ndim)) if axes is None else axes
    for j, axis in enumerate(axes):
        old = x.shape[axis]
        new = int(sizes[j]) if scales is None or len(scales) == 0 else int(math.floor(old * scales[j]))
        if new != old:
            x = np.take(x, _nearest(old, new, coordinate_transformation_mode, nearest_mode), axis=axis)
    return x


def _nearest(old: int, new: int, mode: str, rounding: str) -> np.ndarray:
    i, f = np.arange(new), new / old
    position = {
        "asymmetric": i / f,
        "align_corners": i * (old - 1) / max(new - 1, 1),
        "tf_half_pixel_for_nn": (i + 0.5) / f,
        "pytorch_half_pixel": (i + 0.5) / f - 0.5 if new > 1 else 0.0 * i,
    }.get(mode, (i + 0.5) / f - 0.5)
    source = {
        "floor": np.floor(position),
        "ceil": np.ceil(position),
        "round_prefer_ceil": np.floor(position + 0.5),
        "round_prefer_floor": np.ceil(position - 0.5),
    }[rounding]
    return np.clip(source, 0, old - 1).astype(int)


def pad(x, pads_input=None, value_input=None, axes=None, *, opset, mode="constant", pads=None, value=0.0):
    flat = [int(p) for p in (pads if pads_input is None else pads_input)]
    fill = value if value_input is None else float(value_input)
    axes = list(range(x.ndim)) if axes is None else [int(a) % x.ndim for a in axes]
    pairs = [(0, 0)] * x.ndim
    for j, axis in enumerate(axes):
        pairs[axis] = (flat[j], flat[j + len(axes)])
    grown = [(max(a, 0), max(b, 0)) for a, b in pairs]
    y = np.pad(x, grown, constant_values=fill) if mode == "constant" else np.pad(x, grown, mode=mode)  # type: ignore[call-overload]
    return y[tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(y.shape, pairs))]


def gelu(x, opset, approximate="none"):
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)))(x)


def erf(x, opset):
    return np.vectorize(math.erf, otypes=[float])(x)


def mean(*inputs, opset):
    return sum(inputs) / len(inputs)


def global_max_pool(x, opset):
    return x.max(axis=tuple(range(2, x.ndim)), keepdims=True)


def hard_swish(x, opset):
    return x * np.clip(x / 6 + 0.5, 0, 1)


def mish(x, opset):
    return x * np.tanh(np.logaddexp(0, x))


def dropout(x, *ignored, opset, **attributes):
    return x


OWN = {
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "ConvTranspose": conv_transpose,
    "Dropout": dropout,
    "Erf": erf,
    "Gelu": gelu,
    "GlobalMaxPool": global_max_pool,
    "GroupNormalization": group_normalization,
    "HardSwish": hard_swish,
    "InstanceNormalization": instance_normalization,
    "LayerNormalization": layer_normalization,
    "LogSoftmax": log_softmax,
    "MaxPool": max_pool,
    "Mean": mean,
    "Mish": mish,
    "Pad": pad,
    "Resize": resize,
    "Softmax": softmax,
    "Upsample": upsample,
}
