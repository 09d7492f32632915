"""Handlers of pools, reductions and softmax."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .trace_emit import Call, Traced, Unusable, translates
from .trace_layers import Ints, ints
from .trace_refusals import refusal


def _spatial(call: Call, x: Traced) -> int:
    n = int(call.op.removesuffix("_with_indices")[-2])
    if len(x.shape) != n + 1:
        call.refuse_batch("takes the batch axis for channels (the input has no channel axis)")
    return n


def _high(length: int, outputs: int, kernel: int, stride: int, low: int, dilation: int = 1) -> int:
    """High padding that gives exactly `outputs` windows: torch's own (= low), or what ceil_mode adds."""
    extent = dilation * (kernel - 1) + 1
    if (length + 2 * low - extent) // stride + 1 == outputs:
        return low
    return (outputs - 1) * stride + extent - length - low


@translates("max_pool1d", "max_pool2d", "max_pool3d", "max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices")
def max_pool(call: Call, x: Traced, kernel_size: Ints, stride: Any = None, padding: Ints = 0, dilation: Ints = 1, ceil_mode: bool = False, return_indices: bool = False) -> Any:
    n = _spatial(call, x)
    kernel, lows, steps = ints(call, kernel_size, n), ints(call, padding, n), ints(call, dilation, n)
    strides = kernel if stride is None or stride in ((), []) else ints(call, stride, n)
    pair = isinstance(call.result, tuple)
    sizes = (call.result[0] if pair else call.result).shape[2:]
    pads = [(low, _high(size, m, k, s, low, d)) for size, m, k, s, low, d in zip(x.shape[1:], sizes, kernel, strides, lows, steps)]
    name = call.add("max_pool", [x.name], {"kernel": kernel, "stride": strides, "padding": pads, "dilation": steps})
    return (name, Unusable("the indices of a max pool jump and have no Lipschitz constant")) if pair else name


@translates("avg_pool1d", "avg_pool2d", "avg_pool3d")
def avg_pool(
    call: Call, x: Traced, kernel_size: Ints, stride: Any = None, padding: Ints = 0, ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: Any = None
) -> str:
    """The divisor of each window is torch's: windows of ceil_mode end at the padding, which counts or not."""
    n = _spatial(call, x)
    kernel, lows = ints(call, kernel_size, n), ints(call, padding, n)
    strides = kernel if stride is None or stride in ((), []) else ints(call, stride, n)
    sizes, counts, pads = call.result.shape[2:], [], []
    for length, outputs, k, s, low in zip(x.shape[1:], sizes, kernel, strides, lows):
        start = s * np.arange(outputs) - low
        stop = np.minimum(start + k, length + low)
        counts.append(stop - start if count_include_pad else np.minimum(stop, length) - np.maximum(start, 0))
        pads.append((low, _high(length, outputs, k, s, low)))
    divisor = np.full(tuple(sizes), float(divisor_override)) if divisor_override else _outer(counts)
    return call.add("avg_pool", [x.name], {"kernel": kernel, "stride": strides, "padding": pads}, {"divisor": divisor})


def _outer(counts: list[np.ndarray]) -> np.ndarray:
    result = np.ones(())
    for count in counts:
        result = np.multiply.outer(result, count.astype(np.float64))
    return result


