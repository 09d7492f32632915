"""Upsample and Resize: nearest neighbour by whole factors, the source of every pixel computed exactly."""

from __future__ import annotations

import math

import numpy as np

from ..onnx_network import Network
from ..onnx_values import Call, Const, Tensor
from .registry import operator


@operator("Upsample", until=9)
def upsample(net: Network, call: Call) -> Tensor:
    """Nearest: pixel i comes from floor(i / scale)."""
    if call.opset < 9:
        call.count(1, 1)
        scales = call.attr("scales", [], list)
    else:
        call.count(2, 2)
        scales = _floats(call, 1)
    _nearest(call)
    return _enlarge(net, call, net.tensor(call, call.input(0)), _factors(call, scales or []), "asymmetric", "floor")


@operator("Resize", since=10)
def resize(net: Network, call: Call) -> Tensor:
    """Nearest by whole factors, in every coordinate and rounding mode of the standard."""
    x = net.tensor(call, call.input(0))
    _nearest(call)
    if call.opset == 10:
        call.count(2, 2)
        return _enlarge(net, call, x, _factors(call, _floats(call, 1) or []), "asymmetric", "floor")
    call.count(1, 4)
    coordinates, rounding = call.attr("coordinate_transformation_mode", "half_pixel"), call.attr("nearest_mode", "round_prefer_floor")
    for name, kind in (("cubic_coeff_a", float), ("exclude_outside", int), ("extrapolation_value", float)):
        call.attr(name, None, kind)  # without meaning for nearest neighbours
    if call.attr("antialias", 0) != 0 or call.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise call.unsupported("antialias or keep_aspect_ratio_policy", expected="0 and 'stretch'")
    axes = call.attr("axes", None, list)
    axes = list(range(net.rank(x))) if axes is None else call.axes(axes, net.rank(x))
    scales, sizes = _floats(call, 2), call.integers(3, "the sizes")
    if (not scales) == (not sizes):
        raise call.invalid("exactly one of scales and sizes must be given", found=f"scales {scales}, sizes {sizes}")
    full = net.known_shape(x)
    if scales:
        given = _factors(call, scales)
    else:
        given = [_ratio(call, full[a], s) for a, s in zip(axes, sizes or [])]
    if len(given) != len(axes):
        raise call.invalid("scales or sizes do not fit the axes", found=len(given), expected=len(axes))
    factors = [1] * len(full)
    for a, f in zip(axes, given):
        factors[a] = f
    return _enlarge(net, call, x, factors, coordinates, rounding)


def _nearest(call: Call) -> None:
    mode = call.attr("mode", "nearest")
    if mode != "nearest":
        raise call.unsupported("only nearest-neighbour resizing is known", found=mode, expected="mode 'nearest'")


def _floats(call: Call, i: int) -> list[float] | None:
    value = call.optional(i)
    if value is None:
        return None
    if not isinstance(value, Const) or not value.is_float or value.array.ndim > 1:
        raise call.unsupported("the scales are not a list of floats known from the file")
    return [float(v) for v in np.atleast_1d(value.array)]


def _factors(call: Call, scales: list[float]) -> list[int]:
    if not all(s >= 1 and s == math.floor(s) and s <= 1 << 20 for s in scales):  # NaN fails
        raise call.unsupported("a scale that is not a whole number", found=scales[:8], expected="whole factors from 1")
    return [int(s) for s in scales]


def _ratio(call: Call, old: object, new: object) -> int:
    if old is new:  # the batch
        return 1
    if not isinstance(old, int) or not isinstance(new, int) or new < old or new % old:
        raise call.unsupported("a size that is not a whole multiple", found=f"{old} -> {new}", expected="whole factors from 1")
    return new // old


def _enlarge(net: Network, call: Call, x: Tensor, factors: list[int], coordinates: str, rounding: str) -> Tensor:
    if len(factors) != net.rank(x):
        raise call.invalid("the scales do not fit the axes", found=factors, expected=f"{net.rank(x)} of them")
    if x.lead and factors[0] != 1:
        x = net.flat(call, x)
    factors = factors[x.lead :]
    shape = net.shape(x)
    net.check_size(call, [n * f for n, f in zip(shape, factors)])
    sources = [_sources(call, n, f, coordinates, rounding) for n, f in zip(shape, factors)]
    plain = all(np.array_equal(s, np.arange(n * f) // f) for s, n, f in zip(sources, shape, factors))
    if plain and x.lead and 2 <= len(shape) <= 4 and factors[0] == 1:
        return x if max(factors) == 1 else net.emit(call, "upsample", [x], {"factors": tuple(factors[1:])})
    for k, (source, n) in enumerate(zip(sources, shape)):
        if not np.array_equal(source, np.arange(n)):
            x = net.emit(call, "gather", [x], {"axis": k}, {"index": source})
    return x


# position of pixel i of the enlarged axis in the original, as a fraction numerator / denominator: (opsets, i, size, factor) -> both
_POSITIONS = {
    "asymmetric": (8, 22, lambda i, n, f: (i, f)),
    "half_pixel": (11, 22, lambda i, n, f: (2 * i + 1 - f, 2 * f)),
    "half_pixel_symmetric": (19, 22, lambda i, n, f: (2 * i + 1 - f, 2 * f)),  # the adjustment, new size / (n f), is 1 for whole factors
    "pytorch_half_pixel": (11, 22, lambda i, n, f: (2 * i + 1 - f, 2 * f) if n * f > 1 else (0 * i, 1)),
    "align_corners": (11, 22, lambda i, n, f: (i * (n - 1), max(n * f - 1, 1))),
    "tf_half_pixel_for_nn": (11, 12, lambda i, n, f: (2 * i + 1, 2 * f)),
}
_ROUNDINGS = {
    "floor": lambda a, b: a // b,
    "ceil": lambda a, b: -(-a // b),
    "round_prefer_floor": lambda a, b: -((b - 2 * a) // (2 * b)),
    "round_prefer_ceil": lambda a, b: (2 * a + b) // (2 * b),
}


def _sources(call: Call, size: int, factor: int, coordinates: str, rounding: str) -> np.ndarray:
    """For each pixel of the enlarged axis, the pixel it copies, in exact integers; an axis with factor 1 stays as it is."""
    since, until, position = _POSITIONS.get(coordinates, (99, 0, None))
    shifted = coordinates == "tf_half_pixel_for_nn" and rounding not in ("floor", "round_prefer_floor")  # would move even axes of factor 1
    if position is None or not since <= call.opset <= until or rounding not in _ROUNDINGS or shifted:
        raise call.unsupported(
            "a coordinate or rounding mode that is not known for this opset", found=f"{coordinates}, {rounding}", expected=f"{', '.join(_POSITIONS)}; {', '.join(_ROUNDINGS)}"
        )
    i = np.arange(size * factor, dtype=np.int64)
    if factor == 1:
        return i
    return np.clip(_ROUNDINGS[rounding](*position(i, size, factor)), 0, size - 1)
