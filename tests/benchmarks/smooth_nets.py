"""The smooth reference networks of the curvature benchmark: trained here, from one seed, on scikit-learn's digits.

Linear 64-32, act, [Linear 32-32, act,] Linear 32-32, act, Linear 32-10; pixels / 16; 1,437 images train, the 360 of `digits_test.npz` (README.md of shared/data/nets)
test. Plain Adam, learning rate 1e-3, batches of 128, 60 epochs, no decay, no curvature penalty; one thread, so that the weights repeat.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

SHAPES = {"softplus_32_32": ("softplus", 2), "tanh_32_32": ("tanh", 2), "softplus_32_32_32": ("softplus", 3)}
_ACTIVATIONS = {"softplus": torch.nn.Softplus, "tanh": torch.nn.Tanh}


def digits(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(train images (1437, 64), labels, test images (360, 64), labels): the test images are found among scikit-learn's by their pixels."""
    from sklearn.datasets import load_digits

    all_images, all_labels = load_digits(return_X_y=True)
    images = (all_images / 16.0).astype(np.float32)
    held = np.load(folder / "nets" / "digits_test.npz")
    test, labels = held["images"].reshape(len(held["images"]), -1), held["labels"].astype(np.int64)
    names = {row.tobytes() for row in test}
    rest = np.array([row.tobytes() not in names for row in images])
    return images[rest], all_labels[rest].astype(np.int64), test, labels


def network(name: str, seed: int = 0) -> torch.nn.Sequential:
    """Untrained, seeded."""
    kind, depth = SHAPES[name]
    torch.manual_seed(seed)
    layers: list[torch.nn.Module] = []
    for width in [64, *[32] * (depth - 1)]:
        layers += [torch.nn.Linear(width, 32), _ACTIVATIONS[kind]()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(32, 10))


def trained(name: str, folder: Path, seed: int = 0, epochs: int = 60, batch: int = 128) -> tuple[torch.nn.Sequential, float]:
    """(network, accuracy on the test images)."""
    images, labels, test, truth = (torch.from_numpy(a) for a in digits(folder))
    model = network(name, seed)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for part in torch.randperm(len(images), generator=order).split(batch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images[part]), labels[part]).backward()
            optimizer.step()
    with torch.no_grad():
        right = model(test).argmax(1) == truth
    return model.eval(), float(right.double().mean())
