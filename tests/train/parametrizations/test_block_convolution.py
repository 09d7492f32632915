"""Orthogonal convolutions: all singular values where orthogonality is promised, for any sizes; retraction during training."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from train.parametrizations.parametrized import dense, disturb, true_norm

from certify import lipschitz, operator_norm
from certify.train.activations import MaxMin
from certify.train.parametrizations import cayley, orthogonal_convolution, retract_
from certify.train.parametrizations.block_convolution import KernelPlan

METHODS = ("cayley", "bjorck", "retraction")


def spread(layer: nn.Module, shape: tuple[int, ...]) -> float:
    """max |s - 1| over the singular values of the smaller side."""
    return float((torch.linalg.svdvals(dense(layer, shape)) - 1).abs().max())


@st.composite
def circular_layers(draw) -> tuple[nn.Module, tuple[int, ...]]:
    dims = draw(st.integers(1, 2))
    groups = draw(st.sampled_from((1, 1, 2, 3)))
    stride = tuple(draw(st.integers(1, 3)) for _ in range(dims))
    kernel = tuple(draw(st.integers(s, 6 if dims == 1 else 4)) for s in stride)
    dilation = tuple(draw(st.sampled_from([d for d in (1, 2, 3) if math.gcd(d, s) == 1])) for s in stride)
    padding = tuple(draw(st.integers(0, d * (k - 1) // 2)) for d, k in zip(dilation, kernel))
    sizes = tuple(s * draw(st.integers(-(-(d * (k - 1) + 1) // s), 7)) if d * (k - 1) < 7 * s else s * (d * k) for s, d, k in zip(stride, dilation, kernel))
    inputs, outputs = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    if inputs == outputs == 1:
        outputs = 2
    kind = nn.Conv1d if dims == 1 else nn.Conv2d
    layer = kind(inputs * groups, outputs * groups, kernel, stride, padding, dilation, groups, padding_mode="circular")
    return layer, (inputs * groups, *sizes)


@given(case=circular_layers(), method=st.sampled_from(METHODS))
def test_circular_convolutions_of_any_size(case: tuple[nn.Module, tuple[int, ...]], method: str):
    """A A' = I or A'A = I, whichever sizes allow. With padding that keeps less than the whole circle, rows are left out: A A' = I or ||A|| <= 1."""
    torch.manual_seed(0)
    layer, shape = case
    orthogonal_convolution(layer, method, shape)
    matrix = dense(layer, shape)
    full = all((n + 2 * p - d * (k - 1) - 1) // s + 1 == n // s for n, p, d, k, s in zip(shape[1:], layer.padding, layer.dilation, layer.kernel_size, layer.stride))
    values = torch.linalg.svdvals(matrix)
    assert values[0] <= 1 + 1e-5
    wide = layer.weight.shape[0] // layer.groups <= layer.weight.shape[1] * math.prod(layer.stride)
    if full or wide:
        assert (values - 1).abs().max() <= 1e-4


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_square_circular_convolutions_are_orthogonal(method: str, kernel: int):
    layer = orthogonal_convolution(nn.Conv2d(6, 6, kernel, padding="same", padding_mode="circular"), method)
    assert spread(layer, (6, 6, 5)) <= 1e-5
    disturb(layer, 0.02)
    assert spread(layer, (6, 6, 5)) <= 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_the_norm_is_one_at_every_input_size(method: str):
    layer = orthogonal_convolution(nn.Conv2d(3, 5, 4, stride=2, padding=1), method).eval()
    assert operator_norm(layer, (3, 9, 9), method="any_size").upper <= 1.02  # its grid costs 1 %
    for n in (4, 5, 8, 11):
        assert true_norm(layer, (3, n, n)) <= 1 + 1e-5


def test_zero_padding_damps_borders_only():
    """A compression of an orthogonal map: inside, pixels keep their energy; at the border some leaves."""
    layer = orthogonal_convolution(nn.Conv2d(4, 4, 3, padding=1, bias=False))
    x = torch.zeros(1, 4, 9, 9)
    x[:, :, 4, 4] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert layer(x).norm().item() == pytest.approx(math.sqrt(30), rel=1e-5)
    assert spread(layer, (4, 5, 5)) > 1e-2


def test_a_transposed_convolution_is_the_adjoint():
    torch.manual_seed(1)
    down = orthogonal_convolution(nn.Conv2d(3, 6, 4, stride=2, padding=1, bias=False))
    torch.manual_seed(1)
    up = orthogonal_convolution(nn.ConvTranspose2d(6, 3, 4, stride=2, padding=1, bias=False))
    assert torch.allclose(dense(up, (6, 4, 4)), dense(down, (3, 8, 8)).T, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 3])
