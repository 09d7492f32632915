"""The checker's own convolutions in float64: sums of products of the entries themselves, no FFT, no Winograd, channels last in memory."""

from __future__ import annotations

import itertools
import math

import numpy as np

from ..core.graph import Node
from .windows import Axis


def channels_last(x: np.ndarray) -> np.ndarray:
    """(n, c, *spatial) seen as (n, *spatial, c)."""
    return np.moveaxis(x, 1, -1)


def _padded(x: np.ndarray, lengths: list[int], lows: list[int], mode: str) -> np.ndarray:
    """(n, *spatial, c) with positions -low .. -low + length - 1 of every spatial axis, through the padding mode."""
    if mode == "zeros":
        if all(low == 0 and length <= n for low, length, n in zip(lows, lengths, x.shape[1:-1])):
            return x
        out = np.zeros((len(x), *lengths, x.shape[-1]))
        counts = [max(0, min(n, length - low)) for low, n, length in zip(lows, x.shape[1:-1], lengths)]
        target = tuple(slice(low, low + count) for low, count in zip(lows, counts))
        out[(slice(None), *target)] = x[(slice(None), *(slice(0, count) for count in counts))]
        return out
    for i, (length, low) in enumerate(zip(lengths, lows)):
        x = x.take(Axis(x.shape[1 + i], length, 1, 1, 1, low, 0, mode).source[:, 0], axis=1 + i)
    return x


def taps_of(x: np.ndarray, kernel, stride, dilation, padding, outputs, mode: str = "zeros"):
    """Yield (tap multi-index, view (n, *outputs, c)) of the pixels that each tap reads."""
    lengths = [s * (m - 1) + d * (k - 1) + 1 for s, m, d, k in zip(stride, outputs, dilation, kernel)]
    padded = _padded(channels_last(x), lengths, [low for low, _ in padding], mode)
    for t in itertools.product(*(range(k) for k in kernel)):
        place = tuple(slice(d * i, d * i + s * (m - 1) + 1, s) for d, i, s, m in zip(dilation, t, stride, outputs))
        yield t, padded[(slice(None), *place)]


def conv(node: Node, x: np.ndarray) -> np.ndarray:
    """(n, c_out, *outputs); every output is one sum of (c_in / groups) * taps products, and the bias."""
    weight, groups, attrs = np.asarray(node.float64("weight")), node.attrs["groups"], node.attrs
    kernel, outputs = weight.shape[2:], node.shape[1:]
    taps = list(taps_of(x, kernel, attrs["stride"], attrs["dilation"], attrs["padding"], outputs, attrs["mode"]))
    n, c_out, c = len(x), weight.shape[0], weight.shape[1]
    if c == 1 and groups > 1:
        out = _depthwise(weight.reshape(groups, -1, *kernel), taps, (n, *outputs))
    else:
        rows = c_out // groups
        parts = [_one_group(weight[g * rows : (g + 1) * rows], taps, slice(g * c, (g + 1) * c), (n, *outputs)) for g in range(groups)]
        out = parts[0] if groups == 1 else np.concatenate(parts, axis=-1)
    bias = node.float64("bias")
    if bias is not None:
        out += bias
    return np.moveaxis(out, -1, 1)


def _one_group(weight: np.ndarray, taps: list, channels: slice, shape: tuple[int, ...]) -> np.ndarray:
    rows, c = weight.shape[:2]
    count = len(taps)
    if c * 4 > 16:  # many channels: copy runs of them
        columns = np.empty((*shape, count, c))
        for i, (_, view) in enumerate(taps):
            columns[..., i, :] = view[..., channels]
        flat = columns.reshape(-1, count * c)
    else:  # few: copy rows of pixels, and let the product read the transposed matrix
        columns = np.empty((count, c, *shape))
        for i, (_, view) in enumerate(taps):
            columns[i] = np.moveaxis(view[..., channels], -1, 0)
        flat = columns.reshape(count * c, -1).T
    matrix = weight.reshape(rows, c, -1).transpose(2, 1, 0).reshape(count * c, rows)
    return (flat @ matrix).reshape(*shape, rows)