@translates("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d")
def adaptive_avg_pool(call: Call, x: Traced, output_size: Any) -> str:
    """Dividing sizes are an average pool, size 1 a mean; otherwise windows floor(i n / m) .. ceil((i + 1) n / m): a 0/1 matrix per axis, then a division."""
    n = _spatial(call, x)
    before, after = x.shape[1:], tuple(call.result.shape[2:])
    if set(after) == {1}:
        return call.add("reduce", [x.name], {"kind": "mean", "axes": tuple(range(1, n + 1)), "keepdims": True})
    if all(a % b == 0 for a, b in zip(before, after)):
        kernel = tuple(a // b for a, b in zip(before, after))
        attrs = {"kernel": kernel, "stride": kernel, "padding": [(0, 0)] * n}
        return call.add("avg_pool", [x.name], attrs, {"divisor": np.full(after, float(math.prod(kernel)))})
    name, counts = x.name, []
    for axis, (length, m) in enumerate(zip(before, after), start=1):
        i, pixel = np.arange(m)[:, None], np.arange(length)
        member = (pixel >= i * length // m) & (pixel < -(-(i + 1) * length // m))
        counts.append(member.sum(axis=1))
        order = [a for a in range(n + 1) if a != axis] + [axis]
        turned = call.add("transpose", [name], {"perm": order}, part=f"axis{axis}.in")
        summed = call.add("dense", [turned], {}, {"weight": member.astype(np.float64)}, part=f"axis{axis}.sum")
        name = call.add("transpose", [summed], {"perm": tuple(int(p) for p in np.argsort(order))}, part=f"axis{axis}.out")
    return call.add("divide", [name], {}, {"value": _outer(counts)})


@translates("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive_max_pool(call: Call, x: Traced, output_size: Any, return_indices: bool = False) -> Any:
    n = _spatial(call, x)
    pair = isinstance(call.result, tuple)
    before, after = x.shape[1:], tuple((call.result[0] if pair else call.result).shape[2:])
    if any(a % b for a, b in zip(before, after)):
        call.refuse("an adaptive max pool whose sizes do not divide", found=f"{before} -> {after}", expected="output sizes that divide the input's")
    kernel = tuple(a // b for a, b in zip(before, after))
    name = call.add("max_pool", [x.name], {"kernel": kernel, "stride": kernel, "padding": [(0, 0)] * n, "dilation": (1,) * n})
    return (name, Unusable("the indices of a max pool jump and have no Lipschitz constant")) if pair else name


def axes_of(call: Call, dim: Any, ndim: int) -> tuple[int, ...]:
    """The axes of a reduction; none given means all of them, the batch too."""
    if dim is None or dim in ((), []):
        call.refuse_batch("reduces over all axes, the batch axis too")
    return tuple(sorted(call.axis(d, ndim) for d in (dim if isinstance(dim, tuple | list) else (dim,))))


def reduced(call: Call, x: Traced, kind: str, dim: Any, keepdim: Any, part: str = "") -> str:
    return call.add("reduce", [x.name], {"kind": kind, "axes": axes_of(call, dim, x.value.ndim), "keepdims": bool(keepdim)}, part=part)


@translates("mean")
def mean(call: Call, x: Traced, dim: Any = None, keepdim: Any = False, *, dtype: Any = None) -> str:
    return reduced(call, x, "mean", dim, keepdim)


@translates("sum")
def total(call: Call, x: Traced, dim: Any = None, keepdim: Any = False, *, dtype: Any = None) -> str:
    return reduced(call, x, "sum", dim, keepdim)


@translates("amax")
def amax(call: Call, x: Traced, dim: Any = (), keepdim: Any = False) -> str:
    return reduced(call, x, "max", dim, keepdim)


@translates("amin")
def amin(call: Call, x: Traced, dim: Any = (), keepdim: Any = False) -> str:
    return reduced(call, x, "min", dim, keepdim)


def _softmax_axis(call: Call, x: Traced, dim: Any) -> int:
    if dim is None:  # what torch guesses, with a warning
        dim = 0 if x.value.ndim in (0, 1, 3) else 1
    return call.axis(dim, x.value.ndim)


@translates("softmax", "_softmax")
def softmax(call: Call, x: Traced, dim: Any = None, *settings: Any, **more: Any) -> str:
    return call.add("softmax", [x.name], {"axis": _softmax_axis(call, x, dim)})


@translates("log_softmax", "_log_softmax")
def log_softmax(call: Call, x: Traced, dim: Any = None, *settings: Any, **more: Any) -> str:
    return call.add("log_softmax", [x.name], {"axis": _softmax_axis(call, x, dim)})


@translates("softmin")
def softmin(call: Call, x: Traced, dim: Any = None, *settings: Any, **more: Any) -> str:
    negative = call.add("scale", [x.name], {}, {"value": np.float64(-1.0)}, part="neg")
    return call.add("softmax", [negative], {"axis": _softmax_axis(call, x, dim)})


@translates("logsumexp")
def logsumexp(call: Call, x: Traced, dim: Any, keepdim: bool = False) -> str:
    axes = axes_of(call, dim, x.value.ndim)
    if len(axes) != 1:
        raise refusal("logsumexp over several axes", call.where)
    name = call.add("logsumexp", [x.name], {"axis": axes[0]})
    return call.reshape(name, tuple(call.result.shape[1:]))
