"""Handlers of operators that move or copy entries: reshape, permute, index, pad, upsample."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from .trace_emit import Call, Traced, translates

FULL = slice(None)


@translates("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as", "ravel", "_unsafe_view", several=True)
def reshape(call: Call, x: Any, *settings: Any, **more: Any) -> str:
    """Any of them keeps the order of the entries, so with n rows before and after, row i stays row i."""
    value = call.result
    if not isinstance(x, Traced) or not isinstance(value, torch.Tensor) or value.dtype != x.value.dtype:
        call.refuse(f"'{call.op}' that is not a change of shape")
    if value.ndim < 1 or value.shape[0] != call.batch:
        call.refuse_batch("merges or moves the batch axis")
    return call.reshape(x.name, tuple(value.shape[1:]), part="")


@translates("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "T", "mT", "numpy_T", "t_copy")
def transpose(call: Call, x: Traced, *settings: Any, **more: Any) -> str:
    """The permutation is read off by moving the axes of an empty tensor with distinct lengths."""
    probe = call.execute(torch.empty(tuple(range(1, x.value.ndim + 1)), device="meta"), *settings, **more)
    perm = tuple(n - 1 for n in probe.shape)
    if perm[0] != 0:
        call.refuse_batch("moves the batch axis")
    perm = tuple(p - 1 for p in perm[1:])
    return x.name if perm == tuple(range(len(perm))) else call.add("transpose", [x.name], {"perm": perm})


@translates("expand", "expand_as", "broadcast_to", several=True)
def expand(call: Call, x: Any, *settings: Any, **more: Any) -> str:
    if not isinstance(x, Traced):  # a constant made as large as a batch
        return call.expand(call.constant(call.per_sample(x, call.result.ndim)), tuple(call.result.shape[1:]), part="")
    if call.result.ndim != x.value.ndim or call.result.shape[0] != call.batch:
        call.refuse_batch("moves the batch axis")
    return call.expand(x.name, tuple(call.result.shape[1:]), part="")


def sliced(call: Call, name: str, axis: int, start: int, stop: int, step: int = 1, part: str = "") -> str:
    length = call.shape(name)[axis]
    if start >= stop:
        call.refuse(f"'{call.op}' leaves nothing of an axis", found=f"{start}:{stop} of {length}")
    return name if (start, stop, step) == (0, length, 1) else call.add("slice", [name], {"axis": axis, "start": start, "stop": stop, "step": step}, part=part)


@translates("slice", "narrow")
def slice_(call: Call, x: Traced, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> str:
    if call.op == "narrow":
        start, end = int(start), int(start) + int(end)
    if dim % x.value.ndim == 0:
        if slice(start, end, step).indices(call.batch) == (0, call.batch, 1):
            return x.name  # aten writes x[:] as a slice of the batch axis
        call.refuse_batch("takes a part of the batch")
    axis = call.axis(dim, x.value.ndim)
    return sliced(call, x.name, axis, *slice(start, end, step).indices(x.shape[axis]))


def selected(call: Call, name: str, axis: int, index: int) -> str:
    shape = call.shape(name)
    index += shape[axis] if index < 0 else 0
    return call.reshape(sliced(call, name, axis, index, index + 1, part="one"), shape[:axis] + shape[axis + 1 :], part="")


@translates("select")
def select(call: Call, x: Traced, dim: int, index: int) -> str:
    return selected(call, x.name, call.axis(dim, x.value.ndim), index)


@translates("unbind")
def unbind(call: Call, x: Traced, dim: int = 0) -> tuple:
    axis = call.axis(dim, x.value.ndim)
    return tuple(selected(call, x.name, axis, i) for i in range(x.shape[axis]))


@translates("chunk", "split", "split_with_sizes", "tensor_split", "unsafe_chunk", "unsafe_split")
def split(call: Call, x: Traced, sizes: Any, dim: int = 0, **more: Any) -> tuple:
    """The sizes are those of the executed parts."""
    axis, start, names = call.axis(dim, x.value.ndim), 0, []
    for part in call.result:
        names.append(sliced(call, x.name, axis, start, start + part.shape[dim]))
        start += part.shape[dim]
    if start != x.shape[axis]:
        call.refuse(f"'{call.op}' into parts that overlap or leave something out")
    return tuple(names)


@translates("getitem")
def getitem(call: Call, x: Traced, index: Any) -> str:
    """Integers, slices, None and Ellipsis become slices and reshapes; constant index arrays become a gather. The batch axis must be taken whole."""
    items = list(index) if isinstance(index, tuple) else [index]
    if any(isinstance(i, list | torch.Tensor | np.ndarray | bool) for i in items):
        return moved(call, x, index)
    missing = x.value.ndim - sum(i is not None and i is not Ellipsis for i in items)
    if Ellipsis not in items:
        items.append(Ellipsis)
    place = items.index(Ellipsis)
    items[place : place + 1] = [FULL] * missing
    if items[0] != FULL and not (isinstance(items[0], slice) and items[0].indices(call.batch) == (0, call.batch, 1)):
        call.refuse_batch("takes a part of the batch")
    name, axis = x.name, 0
    for item in items[1:]:
        if item is None:
            continue
        if isinstance(item, slice):
            name = sliced(call, name, axis, *item.indices(x.shape[axis]), part=f"axis{axis}")
        elif isinstance(item, int) and not isinstance(item, bool):
            start = item % x.shape[axis]
            name = sliced(call, name, axis, start, start + 1, part=f"axis{axis}")
        else:
            call.refuse("an index that is not a number, a slice or a constant", found=type(item).__name__)
        axis += 1
    return call.reshape(name, tuple(call.result.shape[1:]), part="")


@translates("flip", "fliplr", "flipud", "roll", "rot90", "repeat", "tile", "repeat_interleave", "unfold", "index_select", "diagonal", "im2col")
def moved(call: Call, x: Traced, *settings: Any, **more: Any) -> str:
    """An operator that copies entries, whichever: found out by letting it move the numbers of the entries.

    The operator is executed on numbers i n + k for entry k of sample i; if every sample's result holds its own numbers in the same order,
    and no zero of a padding, the operator is that gather.
    """
    size = math.prod(x.shape)
    numbers = 1.0 + torch.arange(call.batch * size, dtype=torch.float64).reshape(x.value.shape)
    result = call.execute(numbers, *settings, **more)
    if not isinstance(result, torch.Tensor) or result.ndim < 1 or result.shape[0] != call.batch or not result.numel():
        call.refuse_batch("moves the batch axis")
    rows = result.reshape(call.batch, -1).numpy() - 1.0 - size * np.arange(call.batch)[:, None]
    if not ((rows >= 0) & (rows < size) & (rows == rows[:1])).all():
        call.refuse_batch("mixes samples, or pads")
    index = rows[0].astype(np.int64)
    taken = call.add("gather", [call.reshape(x.name, (size,), part="flat")], {"axis": 0}, {"index": index}, part="gather")
    return call.reshape(taken, tuple(result.shape[1:]), part="")


@translates("pad", "constant_pad_nd", "_pad_circular", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d")
def pad(call: Call, x: Traced, pad: Any, mode: Any = "constant", value: Any = None) -> str:
    """torch lists the pads from the last axis on. Negative pads crop, after the padding."""
    if call.op != "pad":
        mode, value = {"c": "constant", "_": "circular", "r": call.op[:5]}[call.op[0]], mode if call.op == "constant_pad_nd" and mode != "constant" else value
        mode = {"refle": "reflect", "repli": "replicate"}.get(mode, mode)
    flat = [int(v) for v in pad]
    ndim = x.value.ndim
    pairs = [(0, 0)] * (ndim - len(flat) // 2) + [(flat[i], flat[i + 1]) for i in range(len(flat) - 2, -1, -2)]
    if len(flat) % 2 or len(pairs) != ndim or pairs[0] != (0, 0):
        call.refuse_batch("pads the batch axis")
    pairs = pairs[1:]
    grown = [(max(low, 0), max(high, 0)) for low, high in pairs]
    name = x.name
    if any(v for pair in grown for v in pair):
        name = call.add("pad", [name], {"pads": grown, "mode": mode, "value": float(value or 0.0)})
    for axis, (low, high) in enumerate(pairs):
        name = sliced(call, name, axis, max(0, -low), call.shape(name)[axis] - max(0, -high), part="crop")
    return name


@translates("interpolate", "upsample", "upsample_nearest", *(f"{kind}{n}d" for kind in ("upsample_nearest", "_upsample_nearest_exact") for n in (1, 2, 3)))
def upsample(call: Call, x: Traced, size: Any = None, scale_factor: Any = None, mode: str = "nearest", *settings: Any, **more: Any) -> str:
    """Nearest neighbour by integer factors, which is checked by letting the operator move the numbers of the pixels."""
    if call.op in ("interpolate", "upsample") and mode not in ("nearest", "nearest-exact"):
        what = f"interpolation of mode '{mode}' is linear in its input, but the graph vocabulary has no operator for it yet"
        call.refuse(what, expected="mode 'nearest' with integer factors")
    before, after = x.shape[1:], tuple(call.result.shape[2:])
    if len(after) != len(before) or any(m % n for n, m in zip(before, after)):
        call.refuse("an upsampling by factors that are not integers", found=f"{before} -> {after}", expected="integer factors")
    factors = tuple(m // n for n, m in zip(before, after))
    numbers = torch.arange(math.prod(before), dtype=torch.float64).reshape(1, 1, *before)
    wanted = numbers
    for axis, factor in enumerate(factors, start=2):
        wanted = wanted.repeat_interleave(factor, dim=axis)
    if not torch.equal(call.execute(numbers, size, scale_factor, *([mode] if call.op in ("interpolate", "upsample") else []), *settings, **more), wanted):
        call.refuse("an upsampling whose factors are not integers", found=f"{before} -> {after}, scale_factor {scale_factor}", expected="integer factors")
    return x.name if set(factors) == {1} else call.add("upsample", [x.name], {"factors": factors})


@translates("pixel_shuffle")
def pixel_shuffle(call: Call, x: Traced, upscale_factor: int) -> str:
    r, (c, h, w) = upscale_factor, x.shape
    name = call.reshape(x.name, (c // r**2, r, r, h, w), part="cut")
    return call.reshape(call.add("transpose", [name], {"perm": (0, 3, 1, 4, 2)}, part="turn"), (c // r**2, h * r, w * r), part="")


@translates("pixel_unshuffle")
def pixel_unshuffle(call: Call, x: Traced, downscale_factor: int) -> str:
    r, (c, h, w) = downscale_factor, x.shape
    name = call.reshape(x.name, (c, h // r, r, w // r, r), part="cut")
    return call.reshape(call.add("transpose", [name], {"perm": (0, 2, 4, 1, 3)}, part="turn"), (c * r**2, h // r, w // r), part="")


@translates("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(call: Call, x: Traced, groups: int) -> str:
    c, *rest = x.shape
    name = call.reshape(x.name, (groups, c // groups, *rest), part="cut")
    perm = (1, 0, *range(2, 2 + len(rest)))
    return call.reshape(call.add("transpose", [name], {"perm": perm}, part="turn"), x.shape, part="")
