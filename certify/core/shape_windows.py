"""Shape rules of the operators that slide a window over an image: convolutions, pools, upsampling."""

from __future__ import annotations

from .shape_fields import PAD_MODES, Fields, Shape, operator, outputs


def _windows(f: Fields, kernel: Shape, mode: str = "zeros", dilated: bool = True) -> Shape:
    """Output sizes of a window operator; the padded tensor must be of a sane size too."""
    spatial = f.image(len(kernel))
    stride, padding = f.integers("stride", len(kernel), 1), f.pairs("padding", len(kernel), 0)
    dilation = f.integers("dilation", len(kernel), 1) if dilated else (1,) * len(kernel)
    for n, pair in zip(spatial, padding):
        f.require_padding("padding", n, pair, mode)
    f.sized((f.x[0], *(n + low + high for n, (low, high) in zip(spatial, padding))))
    sizes = tuple(outputs(n, low, high, k, s, d) for n, (low, high), k, s, d in zip(spatial, padding, kernel, stride, dilation))
    if min(sizes) < 1:
        f.fail("the window is larger than the padded input", found=f"kernel {kernel}, dilation {dilation}, padding {padding} on {spatial}", expected="room for at least one window")
    return sizes


@operator("conv", attrs="stride padding dilation groups mode perturbation bias_perturbation", arrays="weight bias")
def _conv(f: Fields) -> Shape:
    weight, groups = f.array("weight", ndim=(3, 4, 5)), f.integer("groups", 1)
    f.image(len(weight) - 2)
    if f.x[0] != weight[1] * groups or weight[0] % groups:
        wanted = f"{weight[1] * groups} input channels, output channels divisible by groups"
        f.fail("channels do not match weight and groups", found=f"input {f.x}, weight {weight}, groups {groups}", expected=wanted)
    f.optional("bias", (weight[0],))
    f.folded()
    return (weight[0], *_windows(f, weight[2:], f.choice("mode", PAD_MODES)))


@operator("conv_transpose", attrs="stride padding output_padding dilation groups perturbation bias_perturbation", arrays="weight bias")
def _conv_transpose(f: Fields) -> Shape:
    weight, groups = f.array("weight", ndim=(3, 4, 5)), f.integer("groups", 1)
    kernel = weight[2:]
    spatial = f.image(len(kernel))
    if f.x[0] != weight[0] or weight[0] % groups:
        f.fail("channels do not match weight and groups", found=f"input {f.x}, weight {weight}, groups {groups}", expected=f"{weight[0]} input channels, divisible by groups")
    stride, dilation = f.integers("stride", len(kernel), 1), f.integers("dilation", len(kernel), 1)
    padding, extra = f.pairs("padding", len(kernel), 0), f.integers("output_padding", len(kernel), 0)
    channels = weight[1] * groups
    f.optional("bias", (channels,))
    f.folded()
    whole = tuple((n - 1) * s + d * (k - 1) + 1 + e for n, s, d, k, e in zip(spatial, stride, dilation, kernel, extra))
    f.sized((channels, *whole))
    return (channels, *(w - low - high for w, (low, high) in zip(whole, padding)))


@operator("max_pool", attrs="kernel stride padding dilation")
def _max_pool(f: Fields) -> Shape:
    kernel = f.integers("kernel", len(f.image()), 1)
    sizes = _windows(f, kernel)
    for n, m, k, s, (low, _), d in zip(f.x[1:], sizes, kernel, f.attrs["stride"], f.attrs["padding"], f.attrs["dilation"]):
        if not _sees_pixels(n, m, k, s, low, d):
            found = f"kernel {k}, stride {s}, padding {low}, dilation {d} on an axis of {n}"
            f.fail("a window of a max pool holds only padding", "padding", found=found, expected="a real entry in every window")
    return (f.x[0], *sizes)


def _sees_pixels(length: int, windows: int, kernel: int, stride: int, low: int, dilation: int) -> bool:
    """Does every window start - low + dilation t, t < kernel, hold an index of [0, length)?"""
    if stride * (windows - 1) - low >= length:
        return False
    early = min(windows, -(-low // stride))  # windows that start in the low padding
    if dilation <= length:  # then the first tap at or beyond 0 is inside; window 0 needs the most taps
        return early == 0 or -(-low // dilation) < kernel
    if early > 1 << 20:
        return False
    starts = [stride * o - low for o in range(early)]
    return all(-(p // dilation) < kernel and p % dilation < length for p in starts)


@operator("avg_pool", attrs="kernel stride padding", arrays="divisor")
def _avg_pool(f: Fields) -> Shape:
    sizes = _windows(f, f.integers("kernel", len(f.image()), 1), dilated=False)
    f.array("divisor", shape=sizes)
    return (f.x[0], *sizes)


@operator("upsample", attrs="factors")
def _upsample(f: Fields) -> Shape:
    spatial = f.image()
    return (f.x[0], *(n * k for n, k in zip(spatial, f.integers("factors", len(spatial), 1))))
