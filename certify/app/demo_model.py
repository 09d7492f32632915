"""The demo's network and its training: a small CNN with MaxMin, a margin-aware loss and the library's spectral penalty.

`certify.app.demo_model:digits` and `:mnist` are model factories for the command line, so that what the demo wrote can be
certified and checked again: `certify check demo-run/certificate certify.app.demo_model:digits --weights demo-run/model.safetensors`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..train.penalties.spectral_norm import SpectralNorm

CLASSES = 10


class MaxMin(nn.Module):
    """Pairs the first with the second half of the channels: (max, min). Keeps gradient norms where ReLU loses half of them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, 1)
        return torch.cat((torch.maximum(a, b), torch.minimum(a, b)), 1)


def network(size: int) -> nn.Sequential:
    """Two strided convolutions and two dense layers for (1, size, size) images with pixels in [0, 1]; torch's random start."""
    side = size // 2 // 2
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1),
        MaxMin(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        MaxMin(),
        nn.Flatten(),
        nn.Linear(32 * side * side, 64),
        MaxMin(),
        nn.Linear(64, CLASSES),
    )


def digits() -> nn.Sequential:
    """The network for scikit-learn's 8x8 digits."""
    return network(8).eval()


def mnist() -> nn.Sequential:
    """The network for 28x28 MNIST images."""
    return network(28).eval()


def margin_loss(logits: torch.Tensor, labels: torch.Tensor, offset: float, temperature: float) -> torch.Tensor:
    """Cross entropy that is content only when the right logit leads by `offset` (Prach & Lampert 2022, section 4): large margins are what radii are made of."""
    shifted = logits - offset * nn.functional.one_hot(labels, logits.shape[1])
    return nn.functional.cross_entropy(shifted / temperature, labels) * temperature


@dataclass(frozen=True)
class Recipe:
    """How the demo's network is trained; chosen by looking at the training part only."""

    epochs: int = 100
    batch: int = 64
    rate: float = 3e-3
    penalty: float = 0.2
    offset: float = 1.0
    temperature: float = 0.25


MNIST = Recipe(epochs=8, batch=256, rate=5e-3, penalty=0.3)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside: the same seed then gives the same weights whatever the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train(images: np.ndarray, labels: np.ndarray, recipe: Recipe, seed: int, progress: Callable[[int, int, str], None]) -> nn.Sequential:
    """A trained network for (n, 1, size, size) float32 images in [0, 1]; the same seed gives the same network on the same machine.

    `progress(done, total, message)` is called after every epoch and may raise to cancel.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network(images.shape[-1]).train()
        x, y = torch.from_numpy(images), torch.from_numpy(labels)
        penalty = SpectralNorm(recipe.penalty, steps=1)
        penalty.record(model, images.shape[1:])  # the norm of a convolution depends on the size of its input
        steps = -(-len(x) // recipe.batch)
        optimizer = torch.optim.Adam(model.parameters(), recipe.rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=recipe.epochs * steps)
        for epoch in range(recipe.epochs):
            for chosen in torch.randperm(len(x)).split(recipe.batch):
                loss = margin_loss(model(x[chosen]), y[chosen], recipe.offset, recipe.temperature) + penalty(model)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            progress(epoch + 1, recipe.epochs, f"loss {loss.item():.3f}")
    return model.eval()
