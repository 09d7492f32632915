"""SpectralNorm on the reshaped kernel: the check of the methods document (gradient = lambda sigma u v'), one step per call; shapes and zero layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from train.penalties.truth import LAYERS, dense, fresh, norm_of

from certify.core.errors import InputError
from certify.train.penalties import SpectralNorm
from certify.train.penalties.base import input_shapes, total
from certify.train.penalties.matrix import reshaped


@pytest.mark.parametrize("name", LAYERS)
def test_gradient_of_the_reshaped_norm_against_the_svd(name: str):
    """training.md 1.1: the gradient of lambda / 2 sigma^2 is lambda sigma u v' to 1e-5."""
    layer, _ = fresh(name)
    penalty = SpectralNorm(0.7, norm="reshaped", steps=150)
    penalty(layer)
    (gradient,) = torch.autograd.grad(penalty(layer), layer.weight)
    u, s, v = torch.linalg.svd(reshaped(layer).detach(), full_matrices=False)
    found = gradient.transpose(0, 1).flatten(1) if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d) else gradient.flatten(1)
    assert torch.allclose(found, 0.7 * s[0] * torch.outer(u[:, 0], v[0]), atol=1e-5 * float(s[0]))


@pytest.mark.parametrize("name", ["linear tall", "conv2d groups", "conv2d reflect", "transposed 2d"])
def test_gradient_of_the_true_norm_against_the_svd(name: str):
    """d sigma = <u, dA v> for a change of the weights in any direction, u and v from the dense matrix."""
    layer, shape = fresh(name)
    penalty = SpectralNorm(steps=500, engine="layer")
    penalty.record(layer, shape)
    (gradient,) = torch.autograd.grad(penalty.sigma(layer), layer.weight)
    u, s, v = torch.linalg.svd(dense(layer, shape), full_matrices=False)
    moved = type(layer).__new__(type(layer))
    moved.__dict__.update(layer.__dict__)
    direction = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    moved._parameters = {"weight": nn.Parameter(direction)}
    expected = (u[:, 0] @ dense(moved, shape) @ v[0]).item()
    assert (gradient * direction).sum().item() == pytest.approx(expected, rel=1e-5)


def test_one_step_per_call_is_enough_while_the_weights_move_slowly():
    layer, penalty = nn.Linear(30, 20).double(), SpectralNorm(norm="reshaped", steps=1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        penalty(layer)
        with torch.no_grad():
            layer.weight += 0.002 * torch.randn(20, 30, generator=generator, dtype=torch.float64)
    assert penalty.sigma(layer).item() == pytest.approx(norm_of(layer.weight.detach()), rel=2e-2)


@pytest.mark.parametrize("norm", ["operator", "reshaped"])
def test_a_layer_that_was_zero_is_followed_once_it_is_not(norm: str):
    layer, penalty = nn.Linear(6, 6).double(), SpectralNorm(norm=norm)
    good = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.zero_()
    assert penalty(layer).item() == 0.0 and penalty(layer).item() == 0.0
    with torch.no_grad():
        layer.weight.copy_(good)
    for _ in range(60):
        value = penalty(layer)
    assert value.item() == pytest.approx(norm_of(good) ** 2 / 2, rel=1e-3)


def test_recording_says_what_did_not_fit_and_leaves_the_model_alone():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)).train()
    assert input_shapes(model, (1, 4, 4))[model[2]] == (8,)
    with pytest.raises(InputError, match="cannot be run on an input of this shape"):
        SpectralNorm()(model, (1, 5, 5))
    assert model.training and not any(part._forward_pre_hooks for part in model.modules())
    assert total(2.0, []).item() == 0.0


@pytest.mark.parametrize("bad", [{"steps": -1}, {"steps": 1.5}, {"weight": float("nan")}, {"norm": "l1"}, {"engine": "fast"}])
def test_bad_settings(bad: dict):
    with pytest.raises(InputError, match=next(iter(bad))):
        SpectralNorm(**bad)
