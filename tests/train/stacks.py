"""Random models as people build them for certified training: every block, activation and kind of computed weight, shared layers too."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from certify.train.activations import GroupSort, Householder, MaxMin
from certify.train.blocks import Centering, L2NormPool2d, LiResNetBlock, OrthogonalLinear, ScaledAvgPool2d, UnitNormLinear

CHANNELS, SIDE = 4, 6


def _pruned(layer: nn.Module) -> nn.Module:
    prune.random_unstructured(layer, "weight", 0.3)
    return prune.l1_unstructured(layer, "weight", 0.2)


def _old_weight_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still in people's models
        return weight_norm(layer)


WEIGHTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda layer: layer,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "weight_norm": parametrizations.weight_norm,
    "two parametrizations": lambda layer: parametrizations.spectral_norm(parametrizations.weight_norm(layer)),
    "old spectral_norm": spectral_norm,
    "old weight_norm": _old_weight_norm,
    "pruned": _pruned,
}
ON_IMAGES: dict[str, Callable[[], nn.Module]] = {
    "LiResNetBlock": lambda: LiResNetBlock(CHANNELS, 3, depth=3),
    "LiResNetBlock even": lambda: LiResNetBlock(CHANNELS, 2, depth=2, activation=Householder(CHANNELS), padding_mode="circular"),
    "BatchNorm2d": lambda: nn.BatchNorm2d(CHANNELS),
    "nested": lambda: nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False), Centering(CHANNELS, bias=False), nn.Sequential(MaxMin())),
}
ANYWHERE: dict[str, Callable[[], nn.Module]] = {
    "Centering": lambda: Centering(CHANNELS),
    "MaxMin": MaxMin,
    "GroupSort": lambda: GroupSort(4, "consecutive"),
    "Householder": lambda: Householder(CHANNELS),
    "Householder consecutive": lambda: Householder(CHANNELS, "consecutive"),
    "ReLU": lambda: nn.ReLU(inplace=True),
    "Dropout": lambda: nn.Dropout(0.5),
}


@st.composite
def stacks(draw, certified: bool = False) -> nn.Sequential:
    """A network (1, 6, 6) -> 3 logits with random parameters and statistics, in training mode."""
    seed = draw(st.integers(0, 9999))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = st.sampled_from(list(WEIGHTS.values()))
        layers: list[nn.Module] = [draw(weights)(nn.Conv2d(1, CHANNELS, 3, padding=1, bias=draw(st.booleans())))]
        for name in draw(st.lists(st.sampled_from([*ON_IMAGES, *ANYWHERE]), max_size=4)):
            layers.append({**ON_IMAGES, **ANYWHERE}[name]())
        layers.append(draw(st.sampled_from([ScaledAvgPool2d(2), nn.AvgPool2d(2)] if certified else [ScaledAvgPool2d(2), L2NormPool2d(2), nn.MaxPool2d(2)])))
        layers += [nn.Flatten(), draw(weights)(nn.Linear(CHANNELS * (SIDE // 2) ** 2, CHANNELS))]
        for name in draw(st.lists(st.sampled_from(list(ANYWHERE)), max_size=3)):
            layers.append(ANYWHERE[name]())
        if draw(st.booleans()):
            shared = draw(weights)(nn.Linear(CHANNELS, CHANNELS))
            layers += [shared, MaxMin(), shared]
        layers.append(draw(st.sampled_from([OrthogonalLinear, UnitNormLinear, nn.Linear]))(CHANNELS, 3))
        model = nn.Sequential(*layers).to(draw(st.sampled_from([torch.float32, torch.float64])))
        return randomised(model)


def randomised(model: nn.Module) -> nn.Module:
    """Parameters moved a little, one training pass for the statistics."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.train()(torch.randn(8, 1, SIDE, SIDE, dtype=next(model.parameters()).dtype))
    return model