def _depthwise(weight: np.ndarray, taps: list, shape: tuple[int, ...]) -> np.ndarray:
    """One input channel per group, any number of outputs of it."""
    groups, rows = weight.shape[:2]
    out = np.zeros((*shape, groups, rows))
    for t, view in taps:
        out += view[..., None] * weight[(slice(None), slice(None), *t)]
    return out.reshape(*shape, groups * rows)


def conv_transpose(node: Node, x: np.ndarray) -> np.ndarray:
    """Every input pixel is multiplied with the kernel and added at its place; the border given by the padding is cut off."""
    weight, groups, attrs = np.asarray(node.float64("weight")), node.attrs["groups"], node.attrs
    kernel, outputs = weight.shape[2:], node.shape[1:]
    inputs = x.shape[2:]
    lows = [low for low, _ in attrs["padding"]]
    lengths = [max(low + m, s * (n - 1) + d * (k - 1) + 1) for low, m, s, n, d, k in zip(lows, outputs, attrs["stride"], inputs, attrs["dilation"], kernel)]
    c, rows = weight.shape[0] // groups, weight.shape[1]
    out = np.zeros((len(x), *lengths, groups * rows))
    last = np.ascontiguousarray(channels_last(x))
    for t in itertools.product(*(range(k) for k in kernel)):
        place = tuple(slice(d * i, d * i + s * (n - 1) + 1, s) for d, i, s, n in zip(attrs["dilation"], t, attrs["stride"], inputs))
        target = out[(slice(None), *place)]  # a view
        for g in range(groups):
            block: tuple = (slice(g * c, (g + 1) * c), slice(None), *t)
            product = last[..., g * c : (g + 1) * c].reshape(-1, c) @ weight[block]
            target[..., g * rows : (g + 1) * rows] += product.reshape(len(x), *inputs, rows)
    inner = tuple(slice(low, low + m) for low, m in zip(lows, outputs))
    out = out[(slice(None), *inner)]
    bias = node.float64("bias")
    if bias is not None:
        out = out + bias
    return np.moveaxis(out, -1, 1)


def max_pool(node: Node, x: np.ndarray) -> np.ndarray:
    """Padding never wins: a padded window is compared on its real pixels only."""
    out = np.full((len(x), *node.shape[1:], node.shape[0]), -math.inf)
    _each_real(node, x, lambda place, view: np.maximum(out[place], view, out=out[place]))
    return np.moveaxis(out, -1, 1)


def avg_pool(node: Node, x: np.ndarray) -> np.ndarray:
    """Sum over the real pixels of the window, then one division."""
    out = np.zeros((len(x), *node.shape[1:], node.shape[0]))
    _each_real(node, x, lambda place, view: np.add(out[place], view, out=out[place]))
    out /= np.asarray(node.float64("divisor"))[..., None]
    return np.moveaxis(out, -1, 1)


def _each_real(node: Node, x: np.ndarray, use) -> None:
    """use(place in the output, view of the input) for every tap, where it reads real pixels."""
    attrs, last = node.attrs, channels_last(x)
    dilation = attrs.get("dilation", (1,) * len(attrs["kernel"]))
    for t in itertools.product(*(range(k) for k in attrs["kernel"])):
        place, source = [], []
        for n, m, s, (low, _), d, i in zip(x.shape[2:], node.shape[1:], attrs["stride"], attrs["padding"], dilation, t):
            first = max(0, -((d * i - low) // s))  # least o with s o - low + d i >= 0
            stop = min(m, (n - 1 + low - d * i) // s + 1)
            place.append(slice(first, max(stop, first)))
            source.append(slice(s * first - low + d * i, s * (max(stop, first) - 1) - low + d * i + 1 if stop > first else s * first - low + d * i, s))
        if all(p.stop > p.start for p in place):
            use((slice(None), *place), last[(slice(None), *source)])
