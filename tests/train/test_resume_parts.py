"""Penalties with a memory, layers on a manifold, estimated pairs: each is resumed to the bit, on a small convolutional network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from strategies.training import Stop, equal, outcome, plan, seeded, stop_at
from torch import nn

from certify.train import losses
from certify.train.activations import MaxMin
from certify.train.loop import fit
from certify.train.parametrizations import bjorck, orthogonal_convolution
from certify.train.penalties import FantasticFour, Orthogonality, SpectralNorm, StableRank


def images(count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count) % 3
    pixels = np.random.default_rng(count).random((count, 1, 6, 6), dtype=np.float32) / 4
    pixels[np.arange(count), 0, labels * 2] += 1
    return pixels, labels


DATA = images(24), images(12)


def plain() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)))


def orthogonal() -> nn.Module:
    def build() -> nn.Module:
        first = orthogonal_convolution(nn.Conv2d(1, 4, 2, stride=2), method="retraction")
        return nn.Sequential(first, MaxMin(), nn.Flatten(), bjorck(nn.Linear(36, 8), method="retraction"), MaxMin(), bjorck(nn.Linear(8, 3)))

    return seeded(build)


CASES: dict[str, tuple[Callable[[], nn.Module], dict]] = {
    "SpectralNorm": (plain, {"penalty": SpectralNorm(0.1)}),
    "reshaped": (plain, {"penalty": SpectralNorm(0.1, norm="reshaped", steps=1)}),
    "FantasticFour": (plain, {"penalty": FantasticFour(0.1)}),
    "StableRank": (plain, {"penalty": StableRank(0.01)}),
    "Orthogonality": (plain, {"penalty": Orthogonality(0.01)}),
    "estimated pairs": (plain, {"pairs": "estimate", "loss": losses.EMMA(), "epsilon": 0.3, "epsilon_schedule": "linear"}),
    "GloRo": (plain, {"pairs": "estimate", "loss": losses.GloRo(0.2)}),
    "retraction": (orthogonal, {"loss": losses.OffsetCrossEntropy(0.5), "average": 0.5}),
    "augmented": (orthogonal, {"augment": "flip_crop:1", "precision": "bfloat16", "optimizer": "sgd"}),
}


@pytest.mark.parametrize("name", CASES)
def test_resumed_to_the_bit(name, tmp_path):
    build, changes = CASES[name]
    changes = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01, "validation": 3, **changes}
    alone = outcome(fit(build(), DATA, plan(**changes)))
    with pytest.raises(Stop):
        fit(build(), DATA, plan(**changes, out=tmp_path), stop_at(5))
    assert equal(alone, outcome(fit(build(), DATA, plan(**changes, out=tmp_path))))


def test_layers_stay_on_their_manifold():
    """With steps that would leave it far behind: the raw weights are put back after each of them."""
    run = fit(orthogonal(), DATA, plan(epochs=3, batch_size=8, learning_rate=0.1, loss=losses.OffsetCrossEntropy(0.5)))
    matrix = run.trained[3].weight.detach().double()
    assert torch.linalg.svdvals(matrix).max() <= 1 + 1e-5 and torch.linalg.svdvals(matrix).min() >= 0.9
    assert run.result.lipschitz.upper <= 1.001


def test_an_orthogonal_network_is_as_good_as_the_estimate_says():
    """Where `pairs="one"` is true, the live estimate and the certificate agree about the same inputs."""
    run = fit(orthogonal(), DATA, plan(epochs=4, batch_size=8, learning_rate=0.02, radii=(0.1,)))
    from certify.train.live import estimate, pairs_for
    from certify.train.samples import Samples

    samples = Samples(torch.from_numpy(DATA[1][0]), torch.from_numpy(DATA[1][1]))
    seen = estimate(run.trained, samples, pairs_for(run.plan, (1, 6, 6), 3), run.plan.radii)
    assert seen["clean"] == run.result.accuracy and abs(seen["certified"]["0.1"] - run.result.certified_accuracy(0.1)) <= 1 / 12
