"""Every parametrization, found by itself, through one contract (norms are in test_norms.py): gradients, copies, states, removal."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from train.parametrizations.parametrized import LAYERS, PAIRS, SOME, VARIANTS, build, dense, disturb, public_functions

from certify.core.errors import HypothesisError, UnsupportedLayerError


def test_every_public_function_is_here():
    assert public_functions() == {variant.function for variant in VARIANTS.values()}, "a new function needs a Variant"


@pytest.mark.parametrize("variant", [name for name, variant in VARIANTS.items() if variant.refuses])
def test_excluded_layers_are_refused(variant: str):
    for layer in VARIANTS[variant].refuses:
        with pytest.raises((HypothesisError, UnsupportedLayerError)):
            build(variant, layer)


@pytest.mark.parametrize(("variant", "layer"), PAIRS)
def test_the_gradient_is_the_derivative(variant: str, layer: str):
    if variant.startswith("stable rank"):
        pytest.skip("singular vectors are held fixed there: test_stable_rank.py")
    made, shape = build(variant, layer, torch.float64)
    disturb(made, 0.05)
    made.train()
    for _ in range(30 if VARIANTS[variant].follows else 0):
        _ = made.weight
    made.eval()  # the state of an estimate stays as it is
    target = torch.randn(made.weight.shape, dtype=torch.float64)
    made.weight.backward(target)
    for parameter in made.parametrizations.parameters():
        if parameter.numel() == 0:
            continue
        direction, step, start = torch.randn_like(parameter), 1e-6, parameter.detach().clone()
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.copy_(start + sign * step * direction)
                values.append((made.weight * target).sum().item())
                parameter.copy_(start)
        slope = (values[0] - values[1]) / (2 * step)
        if "certified" in variant:  # its gradient is that of the certified number, its value includes the price of the drift
            assert torch.isfinite(parameter.grad).all() and parameter.grad.abs().max() > 0
        else:
            assert (parameter.grad * direction).sum().item() == pytest.approx(slope, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("variant", "layer"), SOME)
def test_copies_states_and_removal_keep_the_function(variant: str, layer: str):
    made, shape = build(variant, layer)
    disturb(made)
    made(torch.randn(3, *shape)).square().sum().backward()
    made.eval()
    x = torch.randn(3, *shape)
    expected = made(x).detach()
    assert torch.equal(copy.deepcopy(made)(x), expected)
    again, _ = build(variant, layer)
    again.load_state_dict(made.state_dict())
    again.eval()
    assert torch.equal(again(x), expected)
    assert torch.allclose(copy.deepcopy(made).double()(x.double()), expected.double(), atol=2e-6)
    for key, value in made.state_dict().items():
        assert type(value) is torch.Tensor, f"{key} would need a pickle"
    weight = made.weight.detach().clone()
    parametrize.remove_parametrizations(made, "weight")
    assert type(made) is type(LAYERS[layer][0]()) and torch.equal(made.weight, weight) and isinstance(made.weight, nn.Parameter)
    assert torch.equal(made(x), expected)


@pytest.mark.parametrize(("variant", "layer"), SOME)
def test_a_training_state_goes_on_alike(variant: str, layer: str):
    """Exact resume: two more steps from a loaded state are the same two steps."""
    made, shape = build(variant, layer)
    x = torch.randn(4, *shape)

    def steps(layer: nn.Module) -> torch.Tensor:
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.05)
        for _ in range(2):
            optimizer.zero_grad()
            (layer(x) - 1).square().mean().backward()
            optimizer.step()
            for part in layer.modules():
                if hasattr(part, "retract_"):
                    part.retract_()
        return layer(x).detach()

    steps(made)
    again, _ = build(variant, layer)
    again.load_state_dict(made.state_dict())
    assert torch.equal(steps(again), steps(made))


@pytest.mark.parametrize(("variant", "layer"), SOME)
def test_the_seed_decides_and_the_layer_is_the_same_object(variant: str, layer: str):
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        weights.append(build(variant, layer)[0].weight.detach())
    assert torch.equal(*weights)
    plain = LAYERS[layer][0]()
    assert VARIANTS[variant].apply(plain, LAYERS[layer][1]) is plain
    parametrization = plain.parametrizations.weight[0]
    assert parametrization.lipschitz == 1.0


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_reduces_a_loss(variant: str):
    """Gradients flow: a regression onto a map of norm 1 / 2 improves."""
    layer = dict(SOME)[variant]
    made, shape = build(variant, layer)
    target = 0.5 * dense(build(variant, layer)[0], shape).float()
    x = torch.randn(64, *shape)
    wanted = x.flatten(1) @ target.T
    optimizer = torch.optim.Adam(made.parameters(), lr=0.02)
    losses = []
    for _ in range(10 if "certified" in variant else 40):
        optimizer.zero_grad()
        loss = (made(x).flatten(1) - wanted).square().mean()
        loss.backward()
        optimizer.step()
        for part in made.modules():
            if hasattr(part, "retract_"):
                part.retract_()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize(("variant", "layer"), SOME)
def test_frozen_layers_stay_frozen(variant: str, layer: str):
    plain = LAYERS[layer][0]().requires_grad_(False)
    made = VARIANTS[variant].apply(plain, LAYERS[layer][1])
    assert not made.weight.requires_grad and not any(p.requires_grad for p in made.parameters())
