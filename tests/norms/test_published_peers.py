"""The published methods that the benchmark measures against are what their papers say: each value against a dense matrix built by torch alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from benchmarks import published
from benchmarks.published import BACKENDS, Convolution
from torch import nn

SLACK = 1e-9
ZERO_PADDED = {
    "3x3": (lambda: nn.Conv2d(4, 5, 3, padding=1), (4, 6, 6)),
    "stride 2": (lambda: nn.Conv2d(3, 6, 3, stride=2, padding=1), (3, 8, 8)),
    "1x1 stride 2": (lambda: nn.Conv2d(4, 3, 1, stride=2), (4, 6, 6)),
    "dilation 2": (lambda: nn.Conv2d(3, 3, 3, padding=2, dilation=2), (3, 8, 8)),
    "dilation 2 stride 2": (lambda: nn.Conv2d(3, 3, 3, padding=2, dilation=2, stride=2), (3, 8, 8)),
    "dilation 3 stride 2": (lambda: nn.Conv2d(2, 3, 3, padding=2, dilation=3, stride=2), (2, 9, 9)),
    "groups": (lambda: nn.Conv2d(6, 9, 3, padding=1, groups=3), (6, 6, 6)),
    "depthwise": (lambda: nn.Conv2d(5, 5, 3, padding=1, groups=5), (5, 7, 7)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1), (4, 4, 4)),
    "1-D": (lambda: nn.Conv1d(4, 4, 7, padding=3), (4, 20)),
    "3-D": (lambda: nn.Conv3d(2, 3, 3, padding=1), (2, 4, 4, 4)),
    "rectangular": (lambda: nn.Conv2d(3, 4, (1, 4), padding=(0, 2), stride=(1, 2)), (3, 5, 9)),
    "padding layer": (lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 3, 2)), (3, 6, 6)),
}


def seeded(make, shape: tuple[int, ...], mode: str = "zeros") -> nn.Module:
    layer = make().double()
    weights = np.random.default_rng(7)
    for part in layer.modules():
        if hasattr(part, "bias"):
            part.bias = None
            part.weight.data = torch.from_numpy(weights.standard_normal(part.weight.shape))
            part.padding_mode, part._reversed_padding_repeated_twice = mode, [p for pad in reversed(part.padding) for p in (pad, pad)]
    return layer


def true_norm(layer: nn.Module, shape: tuple[int, ...]) -> float:
    size = math.prod(shape)
    with torch.no_grad():
        columns = layer(torch.eye(size, dtype=torch.float64).reshape(size, *shape)).reshape(size, -1)
    return float(np.linalg.norm(columns.numpy(), 2))


@pytest.mark.parametrize("name", ZERO_PADDED)
def test_unfoldings_bound_the_layer_and_are_those_of_the_paper(name: str):
    make, shape = ZERO_PADDED[name]
    layer = seeded(make, shape)
    conv = Convolution.of(layer, shape)
    value = published.fantastic_four(conv, steps=1000)
    assert true_norm(layer, shape) <= value * (1 + SLACK)
    taps = published.undilated(conv)
    smallest = math.inf
    for rows in range(2**conv.axes):  # the same unfoldings through a loop over the taps
        norms = []
        for group in taps:
            left = [j if rows >> k & 1 else 1 for k, j in enumerate(taps.shape[3:])]
            right = [1 if rows >> k & 1 else j for k, j in enumerate(taps.shape[3:])]
            blocks = np.zeros((math.prod(left), group.shape[0], math.prod(right), group.shape[1]))
            for tap in np.ndindex(*taps.shape[3:]):
                row = np.ravel_multi_index([t if rows >> k & 1 else 0 for k, t in enumerate(tap)], left)
                column = np.ravel_multi_index([0 if rows >> k & 1 else t for k, t in enumerate(tap)], right)
                blocks[row, :, column] = group[(..., *tap)]
            norms.append(np.linalg.norm(blocks.reshape(len(blocks) * group.shape[0], -1), 2))
        smallest = min(smallest, max(norms))
    assert value == pytest.approx(math.sqrt(math.prod(taps.shape[3:])) * smallest, rel=1e-6)


@pytest.mark.parametrize("name", ZERO_PADDED)
def test_the_tensor_norm_with_many_starts_bounds_the_layer(name: str):
    make, shape = ZERO_PADDED[name]
    layer = seeded(make, shape)
    conv = Convolution.of(layer, shape)
    best = max(published.tensor_norm(conv, steps=100, seed=seed) for seed in range(5))
    unfoldings = published.fantastic_four(conv, steps=1000)
    assert true_norm(layer, shape) <= best * (1 + SLACK)
    assert best <= unfoldings * (1 + 1e-6)  # a tensor norm is below every unfolding's


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stride", [1, 2])
def test_fourier_is_the_circular_layer_and_gram_bounds_it(backend: str, stride: int):
    make, shape = lambda: nn.Conv2d(4, 5, 3, padding=1, stride=stride), (4, 6, 6)
    layer = seeded(make, shape, "circular")
    conv = Convolution.of(layer, shape)
    truth = true_norm(layer, shape)
    assert published.fourier_svd(conv, backend) == pytest.approx(truth, rel=1e-12)
    stride_one = Convolution(conv.weight, conv.size, (1, 1), (1, 1))
    whole = published.fourier_svd(stride_one, backend)
    assert truth <= whole * (1 + SLACK) <= published.gram_circular(conv, backend) * (1 + 2 * SLACK)
    assert published.gram_circular(conv, backend, steps=14) == pytest.approx(whole, rel=1e-3)


@pytest.mark.parametrize("name", ["groups", "depthwise", "1-D", "3-D", "dilation 2", "transposed"])
def test_fourier_of_a_padded_layer_is_its_circular_twin(name: str):
    """Groups, axes, dilation and the adjoint, against a circular convolution written as a loop over pixels."""
    make, shape = ZERO_PADDED[name]
    conv = Convolution.of(seeded(make, shape), shape)
    g, a, b = conv.weight.shape[:3]
    truth = 0.0
    outputs = [n // s for n, s in zip(conv.size, conv.stride)]
    for group in conv.weight:
        matrix = np.zeros((*outputs, a, *conv.size, b))
        for pixel in np.ndindex(*outputs):
            for tap in np.ndindex(*group.shape[2:]):
                source = tuple((s * o + d * t) % n for s, o, d, t, n in zip(conv.stride, pixel, conv.dilation, tap, conv.size))
                matrix[(*pixel, slice(None), *source)] += group[(..., *tap)]
        truth = max(truth, float(np.linalg.norm(matrix.reshape(math.prod(outputs) * a, -1), 2)))
    for backend in BACKENDS:
        assert published.fourier_svd(conv, backend) == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(7, 12), (12, 7), (9, 9)])
def test_dense(backend: str, shape: tuple[int, int]):
    matrix = np.random.default_rng(3).standard_normal(shape) * 1e-6
    truth = float(np.linalg.norm(matrix, 2))
    assert published.dense_svd(matrix, backend) == pytest.approx(truth, rel=1e-12)
    assert truth <= published.dense_gram(matrix, backend) * (1 + SLACK) <= truth * 1.01
    assert published.dense_gram(matrix, backend, steps=1) == pytest.approx(math.sqrt(np.linalg.norm(matrix @ matrix.T)), rel=1e-12)
    assert published.dense_gram(np.zeros((3, 4)), backend) == 0.0


@pytest.mark.parametrize("name", ZERO_PADDED)
def test_power_iteration_stays_below_and_comes_close(name: str):
    make, shape = ZERO_PADDED[name]
    layer = seeded(make, shape)
    truth = true_norm(layer, shape)
    assert 0.9 * truth <= published.power_iteration(layer, shape) <= truth * (1 + SLACK)
