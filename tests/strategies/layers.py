"""Random small convolution and linear layers, with the same function in torch: 1-3 axes, stride, dilation, groups, transposed, every padding."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from hypothesis import strategies as st
from torch.nn import functional as F

from certify.core.graph import Graph, GraphBuilder
from certify.linear.base import LinearMap
from certify.linear.build import linear_map

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
KERNELS = ("normal", "normal", "normal", "positive", "ones", "zero", "one tap", "rank one", "integers", "sparse", "wild", "zero group")
Draw = Callable[[int, int], int]
"""draw(low, high) -> an integer between both ends; a Hypothesis draw or a random generator."""


@dataclass(frozen=True)
class Layer:
    """One layer: op is "conv", "conv_transpose" or "dense"; tuples are per spatial axis."""

    op: str
    weight: np.ndarray
    spatial: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    padding: tuple[tuple[int, int], ...] = ()
    groups: int = 1
    mode: str = "zeros"
    output_padding: tuple[int, ...] = ()
    lead: tuple[int, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        if self.op == "dense":
            return (*self.lead, self.weight.shape[1])
        return (self.weight.shape[0] if self.op == "conv_transpose" else self.weight.shape[1] * self.groups, *self.spatial)

    @cached_property
    def graph(self) -> Graph:
        builder = GraphBuilder()
        x = builder.add("input", attrs={"shape": self.input_shape})
        attrs: dict = {}
        if self.op != "dense":
            attrs = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}
            attrs |= {"mode": self.mode} if self.op == "conv" else {"output_padding": self.output_padding}
        return builder.build(builder.add(self.op, [x], attrs, {"weight": self.weight}, name="layer"))

    @cached_property
    def map(self) -> LinearMap:
        built = linear_map(self.graph["layer"], self.input_shape)
        assert built is not None
        return built

    def in_torch(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The layer on a batch, by torch's own operators."""
        if self.op == "dense":
            return F.linear(x, weight)
        dims = len(self.spatial)
        if self.op == "conv_transpose":
            if all(low == high for low, high in self.padding) and all(e < max(s, d) for e, s, d in zip(self.output_padding, self.stride, self.dilation)):
                return _TRANSPOSED[dims](x, weight, None, self.stride, [low for low, _ in self.padding], self.output_padding, self.groups, self.dilation)
            full = _TRANSPOSED[dims](x, weight, None, self.stride, 0, 0, self.groups, self.dilation)
            cut = [(-low, extra - high) for (low, high), extra in zip(self.padding, self.output_padding)]
            return F.pad(full, [v for pair in reversed(cut) for v in pair])
        pads = [v for pair in reversed(self.padding) for v in pair]
        padded = x if not any(pads) else F.pad(x, pads) if self.mode == "zeros" else F.pad(x, pads, mode=self.mode)
        return _CONV[dims](padded, weight, None, self.stride, 0, self.dilation, self.groups)

    def __repr__(self) -> str:
        names = ("spatial", "stride", "dilation", "padding", "groups", "mode", "output_padding")
        geometry = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"Layer({self.op!r}, weight={np.array2string(self.weight.ravel()[:6])} {self.weight.shape}, {geometry if self.op != 'dense' else self.lead})"


def random_layer(draw: Draw, limit: int = 150) -> Layer:
    """A layer whose matrix has at most about `limit` rows and columns."""
    if draw(0, 9) == 0:
        lead = (draw(1, 3),) if draw(0, 3) == 0 else ()
        return Layer("dense", random_weight(draw, (draw(1, 12), draw(1, 12))), lead=lead)
    dims = (1, 2, 2, 2, 3)[draw(0, 4)]
    transposed = draw(0, 3) == 0
    mode = "zeros" if transposed or draw(0, 1) else ("zeros", "circular", "reflect", "replicate")[draw(0, 3)]
    groups = (1, 1, 1, 2, 3)[draw(0, 4)]
    channels = (draw(1, 3), draw(1, 3))
    kernel = tuple(draw(1, (6, 4, 2)[dims - 1]) for _ in range(dims))
    stride, dilation = tuple(draw(1, 3) for _ in range(dims)), tuple((1, 1, 2, 3)[draw(0, 3)] for _ in range(dims))
    span = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel))
    spatial, padding = zip(*(_axis(draw, span[i], (12, 6, 3)[dims - 1], mode, transposed, stride[i]) for i in range(dims)))
    output_padding = tuple(draw(0, max(s, d) - 1) for s, d in zip(stride, dilation)) if transposed else ()
    rows = (groups * channels[0], channels[1], *kernel)
    layer = Layer("conv_transpose" if transposed else "conv", np.zeros(rows), spatial, stride, dilation, padding, groups, mode, output_padding)
    if max(layer.map.input_size, layer.map.output_size) > limit:
        return random_layer(draw, limit)
    return Layer(layer.op, random_weight(draw, rows, groups), spatial, stride, dilation, padding, groups, mode, output_padding)


