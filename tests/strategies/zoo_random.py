"""Random convolutional networks for Hypothesis."""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st
from strategies.zoo import randomize
from strategies.zoo_functions import ACTIVATIONS
from torch import nn


@st.composite
def random_models(draw) -> tuple[nn.Module, tuple[int, ...]]:
    """A random convolutional network in eval mode with its input shape: 1 to 4 layers of random settings."""
    seed = draw(st.integers(0, 2**20))
    spatial = draw(st.integers(1, 2))
    channels, size = draw(st.integers(1, 4)), draw(st.integers(4, 7))
    shape = (channels, *[size] * spatial)
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        current = shape
        for _ in range(draw(st.integers(1, 4))):
            layer = draw(st.sampled_from(_LAYERS))(draw, current, spatial)
            candidate = randomize(nn.Sequential(layer)).eval()
            try:
                out = candidate(torch.zeros(2, *current)).shape[1:]
            except RuntimeError:
                continue
            if 0 < math.prod(out) <= 2000:
                layers.append(layer)
                current = tuple(out)
    return nn.Sequential(*layers).eval(), shape


def _conv(draw, shape, spatial):
    groups = draw(st.sampled_from([g for g in (1, 2, 3, 4) if shape[0] % g == 0]))
    kernel = [draw(st.integers(1, 4)) for _ in range(spatial)]
    mode = draw(st.sampled_from(["zeros", "zeros", "circular", "reflect", "replicate"]))
    padding = draw(st.sampled_from(["same", *[[draw(st.integers(0, 3)) for _ in range(spatial)]] * 3]))
    stride = 1 if padding == "same" else draw(st.integers(1, 3))
    cls = (nn.Conv1d, nn.Conv2d)[spatial - 1]
    return cls(shape[0], groups * draw(st.integers(1, 3)), kernel, stride, padding, draw(st.integers(1, 2)), groups, draw(st.booleans()), mode)


def _transposed(draw, shape, spatial):
    groups = draw(st.sampled_from([g for g in (1, 2) if shape[0] % g == 0]))
    stride = draw(st.integers(1, 3))
    cls = (nn.ConvTranspose1d, nn.ConvTranspose2d)[spatial - 1]
    return cls(
        shape[0],
        groups * draw(st.integers(1, 2)),
        draw(st.integers(1, 3)),
        stride,
        draw(st.integers(0, 1)),
        draw(st.integers(0, stride - 1)),
        groups,
        draw(st.booleans()),
        draw(st.integers(1, 2)),
    )


def _pool(draw, shape, spatial):
    kernel = draw(st.integers(1, 3))
    padding, stride, ceil = draw(st.integers(0, kernel // 2)), draw(st.integers(1, 3)), draw(st.booleans())
    if draw(st.booleans()):
        return (nn.MaxPool1d, nn.MaxPool2d)[spatial - 1](kernel, stride, padding, draw(st.integers(1, 2)), ceil_mode=ceil)
    return (nn.AvgPool1d, nn.AvgPool2d)[spatial - 1](kernel, stride, padding, ceil_mode=ceil, count_include_pad=draw(st.booleans()))


def _adaptive(draw, shape, spatial):
    return (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)[spatial - 1](draw(st.integers(1, 8)))


def _norm(draw, shape, spatial):
    return (nn.BatchNorm1d, nn.BatchNorm2d)[spatial - 1](shape[0], affine=draw(st.booleans()))


def _act(draw, shape, spatial):
    name = draw(st.sampled_from([n for n in ACTIVATIONS if n != "prelu_channels"]))
    return ACTIVATIONS[name]()


def _upsample(draw, shape, spatial):
    return nn.Upsample(scale_factor=draw(st.integers(1, 3)))


_LAYERS = [_conv, _conv, _transposed, _pool, _adaptive, _norm, _act, _upsample]
