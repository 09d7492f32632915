"""The training estimate: value, gradient, warm start, scales; and the SpectralNorm penalty that uses it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from strategies.layers import Layer, layers
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from certify.core.errors import InputError, UnsupportedLayerError
from certify.norms.estimate import power_estimate, spectral_estimate
from certify.norms.public import operator_norm
from certify.train.penalties import SpectralNorm
from certify.train.penalties.spectral_norm import nominal_shape

with torch.random.fork_rng():  # the same weights in every run
    torch.manual_seed(3)
    CASES = [
        (nn.Linear(5, 3), (5,)),
        (nn.Linear(4, 2), (3, 4)),
        (nn.Conv1d(2, 3, 3, stride=2, padding=1), (2, 7)),
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 5, 4)),
        (nn.Conv2d(2, 4, 3, padding="same", dilation=2, groups=2), (2, 5, 5)),
        (nn.Conv2d(2, 3, 3, padding=2, padding_mode="circular"), (2, 4, 4)),
        (nn.Conv3d(1, 2, 2), (1, 3, 3, 3)),
        (nn.ConvTranspose1d(2, 3, 3, stride=2), (2, 4)),
        (nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1, groups=2), (4, 3, 3)),
        (nn.ConvTranspose3d(1, 2, 2), (1, 2, 2, 2)),
        (weight_norm(nn.Conv2d(2, 2, 3)), (2, 5, 5)),
    ]


@pytest.mark.parametrize(("layer", "shape"), CASES, ids=lambda v: str(v)[:30])
def test_value_and_gradient(layer: nn.Module, shape: tuple[int, ...]):
    """The estimate reaches the enclosure from below; <gradient, W> = value; the bias does not matter."""
    layer = layer.double()
    bound = operator_norm(layer, shape)
    sigma, v = spectral_estimate(layer, shape, steps=300)
    assert sigma.item() <= bound.upper and sigma.item() >= bound.lower * (1 - 1e-4)
    assert v.shape == (1, *shape) and not v.requires_grad
    leaf = layer.weight if layer.weight.is_leaf else None
    if leaf is not None:
        (gradient,) = torch.autograd.grad(sigma, leaf)
        assert (gradient * leaf).sum().item() == pytest.approx(sigma.item(), rel=1e-9)


@given(layer=layers(60))
def test_never_above_the_norm(layer: Layer):
    """For every layer, every number of steps: <u, A v> with unit u, v cannot exceed the norm, up to the estimate's own rounding."""
    scaled, _ = layer.map.scaled()
    weight = torch.from_numpy(np.asarray(scaled.stored if layer.op == "dense" else np.array(layer.weight)))
    top = float(weight.abs().max()) or 1.0
    sigma, _ = power_estimate(layer.in_torch, weight / top, layer.input_shape, None, 3, probes=2)
    dense = layer.map.dense() / (top if layer.op != "dense" else top * float(np.ldexp(1.0, layer.map.scaled()[1])))
    assert 0 <= sigma.item() <= np.linalg.norm(dense, 2) * (1 + 1e-12) + 1e-290


def test_gradient_is_the_derivative():
    layer = nn.Conv2d(1, 2, 2, bias=False).double()
    sigma, v = spectral_estimate(layer, (1, 3, 3), steps=500)
    (gradient,) = torch.autograd.grad(sigma, layer.weight)
    step = 1e-6 * torch.randn_like(layer.weight)
    with torch.no_grad():
        layer.weight += step
    moved, _ = spectral_estimate(layer, (1, 3, 3), start=v, steps=500)
    assert (moved - sigma).item() == pytest.approx((gradient * step).sum().item(), rel=1e-3)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e18])
def test_float32_scales(scale: float):
    """No eps: tiny float32 weights keep their scale (squares of 1e-30 would vanish)."""
    layer = nn.Linear(3, 2)
    weight = torch.tensor([[1.0, 2.0, 3.0], [0.0, -1.0, 4.0]])
    with torch.no_grad():
        layer.weight.copy_(weight * scale)
    sigma, _ = spectral_estimate(layer, (3,), steps=50)
    assert sigma.item() == pytest.approx(torch.linalg.matrix_norm(weight, 2).item() * scale, rel=1e-4)