def _axis(draw: Draw, span: int, largest: int, mode: str, transposed: bool, stride: int) -> tuple[int, tuple[int, int]]:
    """(input size, (low, high)) such that something comes out; kernels may be larger than the image, paddings asymmetric."""
    n = draw(1, largest)
    most = {"zeros": span + 1, "circular": n, "reflect": n - 1, "replicate": span + 1}[mode]
    low = draw(0, most)
    high = low if draw(0, 2) else draw(0, most)
    if transposed:
        out = (n - 1) * stride + span
        low, high = min(low, (out - 1) // 2), min(high, (out - 1) // 2)
    elif n + low + high < span:
        n = span  # no padding could help in every mode
        low = high = 0
    return n, (low, high)


def random_weight(draw: Draw, shape: tuple[int, ...], groups: int = 1) -> np.ndarray:
    """Kernels of many kinds, at scales 1e-30 .. 1e30."""
    rng = np.random.default_rng(draw(0, 2**32 - 1))
    kind = KERNELS[draw(0, len(KERNELS) - 1)]
    w = rng.standard_normal(shape)
    flat = w.reshape(-1)
    if kind == "positive":
        w = np.abs(w)
    elif kind == "ones":
        w = np.ones(shape)
    elif kind == "zero":
        w = np.zeros(shape)
    elif kind == "one tap":
        flat[:] = 0.0
        flat[rng.integers(flat.size)] = 1.0
    elif kind == "rank one":
        w = np.multiply.outer(rng.standard_normal(shape[0]), rng.standard_normal(shape[1:]))
    elif kind == "integers":
        w = rng.integers(-2, 3, shape).astype(np.float64)
    elif kind == "sparse":
        w = w * (rng.random(shape) < 0.3)
    elif kind == "wild":
        w = w * 10.0 ** rng.integers(-12, 13, shape)
    elif kind == "zero group":
        w.reshape(groups, -1)[0] = 0.0
    scale = 10.0 ** draw(-30, 30) if draw(0, 2) == 0 else 1.0
    w = w * scale
    return w.astype(np.float32).astype(np.float64) if draw(0, 1) and np.abs(w).max() < 1e38 else w


@st.composite
def layers(draw, limit: int = 150) -> Layer:
    """Hypothesis strategy of `Layer`."""
    return random_layer(lambda low, high: draw(st.integers(low, high)), limit)


def seeded(seed: int, limit: int = 150) -> Layer:
    """The layer of a seed; the same in every run."""
    rng = np.random.default_rng(seed)
    return random_layer(lambda low, high: int(rng.integers(low, high + 1)), limit)


def wide(seed: int, limit: int = 500) -> Layer:
    """A layer with up to 70 channels: matrices of the size at which the frequency methods change their factorisations and products."""
    rng = np.random.default_rng(seed)
    dims, groups = int(rng.integers(1, 3)), (1, 1, 2)[rng.integers(3)]
    channels, kernel = rng.integers(4, 71, 2), tuple(int(k) for k in rng.integers(1, (6, 4)[dims - 1], dims))
    stride, dilation = (int(rng.choice([1, 1, 2])) for _ in range(2))
    n = int(rng.integers(2, (12, 5)[dims - 1]))
    low = int(rng.integers(0, max(kernel) + 1))
    span = dilation * (max(kernel) - 1) + 1
    transposed = bool(rng.integers(4) == 0)
    spatial = (n if transposed else max(n, span - 2 * low),) * dims
    padding = ((min(low, ((n - 1) * stride + span - 1) // 2) if transposed else low,) * 2,) * dims
    shape = (groups * int(channels[0]), int(channels[1]), *kernel)
    op, extra = ("conv_transpose", (0,) * dims) if transposed else ("conv", ())
    layer = Layer(op, np.zeros(shape), spatial, (stride,) * dims, (dilation,) * dims, padding, groups, "zeros", extra)
    if transposed and any((m - 1) * stride - low_ - high + dilation * (k - 1) + 1 < 1 for m, k, (low_, high) in zip(spatial, kernel, padding)):
        return wide(seed + 1, limit)
    if max(layer.map.input_size, layer.map.output_size) > limit * groups:
        return wide(seed + 1, limit)
    weight = random_weight(lambda a, b: int(rng.integers(a, b + 1)), shape, groups)
    return Layer(layer.op, weight, spatial, layer.stride, layer.dilation, padding, groups, "zeros", layer.output_padding)


def conv_layer(weight, n, stride=1, padding=0, dilation=1, groups=1, mode="zeros") -> Layer:
    """A convolution with the same numbers on every axis; `padding` an integer or a (low, high) pair."""
    weight = np.asarray(weight, dtype=np.float64)
    dims = weight.ndim - 2
    pair = padding if isinstance(padding, tuple) else (padding, padding)
    return Layer("conv", weight, (n,) * dims, (stride,) * dims, (dilation,) * dims, (pair,) * dims, groups, mode)


def size_of(shape: tuple[int, ...]) -> int:
    return math.prod(shape)