def test_retraction_holds_the_manifold_through_training(groups: int):
    """Steps far larger than usual; before retract_ nothing is orthogonal."""
    layer = orthogonal_convolution(nn.Conv2d(6, 6, 3, padding=1, groups=groups, padding_mode="circular"), "retraction")
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    x = torch.randn(16, 6, 5, 5)
    for step in range(12):
        optimizer.zero_grad()
        (layer(x) - x.roll(1, 2)).square().mean().backward()
        optimizer.step()
        if step == 0:
            assert spread(layer, (6, 5, 5)) > 0.01
        retract_(layer)
        assert spread(layer, (6, 5, 5)) <= 1e-4


def test_bjorck_is_contractive_before_it_converges():
    layer = orthogonal_convolution(nn.Conv2d(6, 4, 3, padding=1, padding_mode="circular"), "bjorck", iterations=1)
    disturb(layer, 1.0)
    values = torch.linalg.svdvals(dense(layer, (6, 5, 5)))
    assert values[0] <= 1 + 1e-6 and values[-1] < 0.5


@given(outputs=st.integers(1, 40), inputs=st.integers(1, 40), kernel=st.integers(1, 6), stride=st.integers(1, 6))
def test_plans_fit_together(outputs: int, inputs: int, kernel: int, stride: int):
    """Frames are tall, the kernel comes out in its size, and the inner channels lie between both ends."""
    plan = KernelPlan.of(outputs, inputs, (kernel,), (stride,))
    patch = plan.patch[0]
    assert patch + len(plan.axes) == kernel
    for shape in (plan.last, plan.first):
        assert shape is None or shape[0] >= shape[1] >= 1
    assert plan.inner == inputs if plan.wide else inputs <= plan.inner <= outputs // patch


def test_cayley_of_a_circular_convolution():
    """The full-size kernel is real and orthogonal; exported it is a plain circular convolution."""
    for sizes in ((6, 5), (4, 4), (3, 7)):
        layer = cayley(nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), (4, *sizes))
        disturb(layer, 0.5)
        assert layer.weight.shape == (4, 4, *sizes) and spread(layer, (4, *sizes)) <= 1e-5
        assert layer(torch.zeros(2, 4, *sizes)).shape == (2, 4, *sizes)
    assert layer.kernel_size == (3, 7) and layer.padding == "same"


def test_cayley_stays_orthogonal_far_out():
    """I + M badly conditioned: rounding is mended."""
    for size in (1.0, 30.0, 1000.0):
        layer = cayley(nn.Linear(40, 40))
        disturb(layer, size)
        assert (torch.linalg.svdvals(layer.weight.detach().double()) - 1).abs().max() <= 1e-5


def test_a_network_of_them_has_constant_one():
    net = nn.Sequential(
        orthogonal_convolution(nn.Conv2d(1, 8, 4, stride=2, padding=1), "retraction"),
        MaxMin(),
        orthogonal_convolution(nn.Conv2d(8, 8, 3, padding=1)),
        nn.Flatten(),
        cayley(nn.Linear(8 * 16, 5)),
    ).eval()
    bound = lipschitz(net, (1, 8, 8))
    assert 0.1 < bound.lower <= bound.upper <= 1 + 1e-4
