"""Small training runs: data, networks and a loss that a test can read in a glance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from certify.train.penalties import SpectralNorm
from certify.train.plan import Plan


@dataclass(frozen=True)
class Margin:
    """Cross entropy of logits from which `epsilon` sqrt 2 has been taken at the right place."""

    epsilon: float = 0.3
    temperature: float = 0.5

    def __call__(self, logits: Tensor, labels: Tensor, pairs: Tensor | float | None = None) -> Tensor:
        offset = 2**0.5 * self.epsilon * nn.functional.one_hot(labels, logits.shape[1])
        return self.temperature * nn.functional.cross_entropy((logits - offset) / self.temperature, labels)


def clusters(train: int = 60, test: int = 21, seed: int = 0) -> Any:
    """Points around three corners of a triangle, float32, and which corner."""
    rng = np.random.default_rng(seed)
    centers = np.array([[0.0, 2.0], [1.7, -1.0], [-1.7, -1.0]])

    def half(n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(n) % 3
        return (centers[labels] + 0.4 * rng.normal(size=(n, 2))).astype(np.float32), labels

    return half(train), half(test)


def seeded(build: Any, seed: int = 0) -> nn.Module:
    """build() with random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def dense() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3)))


def noisy() -> nn.Module:
    """Everything that makes a step depend on state and chance: BatchNorm's running statistics, dropout, a parametrized weight."""

    def build() -> nn.Module:
        first = nn.utils.parametrizations.orthogonal(nn.Linear(2, 8), orthogonal_map="cayley")
        return nn.Sequential(first, nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))

    return seeded(build)


def plan(**changes: Any) -> Plan:
    """Four epochs of three steps."""
    fixed = {"epochs": 4, "batch_size": 20, "loss": Margin(), "learning_rate": 0.05, "attack": False, "radii": (0.1, 0.3)}
    return Plan(**{**fixed, **changes})


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


PARTS = {"penalty": SpectralNorm(0.05), "average": 0.8, "validation": 6, "epsilon": 0.4, "epsilon_schedule": "log", "clip_norm": 2.0}


class Stop(Exception):
    """Raised on purpose."""


def stop_at(call: int, kind: type[BaseException] = Stop) -> Callable[[int, int, str], None]:
    """A progress callback that raises at its n-th call."""
    calls = []

    def progress(done: int, total: int, message: str) -> None:
        calls.append(message)
        if len(calls) == call:
            raise kind

    return progress


def outcome(run: Any) -> tuple[Any, ...]:
    """Everything that has to come out the same: weights, averages, radii, history but for seconds."""
    history = [{k: v for k, v in row.items() if k != "seconds"} for row in run.history]
    return weights(run.model), weights(run.trained), run.result.radii.tolist(), history


def equal(first: tuple[Any, ...], second: tuple[Any, ...]) -> bool:
    return same(first[0], second[0]) and same(first[1], second[1]) and first[2:] == second[2:]