def test_zero_weight_is_zero_with_zero_gradient():
    layer = nn.Conv1d(1, 1, 3)
    with torch.no_grad():
        layer.weight.zero_()
    sigma, _ = spectral_estimate(layer, (1, 5))
    sigma.backward()
    assert sigma.item() == 0.0 and not layer.weight.grad.isnan().any()


def test_warm_start_and_refusals():
    torch.manual_seed(3)
    layer = nn.Linear(30, 30).double()
    _, v = spectral_estimate(layer, (30,), steps=400)
    warm, _ = spectral_estimate(layer, (30,), start=v, steps=0)
    cold, _ = spectral_estimate(layer, (30,), steps=0)
    assert warm > cold and warm.item() == pytest.approx(np.linalg.norm(layer.weight.detach().numpy(), 2), rel=1e-6)
    with pytest.raises(InputError, match="another shape"):
        spectral_estimate(layer, (30,), start=torch.zeros(1, 29))
    with pytest.raises(UnsupportedLayerError, match="ReLU"):
        spectral_estimate(nn.ReLU(), (3,))
    with pytest.raises(InputError, match="no weight yet"):
        spectral_estimate(nn.LazyLinear(3), (3,))


# --- the penalty ---------------------------------------------------------------------------------------------------------------------


def small_model() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(18, 3)).double()


def test_penalty_is_half_the_sum_of_squares():
    model, penalty = small_model(), SpectralNorm(weight=0.5)
    for _ in range(60):
        value = penalty(model, input_shape=(1, 6, 6))
    sigmas = [operator_norm(model[0], (1, 6, 6)), operator_norm(model[5], (18,))]
    assert value.item() == pytest.approx(0.25 * sum(s.upper**2 for s in sigmas), rel=1e-4)
    value.backward()
    assert all(model[k].weight.grad.abs().sum() > 0 for k in (0, 5))
    assert "0.5" in repr(penalty)


def test_recorded_shapes_are_reused_and_the_model_is_left_alone():
    model, penalty = small_model().train(), SpectralNorm()
    before = copy.deepcopy(model.state_dict())
    penalty.record(model, (1, 6, 6))
    assert model.training and all(part.training for part in model.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())  # BatchNorm statistics untouched
    assert not any(part._forward_pre_hooks for part in model.modules())
    for _ in range(40):
        value = penalty(model)
    assert value.item() == pytest.approx(penalty(model, input_shape=(1, 6, 6)).item(), rel=1e-3)


def test_bare_layers_without_a_shape_and_defaults():
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    with torch.no_grad():
        conv.weight.fill_(1.0)
    assert nominal_shape(conv) == (1, 32, 32)
    penalty = SpectralNorm()
    for _ in range(30):
        value = penalty(conv)
    assert value.item() == pytest.approx(40.5, rel=0.04)  # (9)^2 / 2, a little less at 32 pixels
    assert SpectralNorm()(nn.ReLU()).item() == 0.0
    assert nominal_shape(nn.Conv1d(1, 1, 50)) == (1, 50)


@pytest.mark.parametrize("layer", [nn.Conv2d(2, 3, 3), nn.ConvTranspose2d(3, 2, 3), nn.Linear(4, 3)], ids=["conv", "transposed", "linear"])
def test_reshaped_norm(layer: nn.Module):
    penalty = SpectralNorm(norm="reshaped")
    for _ in range(80):
        value = penalty(layer)
    w = layer.weight.detach()
    matrix = (w.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else w).flatten(1)
    assert value.item() == pytest.approx(0.5 * torch.linalg.matrix_norm(matrix, 2).item() ** 2, rel=1e-3)
    value.backward()
    assert layer.weight.grad.abs().sum() > 0
    with pytest.raises(InputError, match="reshaped"):
        SpectralNorm(norm="frobenius")


def test_it_trains():
    """Gradient steps on the penalty alone shrink the certified norm."""
    torch.manual_seed(3)
    conv, penalty = nn.Conv2d(2, 2, 3, padding=1), SpectralNorm()
    before = operator_norm(conv, (2, 6, 6)).lower
    optimizer = torch.optim.SGD(conv.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        penalty(conv, input_shape=(2, 6, 6)).backward()
        optimizer.step()
    assert operator_norm(conv, (2, 6, 6)).upper < 0.7 * before
