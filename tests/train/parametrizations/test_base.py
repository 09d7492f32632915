"""What the parametrizations share: kernels as matrices, what a model shows of itself, precision, retract_."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from train.parametrizations.parametrized import LAYERS, SOME, build

from certify.norms.estimate import LINEAR_LAYERS
from certify.train.parametrizations import bjorck, cayley, orthogonal_convolution, retract_, spectral_normalization
from certify.train.parametrizations.base import Geometry


@pytest.mark.parametrize("name", LAYERS)
def test_kernels_as_matrices_and_back(name: str):
    layer = LAYERS[name][0]()
    geometry, weight = Geometry.of(layer), layer.weight.detach()
    rows = geometry.output_rows(weight)
    assert torch.equal(geometry.from_output_rows(rows, weight), weight)
    outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    assert rows.shape[:2] == (geometry.groups, outputs // geometry.groups)
    assert torch.equal(geometry.matrices(weight).reshape(weight.shape), weight)


def test_overlap_counts_windows_per_pixel():
    """ceil(kernel / stride) per axis, by counting which outputs read one pixel of a long line."""
    for k, s, d in itertools.product(range(1, 6), range(1, 5), range(1, 4)):
        layer = nn.Conv1d(1, 1, k, stride=s, dilation=d, bias=False)
        nn.init.ones_(layer.weight)
        x = torch.ones(1, 1, 90, requires_grad=True)
        layer(x).sum().backward()
        assert Geometry.of(layer).overlap == int(x.grad[..., 30:60].max())


@pytest.mark.parametrize(("variant", "layer"), SOME)
def test_a_model_shows_one_layer(variant: str, layer: str):
    """Whoever walks the modules of a model (penalties, counters) meets the layer once and nothing that looks like another."""
    made, _ = build(variant, layer)
    assert [part for part in nn.Sequential(made).modules() if isinstance(part, LINEAR_LAYERS)] == [made]
    assert type(made).__name__.startswith("Parametrized") and "parametrizations" in repr(made)


@pytest.mark.parametrize("function", [cayley, bjorck, spectral_normalization])
def test_autocast_leaves_the_weight_alone(function):
    """Orthogonal to 1e-6 in float32 would be 1e-3 in bfloat16."""
    layer = function(nn.Linear(12, 12))
    plain = layer.weight.detach()
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.weight.dtype == torch.float32
        assert torch.allclose(layer.weight, plain, atol=1e-6)
        assert layer(torch.zeros(1, 12)).dtype == torch.bfloat16


def test_retract_reaches_every_manifold_and_nothing_else():
    class Own(nn.Module):
        called = 0

        def retract_(self) -> None:
            self.called += 1

    own, plain = Own(), nn.Linear(4, 4)
    model = nn.Sequential(own, plain, bjorck(nn.Linear(4, 4), "retraction"), nn.Sequential(orthogonal_convolution(nn.Conv2d(4, 4, 3), "retraction")), bjorck(nn.Linear(4, 4)))
    before = [plain.weight.detach().clone(), model[4].weight.detach().clone()]
    with torch.no_grad():
        for part in (model[2], model[3][0]):
            for parameter in part.parametrizations.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
    retract_(model)
    assert own.called == 1 and torch.equal(plain.weight, before[0]) and torch.equal(model[4].weight, before[1])
    for part in model.modules():
        if hasattr(part, "raw") and hasattr(part, "retract_"):
            assert torch.allclose(part.raw.mT @ part.raw, torch.eye(part.raw.shape[-1]), atol=1e-5)


def test_the_global_state_is_left_alone():
    """Only orthogonal_convolution draws, from the caller's generator; types, threads and gradient mode stay."""
    for function, draws in ((cayley, False), (bjorck, False), (spectral_normalization, False), (orthogonal_convolution, True)):
        layer = nn.Conv2d(3, 3, 1)
        before = torch.random.get_rng_state()
        function(layer)
        assert torch.equal(before, torch.random.get_rng_state()) is not draws
        assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
