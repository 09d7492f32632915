"""spectral_normalization: the operator's norm and not the kernel's, estimates that follow, bounds that hold while the weight moves."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from train.parametrizations.parametrized import dense, true_norm

from certify import operator_norm
from certify.train.parametrizations import spectral_normalization


def weight_of(layer: nn.Module) -> nn.Parameter:
    return layer.parametrizations.weight.original  # type: ignore[union-attr, return-value]


def test_the_operator_and_not_the_reshaped_kernel():
    """torch's own spectral_norm leaves this layer at 1.6; ours at 1, at any size from below."""
    torch.manual_seed(0)
    ours, theirs = nn.Conv2d(16, 16, 3, padding=1, padding_mode="circular"), nn.Conv2d(16, 16, 3, padding=1, padding_mode="circular")
    spectral_norm(theirs, n_power_iterations=200).eval()
    assert true_norm(theirs, (16, 6, 6)) > 1.3
    assert 0.9 < true_norm(spectral_normalization(ours), (16, 6, 6)) <= 1 + 1e-5


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "replicate", "circular"])
def test_at_a_declared_size(padding_mode: str):
    """Exactly 1 there, padding that copies pixels included."""
    layer = spectral_normalization(nn.Conv2d(2, 3, 3, padding=1, padding_mode=padding_mode), (2, 6, 5))
    for _ in range(20):
        _ = layer.weight
    assert true_norm(layer, (2, 6, 5)) == pytest.approx(1.0, abs=1e-3)


def test_only_the_scale_changes():
    layer = nn.Conv2d(2, 3, 3)
    before = layer.weight.detach().clone()
    ratio = spectral_normalization(layer).weight.detach() / before
    assert torch.allclose(ratio, ratio.flatten()[0].expand_as(ratio), rtol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e25])
@pytest.mark.parametrize("bound", ["estimate", "certified"])
def test_any_scale(scale: float, bound: str):
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.mul_(scale)
    spectral_normalization(layer, bound=bound)
    norm = true_norm(layer, (3,))
    assert norm == pytest.approx(1.0 if scale else 0.0, abs=1e-4)
    layer.weight.sum().backward()
    assert torch.isfinite(weight_of(layer).grad).all()


@pytest.mark.parametrize("input_shape", [None, (3, 6, 6)])
def test_certified_holds_at_every_step(input_shape: tuple[int, ...] | None):
    """Training in the direction that raises the norm: the estimate lags behind, the bound never."""
    torch.manual_seed(2)
    layer = spectral_normalization(nn.Conv2d(3, 4, 3, padding=1), input_shape, bound="certified", drift=0.2)
    norm = layer.parametrizations.weight[0].norm
    certificates = {float(norm.upper)}
    for _ in range(12):
        with torch.no_grad():
            weight_of(layer).add_(0.01 * torch.randn_like(layer.weight) + 0.01)
        value = layer.weight  # training mode with gradients: the state moves on
        certificates.add(float(norm.upper))
        assert true_norm(layer, (3, 6, 6)) <= 1 + 1e-6
        assert operator_norm(layer.eval(), (3, 6, 6)).upper <= 1 + 1e-5
        assert torch.equal(layer.train().weight, value)
    assert 1 < len(certificates) < 13, "some steps pay for the drift, some make a new certificate"


def test_certified_holds_in_eval_mode_however_far_the_weight_has_moved():
    layer = spectral_normalization(nn.Linear(4, 3), bound="certified").eval()
    with torch.no_grad():
        weight_of(layer).add_(torch.randn(3, 4))
    assert true_norm(layer, (4,)) <= 1 + 1e-6


def test_evaluation_changes_nothing():
    """No state moves in eval mode or without gradients: two evaluations, a copy and a certificate see one function."""
    layer = spectral_normalization(nn.Conv2d(2, 3, 3, padding=1))
    with torch.no_grad():
        weight_of(layer).add_(torch.randn_like(layer.weight))
        before = {k: v.clone() for k, v in layer.state_dict().items()}
        first = layer.weight
        assert torch.equal(first, layer.weight)
    layer.eval()
    assert torch.equal(first, layer.weight)
    assert all(torch.equal(v, before[k]) for k, v in layer.state_dict().items())
    layer.train()
    assert not torch.equal(first, layer.weight)


def test_two_evaluations_before_one_backward():
    """The state is replaced, not written into: the first graph stays valid."""
    layer = spectral_normalization(nn.Conv2d(2, 2, 3))
    (layer(torch.ones(1, 2, 5, 5)).sum() + layer(torch.ones(1, 2, 4, 4)).sum()).backward()
    assert torch.isfinite(weight_of(layer).grad).all()


def test_an_estimate_notices_another_direction():
    """The second singular value overtakes the first, of whose vector a converged start has nothing."""
    for layer in (nn.Linear(6, 6), nn.Conv1d(3, 3, 1)):
        with torch.no_grad():
            layer.weight.copy_(
                torch.eye(layer.weight.shape[0]).reshape(layer.weight.shape) * torch.arange(layer.weight.shape[0], 0, -1.0).reshape(-1, *(1,) * (layer.weight.dim() - 1))
            )
        spectral_normalization(layer)
        with torch.no_grad():
            weight_of(layer)[2, 2] = 20.0
        for _ in range(60):
            _ = layer.weight
        shape = (6,) if isinstance(layer, nn.Linear) else (3, 4)
        assert true_norm(layer, shape) <= 1 + 1e-3


def test_the_bound_of_a_dense_matrix_is_tight():
    layer = spectral_normalization(nn.Linear(20, 30).double(), bound="certified")
    assert float(torch.linalg.matrix_norm(dense(layer, (20,)), 2)) == pytest.approx(1.0, abs=1e-5)
