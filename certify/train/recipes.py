"""Recipes: a network, data and a plan under one name, each measured against a row of a published table (docs/train.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .losses import OffsetCrossEntropy
from .plan import Plan


@dataclass(frozen=True)
class Recipe:
    """What `certify train` needs to know.

    Attributes:
        name: of the recipe, or of the configuration file. model: a name in `certify.train.models`, `package.module:function` or `path/file.py:function`.
        model_args: arguments of that function. data: "digits", "mnist", "cifar10", or the path of a file or folder with both halves.
        scale: images are divided by it; None: as `certify.io.data.load_data` says. row: the row of the table that it is compared with.
    """

    name: str
    model: str
    data: str
    plan: Plan
    model_args: Mapping[str, Any] = field(default_factory=dict)
    scale: float | None = None
    row: str = ""


def _plan(epochs: int, batch_size: int, epsilon: float, temperature: float, radii: tuple[float, ...], rate: float = 0.1, **others: Any) -> Plan:
    """Orthogonal layers, an offset and Muon on the manifold. `epsilon` is the loss's: somewhat above the radius that is wanted, since margins shrink on unseen inputs."""
    loss = OffsetCrossEntropy(epsilon, temperature)
    return Plan(epochs, batch_size, loss, optimizer="muon", learning_rate=rate, momentum=0.95, schedule="cosine", warmup=0.1, radii=radii, **others)


_PIXEL = 1 / 255
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "digits", "orthogonal_mlp", "digits", _plan(12, 128, 0.65, 0.1, (0.1, 0.25, 0.5, 1.0), validation=100), {"inputs": 64, "dense": [128, 128, 128]},
            row="UCI digits, l2: orthonormal layers with MaxMin and offset 0.5, 88.3 % at 0.25 and 67.6 % at 0.5 (our run of orthogonium 0.0.4)",
        ),
        Recipe(
            "mnist-158", "patch_network", "mnist", _plan(16, 256, 2.05, 0.25, (0.3, 0.5, 1.0, 1.58), validation=1000),
            row="MNIST, l2 1.58: GloRo 4C3F 62.8 % (Leino, Wang & Fredrikson 2021, repository), 58.9 % with orthogonium 0.0.4 (our run)",
        ),
        Recipe(
            "mnist-03", "patch_network", "mnist", _plan(6, 256, 0.6, 0.1, (0.1, 0.3, 0.5, 1.0), validation=1000),
            row="MNIST, l2 0.3: GloRo 2C2F 95.7 % (Leino, Wang & Fredrikson 2021, repository)",
        ),
        Recipe(
            "cifar10-36", "patch_network", "cifar10", _plan(5, 256, 0.565, 0.1, (36 * _PIXEL, 72 * _PIXEL, 108 * _PIXEL), 0.05, validation=1000, augment="flip_crop:3"),
            {"input_shape": [3, 32, 32], "channels": 128, "center": 0.5},
            row="CIFAR-10, l2 36/255, on a CPU: orthogonium 0.0.4, 515 thousand weights, 4 epochs: clean 54.3 %, 38.4 / 25.1 / 15.0 % (our run, JPEG copy)",
        ),
    )
}  # fmt: skip
