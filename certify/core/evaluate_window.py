"""Values of the operators with weights or windows: dense, conv, conv_transpose, pools."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .evaluate_base import Operand, operator

Index = tuple[Any, ...]

# A matrix of columns of about 1 MiB stays in the cache between its making and the product; below 128 columns BLAS loses its speed.
_COLUMN_ENTRIES, _LEAST_COLUMNS = 1 << 17, 128


@operator("dense")
def dense(op: Operand, x: np.ndarray) -> np.ndarray:
    """x W' + b over the last axis: K products, n = K + 1 roundings with the bias (K without)."""
    weight = op.arrays["weight"]
    y = x.reshape(-1, weight.shape[1]) @ weight.T
    if "bias" in op.arrays:
        y += op.arrays["bias"]
    return y.reshape(len(x), *op.shape)


@operator("conv")
def conv(op: Operand, x: np.ndarray) -> np.ndarray:
    """Inner products of windows and kernel: K = (c_in / groups) prod(kernel) products, n = K + 1 roundings with the bias (K without).

    im2col in tiles of samples (or of rows, where one sample is large) that stay in the cache, one BLAS product per tile and group.
    """
    weight, a = op.arrays["weight"], op.attrs
    (c_out, _, *kernel), groups, sites = weight.shape, a["groups"], op.shape[1:]
    terms, per_row = math.prod(weight.shape[1:]), math.prod(sites[1:])
    matrix = np.ascontiguousarray(weight).reshape(groups, c_out // groups, terms)
    columns = max(_LEAST_COLUMNS, _COLUMN_ENTRIES // (terms * groups))
    samples = max(1, min(len(x), columns // math.prod(sites)))
    rows = min(sites[0], max(1, columns // per_row)) if samples == 1 else sites[0]
    buffer = np.empty(terms * groups * samples * rows * per_row)
    pad = Padding(x.shape[1:], samples, a["padding"], a["mode"])
    y = np.empty((len(x), *op.shape))
    spread = (-1, *(1,) * (len(sites) + 1))
    for i in range(0, len(x), samples):
        windows = _windows(pad(x[i : i + samples]), kernel, a["stride"], a["dilation"], sites)
        for r in range(0, sites[0], rows):
            place: Index = (..., slice(r, r + rows), *(slice(None),) * (len(sites) - 1))
            part = windows[place]
            block = buffer[: part.size].reshape(part.shape)
            np.copyto(block, part)
            product = (matrix @ block.reshape(groups, terms, -1)).reshape(c_out, *part.shape[1 + len(kernel) :])
            if "bias" in op.arrays:
                product += op.arrays["bias"].reshape(spread)
            y[i : i + samples, :, r : r + rows] = product.swapaxes(0, 1)
    return y


class Padding:
    """Pads batches of at most `samples` images; under zero padding the border of one buffer is written once."""

    def __init__(self, shape: tuple[int, ...], samples: int, padding: tuple[tuple[int, int], ...], mode: str):
        self.mode, self.padding = mode, padding
        self.plain = not any(low or high for low, high in padding)
        if mode == "zeros" and not self.plain:
            self.buffer = np.zeros((samples, shape[0], *(n + low + high for n, (low, high) in zip(shape[1:], padding))))
            self.inside = (slice(None), *(slice(low, low + n) for n, (low, _) in zip(shape[1:], padding)))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if self.plain:
            return x
        if self.mode != "zeros":
            for axis, (low, high) in enumerate(self.padding, start=2):
                x = np.take(x, padded_index(x.shape[axis], low, high, self.mode), axis=axis)
            return x
        padded = self.buffer[: len(x)]
        padded[(slice(None), *self.inside)] = x
        return padded


def padded_index(length: int, low: int, high: int, mode: str) -> np.ndarray:
    """Which entry of an axis stands at each place of the padded axis; mode reflect (border not repeated), replicate or circular."""
    i = np.arange(-low, length + high)
    if mode == "circular":
        return i % length
    if mode == "replicate":
        return np.clip(i, 0, length - 1)
    period = max(2 * (length - 1), 1)
    i = np.abs(i) % period
    return np.minimum(i, period - i) if length > 1 else np.zeros_like(i)


def _windows(x: np.ndarray, kernel, stride, dilation, sites) -> np.ndarray:
    """View (channels, *kernel, n, *sites) of a padded batch (n, channels, *lengths); `infer_shape` has made sure that all windows lie inside."""
    n, c, *steps = x.strides
    strides = (c, *(s * d for s, d in zip(steps, dilation)), n, *(s * t for s, t in zip(steps, stride)))
    return as_strided(x, (x.shape[1], *kernel, len(x), *sites), strides, writeable=False)


@operator("conv_transpose")
def conv_transpose(op: Operand, x: np.ndarray) -> np.ndarray:
    """The adjoint of a convolution: an entry is a sum of at most K = (c_in / groups) prod(kernel) products, n = K + 1 roundings with the bias."""
    weight, a = op.arrays["weight"], op.attrs
    (c_in, _, *kernel), groups = weight.shape, a["groups"]
    taps = weight.reshape(groups, c_in // groups, -1, math.prod(kernel)).transpose(3, 0, 2, 1)  # (taps, groups, c_out / g, c_in / g)
    flat = x.reshape(len(x), groups, c_in // groups, -1)
    lengths = [size + low + high for size, (low, high) in zip(op.shape[1:], a["padding"])]
    whole = np.zeros((len(x), op.shape[0], *lengths))
    for matrix, tap in zip(taps, np.ndindex(*kernel)):
        window: Index = tuple(slice(d * t, d * t + s * (n - 1) + 1, s) for d, t, s, n in zip(a["dilation"], tap, a["stride"], x.shape[2:]))
        place: Index = (..., *window)
        whole[place] += (np.ascontiguousarray(matrix) @ flat).reshape(len(x), op.shape[0], *x.shape[2:])
    inside: Index = (..., *(slice(low, low + n) for n, (low, _) in zip(op.shape[1:], a["padding"])))
    y = whole[inside]
    if "bias" in op.arrays:
        y = y + op.arrays["bias"].reshape(-1, *(1,) * len(kernel))
    return np.ascontiguousarray(y)


def _taps(op: Operand, dilation) -> Iterator[tuple[Index, Index]]:
    """For every tap of a pool: which outputs read a real entry through it, and which entries, as slices over the spatial axes."""
    a, axes = op.attrs, []
    for n, m, k, s, (low, _), d in zip(op.in_shapes[0][1:], op.shape[1:], a["kernel"], a["stride"], a["padding"], dilation):
        rows = []
        for t in range(max(0, -((s * (m - 1) - low) // d)), min(k, (n - 1 + low) // d + 1)):  # the others only see padding
            first = max(0, -((d * t - low) // s))  # least o with s o - low + d t >= 0
            count = min(m, (n - 1 + low - d * t) // s + 1) - first
            if count > 0:
                start = s * first - low + d * t
                rows.append((slice(first, first + count), slice(start, start + s * (count - 1) + 1, s)))
        axes.append(rows)
    for combination in itertools.product(*axes):
        yield (..., *(c[0] for c in combination)), (..., *(c[1] for c in combination))


@operator("max_pool")
def max_pool(op: Operand, x: np.ndarray) -> np.ndarray:
    """Exact; padding never wins, and `infer_shape` has made sure that every window holds a real entry."""
    y = np.full((len(x), *op.shape), -np.inf)
    for out, entries in _taps(op, op.attrs["dilation"]):
        place = y[out]
        np.maximum(place, x[entries], out=place)
    return y


@operator("avg_pool")
def avg_pool(op: Operand, x: np.ndarray) -> np.ndarray:
    """Sum of K = prod(kernel) entries over the divisor: n = K roundings (K - 1 additions, one division)."""
    y = np.zeros((len(x), *op.shape))
    for out, entries in _taps(op, (1,) * len(op.shape[1:])):
        y[out] += x[entries]
    y /= op.arrays["divisor"]
    return y
