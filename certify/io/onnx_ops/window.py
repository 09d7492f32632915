"""Stride, padding, dilation of a sliding window, as ONNX writes them (pads, auto_pad, ceil_mode, output_shape)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..onnx_network import MAX_ELEMENTS, Network
from ..onnx_values import Call, Tensor

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Window:
    """A window on `spatial` axes. `padding` makes every window fit (`sizes` of them); `asked` is the padding that counts in an average (without what ceil_mode adds)."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]
    asked: Pairs
    sizes: tuple[int, ...]

    @classmethod
    def read(cls, net: Network, call: Call, x: Tensor, kernel: tuple[int, ...] | None, transposed: bool = False, ceil: bool = False) -> Window:
        """The window of a call whose input is the image `x`; `kernel` from the weight, or None to take the attribute."""
        spatial = net.shape(x)[1:]
        n = len(spatial)
        given = call.attr("kernel_shape", None if kernel is not None else [])
        if kernel is None:
            kernel = tuple(_integers(call, "kernel_shape", given, n, 1))
        elif len(kernel) != n or (given is not None and given != list(kernel)):
            raise call.invalid("the kernel does not fit the input", found=f"kernel {kernel}, kernel_shape {given}, spatial axes {spatial}", expected=f"{n} spatial axes")
        stride = _integers(call, "strides", call.attr("strides", [1] * n), n, 1)
        dilation = _integers(call, "dilations", call.attr("dilations", [1] * n), n, 1)
        extra = _integers(call, "output_padding", call.attr("output_padding", [0] * n), n, 0) if transposed else (0,) * n
        ends = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
        if transposed:
            padding = _transposed_padding(call, spatial, ends, stride, extra)
            return cls(tuple(kernel), stride, padding, dilation, extra, padding, ())
        padding = _padding(call, spatial, ends, stride)
        return cls._fitted(call, net.shape(x), kernel, stride, padding, dilation, extra, ends, ceil)

    @classmethod
    def _fitted(cls, call: Call, image, kernel, stride, padding, dilation, extra, ends, ceil: bool) -> Window:
        """Padding extended upwards where ceil_mode adds a window."""
        if ceil and call.attr("auto_pad", "NOTSET") != "NOTSET":
            raise call.unsupported("ceil_mode together with auto_pad", expected="one of them")
        fitted, sizes = [], []
        for size, (low, high), end, s in zip(image[1:], padding, ends, stride):
            room = size + low + high - end
            count = (-(-room // s) if ceil else room // s) + 1
            if ceil and (count - 1) * s >= size + low:
                raise call.unsupported(
                    "ceil_mode makes a window that starts outside the padded input: versions of ONNX disagree about it",
                    found=f"window {count - 1} of stride {s} on {size} + {low}",
                    expected="windows that start inside",
                    hint="set ceil_mode=False or change the padding",
                )
            if count < 1:
                raise call.invalid("the window is larger than the padded input", found=f"a window of {end} on {size} + {low} + {high}", expected="room for at least one window")
            fitted.append((low, max(high, (count - 1) * s + end - size - low) if ceil else high))
            sizes.append(count)
        if image[0] * math.prod(max(n, 1) + low + high for n, (low, high) in zip(image[1:], fitted)) > MAX_ELEMENTS:
            raise call.invalid("the padded input is too large", found=fitted, expected=f"at most {MAX_ELEMENTS} entries for one sample")
        return cls(tuple(kernel), stride, tuple(fitted), dilation, extra, padding, tuple(sizes))


def _integers(call: Call, name: str, values: object, count: int, least: int) -> tuple[int, ...]:
    if not isinstance(values, list) or len(values) != count or not all(isinstance(v, int) and least <= v <= MAX_ELEMENTS for v in values):
        raise call.invalid(f"attribute '{name}' is missing or has a wrong length or value", found=str(values)[:60], expected=f"{count} integers from {least}")
    return tuple(values)


def _pairs(call: Call, n: int) -> Pairs | None:
    """The `pads` attribute as (low, high) pairs, or None when it is absent."""
    flat = call.attr("pads", None, list)
    if flat is None:
        return None
    values = _integers(call, "pads", flat, 2 * n, 0)
    return tuple(zip(values[:n], values[n:]))


def _auto(call: Call, pads: Pairs | None) -> str:
    auto = call.attr("auto_pad", "NOTSET")
    if auto not in ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"):
        raise call.unsupported("attribute 'auto_pad' has a value that is not known", found=auto, expected="NOTSET, SAME_UPPER, SAME_LOWER or VALID")
    if auto != "NOTSET" and pads is not None and any(map(any, pads)):
        raise call.invalid("both auto_pad and pads are given", found=f"{auto} and {pads}", expected="one of them")
    return auto


def _padding(call: Call, spatial, ends, stride) -> Pairs:
    pads = _pairs(call, len(spatial))
    auto = _auto(call, pads)
    if auto == "NOTSET" or auto == "VALID":
        return pads or ((0, 0),) * len(spatial)
    totals = [max((-(-size // s) - 1) * s + end - size, 0) for size, end, s in zip(spatial, ends, stride)]
    return tuple((t // 2, t - t // 2) if auto == "SAME_UPPER" else (t - t // 2, t // 2) for t in totals)


def _transposed_padding(call: Call, spatial, ends, stride, extra) -> Pairs:
    """From pads, or from the wanted size: total = stride (in - 1) + output_padding + end - out, half on each side."""
    n = len(spatial)
    pads = _pairs(call, n)
    auto, wanted = _auto(call, pads), call.attr("output_shape", None, list)
    whole = [s * (size - 1) + e + end for size, e, end, s in zip(spatial, extra, ends, stride)]
    if math.prod(whole) > MAX_ELEMENTS:
        raise call.invalid("the output is too large", found=f"{whole} before padding is taken off", expected=f"at most {MAX_ELEMENTS} entries for one sample")
    if wanted is None and auto in ("NOTSET", "VALID"):
        return pads or ((0, 0),) * n
    if wanted is None:
        wanted = [size * s for size, s in zip(spatial, stride)]
    elif pads is not None and any(map(any, pads)):
        raise call.invalid("both output_shape and pads are given", found=f"{wanted} and {pads}", expected="one of them")
    totals = [w - o for w, o in zip(whole, _integers(call, "output_shape", list(wanted), n, 1))]
    if min(totals) < 0 or any(t % 2 for t in totals):
        raise call.unsupported(
            "an output size that needs negative padding, or an odd amount of it: versions of ONNX disagree on which side the extra pixel goes",
            found=f"output {wanted}, without padding {whole}",
            expected="a difference that is even and not negative",
            hint="give the padding by the attribute pads",
        )
    return tuple((t // 2, t // 2) for t in totals)
