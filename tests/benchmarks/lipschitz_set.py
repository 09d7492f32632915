"""The networks of bench_lipschitz: the seeded random ones, those trained on digits (`../shared/data/nets`), and the smooth ones of smooth_nets."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from smooth_nets import trained
from torch import Tensor, nn

DATA = Path(os.environ.get("CERTIFY_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


@dataclass(frozen=True)
class Net:
    """One network: `make()` gives the module in eval mode; `hidden` its neurons; the effort that its bound is asked with."""

    name: str
    make: Callable[[], nn.Module]
    hidden: int
    shape: tuple[int, ...] = (64,)
    effort: str = "balanced"
    data: bool = True  # labelled digits belong to it


def random_net(depth: int, width: int, inputs: int = 64, outputs: int = 10) -> nn.Module:
    """Linear stacks in float64 from one generator with seed 0, as ../shared/data/nets/README.md says."""
    generator = torch.Generator().manual_seed(0)
    sizes, layers = [inputs, *[width] * depth, outputs], []
    for k, (a, b) in enumerate(zip(sizes, sizes[1:])):
        layer = nn.Linear(a, b, dtype=torch.float64)
        layer.weight.data = torch.randn(b, a, generator=generator, dtype=torch.float64) * (math.sqrt(2) if k < depth else 1.0) / math.sqrt(a)
        layer.bias.data = 0.1 * torch.randn(b, generator=generator, dtype=torch.float64)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()


def weights(name: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(DATA / "nets" / f"{name}.safetensors")


def mlp(name: str, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    found = weights(name)
    layers: list[nn.Module] = []
    for key in sorted({int(key.split(".")[0]) for key in found}):
        out, inputs = found[f"{key}.weight"].shape
        layers += [nn.Linear(inputs, out), activation()]
    return loaded(nn.Sequential(*layers[:-1]), found)


def cnn() -> nn.Module:
    shape = nn.Unflatten(1, (1, 8, 8))
    net = nn.Sequential(shape, nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    return loaded(net, weights("digits_cnn"))


class Residual(nn.Module):
    """x + conv_b(relu(conv_a(x))), 8 channels."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(torch.relu(self.a(x)))


def resnet() -> nn.Module:
    net = nn.Sequential(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), Residual(), Residual(), nn.Flatten(), nn.Linear(128, 10))
    return loaded(net, weights("digits_res"))


def loaded(net: nn.Module, found: dict[str, Tensor]) -> nn.Module:
    net.load_state_dict(found)
    return net.eval()


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The 360 test digits in the units of the nets (pixels / 16), and their labels."""
    with np.load(DATA / "nets" / "digits_test.npz") as found:
        images, labels = (found[name] for name in sorted(found.files, key=lambda name: -found[name].ndim))
    return np.asarray(images, dtype=np.float64).reshape(len(images), 64), np.asarray(labels, dtype=np.int64)


RANDOM = (
    Net("random 2x50", lambda: random_net(2, 50), 100, data=False),
    Net("random 5x100", lambda: random_net(5, 100), 500, data=False),
    Net("random 10x200", lambda: random_net(10, 200), 2000, effort="tight", data=False),
    Net("random 50x100", lambda: random_net(50, 100), 5000, data=False),
)
TRAINED = (
    Net("digits 2x50", lambda: mlp("digits_2x50"), 100),
    Net("digits 2x50 adversarial", lambda: mlp("digits_2x50_adv"), 100),
    Net("digits 5x100", lambda: mlp("digits_5x100"), 500),
    Net("digits CNN", cnn, 768),
    Net("digits ResNet", resnet, 384),
    Net("digits softplus 1x50", lambda: mlp("digits_1x50_softplus", nn.Softplus), 50),
)
SMOOTH = (
    Net("digits 32-32 softplus", lambda: trained("softplus_32_32", DATA)[0], 64),
    Net("digits 32-32 tanh", lambda: trained("tanh_32_32", DATA)[0], 64),
    Net("digits 32-32-32 softplus", lambda: trained("softplus_32_32_32", DATA)[0], 96),
)
LARGE = Net("random 4x500", lambda: random_net(4, 500), 2000, data=False)
SMALL = Net("random 2x36, 10 inputs", lambda: random_net(2, 36, 10), 72, (10,), data=False)
