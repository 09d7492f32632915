"""What the contract is checked on: layers of every kind, every way to parametrize them, and the dense truth."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from certify.core.trace_prepare import bake
from certify.train import parametrizations
from certify.train.parametrizations import (
    bjorck,
    cayley,
    orthogonal_convolution,
    retract_,
    spectral_normalization,
    stable_rank_normalization,
)

Shape = tuple[int, ...]
Apply = Callable[[nn.Module, Shape], nn.Module]


@dataclass(frozen=True)
class Variant:
    """One public function with one choice of arguments.

    Args:
        slack: how far above 1 a fresh layer's certified norm may be, (float32, float64). refuses: the layers that its hypotheses exclude.
        any_size: the claim holds for every input size, not only for the declared one.
    """

    function: str
    apply: Apply
    slack: tuple[float, float] = (1e-5, 1e-5)  # the certificate itself stops at some 1e-6 above the truth
    refuses: frozenset[str] = frozenset()
    any_size: bool = True

    @property
    def follows(self) -> bool:
        """A norm is searched at the start and followed from then on."""
        return self.function in ("spectral_normalization", "stable_rank_normalization")


STRIDED_CIRCLE = frozenset({"circular, stride"})
MATRICES = frozenset({"wide", "tall, no bias", "one output", "square"})
OVERLAPPING = STRIDED_CIRCLE | {"zeros", "even", "stride, groups", "dilation", "dilation 3, stride 2", "depthwise multiplier", "three axes", "transposed", "transposed, groups"}
VARIANTS = {
    "spectral, any size": Variant("spectral_normalization", lambda m, s: spectral_normalization(m), (2e-4, 2e-4), STRIDED_CIRCLE),
    "spectral, this size": Variant("spectral_normalization", lambda m, s: spectral_normalization(m, s), (2e-3, 2e-3), any_size=False),
    "spectral, certified": Variant("spectral_normalization", lambda m, s: spectral_normalization(m, s, bound="certified"), any_size=False),
    "spectral, certified, any size": Variant("spectral_normalization", lambda m, s: spectral_normalization(m, bound="certified"), refuses=STRIDED_CIRCLE),
    "stable rank": Variant("stable_rank_normalization", lambda m, s: stable_rank_normalization(m, ratio=0.6), (2e-4, 2e-4), STRIDED_CIRCLE),
    "stable rank, k = 2": Variant("stable_rank_normalization", lambda m, s: stable_rank_normalization(m, 0.6, k=2, input_shape=s), (2e-3, 2e-3), any_size=False),
    "cayley": Variant("cayley", lambda m, s: cayley(m, s), refuses=OVERLAPPING, any_size=False),
    "bjorck": Variant("bjorck", lambda m, s: bjorck(m, input_shape=s)),
    "bjorck, retraction": Variant("bjorck", lambda m, s: bjorck(m, method="retraction", input_shape=s)),
    "orthogonal, cayley": Variant("orthogonal_convolution", lambda m, s: orthogonal_convolution(m, "cayley", s), refuses=MATRICES),
    "orthogonal, bjorck": Variant("orthogonal_convolution", lambda m, s: orthogonal_convolution(m, "bjorck", s), refuses=MATRICES),
    "orthogonal, retraction": Variant("orthogonal_convolution", lambda m, s: orthogonal_convolution(m, "retraction", s), refuses=MATRICES),
}

LAYERS: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "wide": (lambda: nn.Linear(9, 5), (9,)),
    "tall, no bias": (lambda: nn.Linear(4, 11, bias=False), (4,)),
    "one output": (lambda: nn.Linear(6, 1), (6,)),
    "square": (lambda: nn.Linear(6, 6), (6,)),
    "1x1": (lambda: nn.Conv2d(5, 3, 1), (5, 3, 3)),
    "patches": (lambda: nn.Conv2d(2, 6, 2, stride=2), (2, 6, 4)),
    "skipping": (lambda: nn.Conv2d(2, 3, 1, stride=2), (2, 5, 5)),
    "zeros": (lambda: nn.Conv2d(3, 4, 3, padding=1), (3, 6, 5)),
    "circular": (lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), (4, 6, 5)),
    "circular, tall, even": (lambda: nn.Conv2d(2, 5, (2, 4), padding="same", padding_mode="circular"), (2, 5, 6)),
    "circular, wide, groups": (lambda: nn.Conv2d(6, 4, 3, padding=1, groups=2, padding_mode="circular"), (6, 5, 5)),
    "circular, stride": (lambda: nn.Conv2d(1, 8, 4, stride=2, padding=1, padding_mode="circular"), (1, 8, 8)),
    "even": (lambda: nn.Conv2d(3, 2, 4, padding=2), (3, 5, 5)),
    "stride, groups": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (4, 7, 6)),
    "dilation": (lambda: nn.Conv2d(2, 3, 3, stride=2, dilation=2, padding=2), (2, 9, 8)),
    "dilation 3, stride 2": (lambda: nn.Conv1d(2, 5, 5, stride=2, dilation=3, padding=4), (2, 17)),
    "depthwise multiplier": (lambda: nn.Conv2d(2, 6, 3, padding=1, groups=2), (2, 5, 5)),
    "one axis, circular": (lambda: nn.Conv1d(3, 3, 5, padding=2, padding_mode="circular"), (3, 8)),
    "three axes": (lambda: nn.Conv3d(2, 3, 2), (2, 3, 3, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(6, 2, 4, stride=2, padding=1), (6, 3, 3)),
    "transposed, groups": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), (4, 3, 4)),
    "transposed, patches": (lambda: nn.ConvTranspose1d(3, 2, 2, stride=2), (3, 4)),
}

DEEP = os.environ.get("HYPOTHESIS_PROFILE", "ci") == "deep"
QUICK = {"one output", "circular", "stride, groups", "transposed, groups"}  # where a norm is searched, a layer takes a second
PAIRS = [(name, layer) for name, variant in VARIANTS.items() for layer in LAYERS if layer not in variant.refuses and (DEEP or not variant.follows or layer in QUICK)]
SOME = [(name, next(layer for layer in ("transposed", "patches", "wide") if layer not in variant.refuses)) for name, variant in VARIANTS.items()]


def build(variant: str, layer: str, dtype: torch.dtype = torch.float32) -> tuple[Any, Shape]:
    make, shape = LAYERS[layer]
    return VARIANTS[variant].apply(make().to(dtype), shape), shape


def public_functions() -> set[str]:
    return {name for name in parametrizations.__all__ if not name.endswith("_")}


def dense(layer: nn.Module, shape: Shape) -> Tensor:
    """The layer's matrix in float64: the layer applied to the identity, less its bias."""
    layer = bake(copy.deepcopy(layer).eval()).double()  # the weight in its own dtype first
    size = torch.Size(shape).numel()
    with torch.no_grad():
        basis = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
        matrix = (layer(basis) - layer(torch.zeros_like(basis[:1]))).flatten(1).T
    assert torch.isfinite(matrix).all()
    return matrix


def true_norm(layer: nn.Module, shape: Shape) -> float:
    return float(torch.linalg.matrix_norm(dense(layer, shape), 2))


def disturb(layer: nn.Module, size: float = 0.1) -> None:
    """A stand-in for training: every free parameter moves, then the manifold is restored."""
    with torch.no_grad():
        for parameter in layer.parametrizations.parameters():  # type: ignore[union-attr]
            parameter += size * torch.randn_like(parameter)
    retract_(layer)
