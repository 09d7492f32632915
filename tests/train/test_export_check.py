"""Exporters that are wrong in one place: each is caught, and the place is named."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from train.stacks import SIDE, randomised
from train.test_exporting import FourierShift

from certify.core.errors import SoundnessError
from certify.train import exporting
from certify.train.activations import Householder, MaxMin
from certify.train.blocks import Centering, LiResNetBlock, ScaledAvgPool2d, UnitNormLinear
from certify.train.exporting import export


def network() -> nn.Sequential:
    """One of everything, at known places."""
    layers = {
        "stem": parametrizations.spectral_norm(nn.Conv2d(1, 4, 3, padding=1)),
        "center": Centering(4),
        "sort": MaxMin(),
        "block": LiResNetBlock(4, 2, depth=2),
        "turn": Householder(4),
        "pool": ScaledAvgPool2d(2),
        "flat": nn.Flatten(),
        "hidden": parametrizations.weight_norm(nn.Linear(36, 4)),
        "head": UnitNormLinear(4, 3),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return randomised(nn.Sequential(OrderedDict(layers)))


def _forgets_a_parametrization(model: nn.Module) -> nn.Module:
    """Raw weights in place of the computed ones."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            holder = module.parametrizations.weight
            raw = holder.original1 if hasattr(holder, "original1") else holder.original
            del module._modules["parametrizations"]
            module.__class__ = type(module).__bases__[0]
            module._parameters["weight"] = nn.Parameter(raw.detach().clone())
    return model


def _forgets_the_last(model: nn.Module) -> nn.Module:
    """Only the head keeps its raw weight."""
    raw = model.head.parametrizations.weight.original.detach().clone()
    good(model)
    model.head.weight = nn.Parameter(raw)
    return model


good = exporting.bake


@pytest.mark.parametrize(("broken", "place"), [(_forgets_a_parametrization, "stem"), (_forgets_the_last, "head")])
def test_a_forgotten_parametrization_is_caught(monkeypatch, broken, place):
    monkeypatch.setattr(exporting, "bake", broken)
    with pytest.raises(SoundnessError, match=f"where: +{place}"):
        export(network())


def _shifted_kernel(block):
    plain = right[LiResNetBlock](block)
    plain[0].weight.data = plain[0].weight.data.roll((1, 1), (2, 3))
    return plain


def _without_mean(block):
    plain = right[LiResNetBlock](block)
    plain[0].bias.data = block.bias.data.clone()
    return plain


def _half_turned(layer):
    plain = right[Householder](layer)
    return nn.Sequential(*list(plain)[:3], nn.Identity(), *list(plain)[4:])


def _slightly_off(head):
    plain = right[UnitNormLinear](head)
    plain.weight.data[1, 2] += 1e-7
    return plain


right = {kind: kind.exported for kind in (LiResNetBlock, Householder, ScaledAvgPool2d, UnitNormLinear)}


@pytest.mark.parametrize(
    ("kind", "broken", "place"),
    [
        (LiResNetBlock, _shifted_kernel, "block"),
        (LiResNetBlock, _without_mean, "block"),
        (LiResNetBlock, lambda block: right[LiResNetBlock](block)[0], "block"),
        (Householder, _half_turned, "turn"),
        (ScaledAvgPool2d, lambda pool: nn.AvgPool2d(2), "pool"),
        (UnitNormLinear, _slightly_off, "head"),
    ],
)
def test_a_wrong_plain_form_is_caught(monkeypatch, kind, broken, place):
    monkeypatch.setattr(kind, "exported", broken)
    with pytest.raises(SoundnessError, match=f"where: +{place}\n"):
        export(network())


def test_a_forgotten_mean_is_caught(monkeypatch):
    def fold(model):
        model._modules["center"] = nn.Identity()
        return {"stem": "center"}

    monkeypatch.setattr(exporting, "_fold_centering", fold)
    with pytest.raises(SoundnessError, match="where: +stem with center"):
        export(network())


def test_a_wrong_module_of_somebody_else_is_caught():
    with pytest.raises(SoundnessError, match="where: +1"):
        export(nn.Sequential(nn.Conv2d(3, 2, 3), FourierShift(wrong=1e-6), MaxMin()))


def test_the_right_network_passes():
    model = network()
    plain = export(model, (1, SIDE, SIDE))
    x = torch.randn(2, 1, SIDE, SIDE)
    assert torch.allclose(plain(x), model.eval()(x), atol=1e-5)
