"""Orthogonality against A A' - I of the dense operator, and the published self-convolution."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from train.penalties.truth import dense, derivative

from certify.train.penalties import Orthogonality

CASES = [
    # out, in, kernel, stride, dilation, groups
    (3, 2, (3,), (1,), (1,), 1),
    (2, 3, (3, 3), (1, 1), (1, 1), 1),
    (5, 2, (3, 2), (1, 1), (1, 1), 1),
    (4, 2, (3, 3), (2, 2), (1, 1), 1),
    (9, 2, (3, 3), (2, 2), (1, 1), 1),
    (9, 2, (1, 1), (2, 2), (1, 1), 1),
    (4, 1, (4, 4), (2, 2), (1, 1), 1),
    (3, 2, (3, 3), (1, 1), (2, 3), 1),
    (2, 2, (3, 3), (3, 2), (1, 1), 1),
    (3, 2, (3, 3), (2, 2), (2, 2), 1),
    (3, 1, (4,), (4,), (2,), 1),
    (6, 4, (3, 3), (1, 1), (1, 1), 2),
    (2, 6, (2, 2), (2, 2), (1, 1), 2),
    (2, 2, (2, 2, 2), (1, 1, 1), (1, 1, 1), 1),
]


def circular(out, inputs, kernel, stride, dilation, groups) -> tuple[nn.Module, tuple[int, ...]]:
    """The layer as a circular convolution on a map that is large enough for no lag to come around, as a torch module and its shape."""
    kinds = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
    layer = kinds[len(kernel)](inputs, out, kernel, stride, 0, dilation, groups).double()
    with torch.no_grad():
        layer.weight.normal_(generator=torch.Generator().manual_seed(out + 7 * inputs))
    sizes = tuple(s * (2 * (-(-(d * (k - 1) + 1) // s)) + 1) for k, s, d in zip(kernel, stride, dilation))
    return layer, (inputs, *sizes)


def wrapped(layer: nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    """The dense matrix of the layer with its input continued periodically."""
    pads = [x for k, s, d in zip(reversed(layer.kernel_size), reversed(layer.stride), reversed(layer.dilation)) for x in (0, max(0, d * (k - 1) - (s - 1)))]
    size = torch.Size(shape).numel()
    with torch.no_grad():
        rows = layer._conv_forward(F.pad(torch.eye(size, dtype=torch.float64).reshape(size, *shape), pads, mode="circular"), layer.weight, None)
    return rows.reshape(size, -1).T


@pytest.mark.parametrize("case", CASES, ids=str)
def test_distance_of_the_operator_from_an_isometry(case):
    """Per output pixel of a circular map |A A' - I|_F^2, or |A' A - I|_F^2 on the columns that are read, whichever side is smaller."""
    layer, shape = circular(*case)
    out, inputs, kernel, stride, dilation, groups = case
    matrix = wrapped(layer, shape)
    pixels = len(matrix) // out
    columns = matrix.abs().sum(0) > 0
    read = matrix[:, columns]
    per_group = len(read.T) // pixels // groups
    gram = matrix @ matrix.T if out // groups <= per_group else read.T @ read
    expected = (gram - torch.eye(len(gram), dtype=torch.float64)).square().sum().item() / pixels
    assert Orthogonality()(layer).item() == pytest.approx(expected, rel=1e-9)


@given(out=st.integers(1, 5), inputs=st.integers(1, 4), k=st.integers(1, 4), s=st.integers(1, 3), seed=st.integers(0, 2**20))
def test_the_published_self_convolution(out: int, inputs: int, k: int, s: int, seed: int):
    """|conv(K, K, padding (k - 1) // s * s, stride s) - I|^2, which for more outputs than columns is larger by a constant."""
    layer = nn.Conv2d(inputs, out, k, stride=s).double()
    with torch.no_grad():
        layer.weight.normal_(generator=torch.Generator().manual_seed(seed))
    kernel, reach = layer.weight.detach(), (k - 1) // s
    found = F.conv2d(kernel, kernel, stride=s, padding=reach * s)
    found[:, :, reach, reach] -= torch.eye(out, dtype=torch.float64)
    constant = max(0, out - inputs * min(k, s) ** 2)
    assert Orthogonality()(layer).item() == pytest.approx(found.square().sum().item() - constant, rel=1e-7, abs=1e-7)


def test_zero_exactly_for_isometries():
    patches, tall, wide = nn.Conv2d(2, 3, 2, stride=2).double(), nn.Linear(3, 5).double(), nn.Linear(5, 3).double()
    shift, transposed = nn.Conv2d(2, 2, 3, padding=1).double(), nn.ConvTranspose2d(3, 2, 2, stride=2).double()
    for layer in (patches, transposed):
        with torch.no_grad():
            layer.weight.copy_(nn.init.orthogonal_(torch.empty(3, 8, dtype=torch.float64)).reshape(layer.weight.shape))
    for layer in (tall, wide):
        nn.init.orthogonal_(layer.weight)
    with torch.no_grad():
        shift.weight.zero_()
        shift.weight[0, 1, 0, 2] = shift.weight[1, 0, 1, 1] = 1
    for layer in (patches, transposed, tall, wide, shift):
        assert Orthogonality()(layer).item() < 1e-25
    with torch.no_grad():
        shift.weight[0, 1, 0, 2] = 0.9
    assert Orthogonality()(shift).item() == pytest.approx((1 - 0.81) ** 2)


def test_linear_layers_take_the_smaller_side():
    layer = nn.Linear(3, 7).double()
    w = layer.weight.detach()
    assert Orthogonality(2.0)(layer).item() == pytest.approx(2 * (w.T @ w - torch.eye(3)).square().sum().item(), rel=1e-12)


@pytest.mark.parametrize("case", CASES[1:6], ids=str)
def test_gradient(case):
    layer, _ = circular(*case)
    (gradient,) = torch.autograd.grad(Orthogonality()(layer), layer.weight)
    direction = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert (gradient * direction).sum().item() == pytest.approx(derivative(lambda: Orthogonality()(layer), layer.weight, direction), rel=1e-6)


def test_training_on_it_makes_an_isometry():
    """Descent from a random kernel ends at singular values of 1 (circular padding)."""
    layer = nn.Conv2d(3, 3, 2, padding=0).double()
    optimizer = torch.optim.Adam(layer.parameters(), 0.03)
    for _ in range(200):
        optimizer.zero_grad()
        value = Orthogonality()(layer)
        value.backward()
        optimizer.step()
    assert value.item() < 1e-3
    s = torch.linalg.svdvals(wrapped(layer, (3, 5, 5)))
    assert s.max() < 1.03 and s.min() > 0.97
    assert torch.linalg.svdvals(dense(layer, (3, 5, 5))).max() < 1.03
