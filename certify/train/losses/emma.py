"""EMMA: cross entropy after an attack on every other logit at once, each no stronger than what the sample withstands already."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..settings import number
from .base import Batch, Pairs, batch


@dataclass(frozen=True)
class EMMA:
    """mean of CE(z', y), z'_j = z_j - z_y + e_j epsilon pairs[y, j], e_j = clip((z_y - z_j) / (epsilon pairs[y, j]), floor, 1) without gradient.

    The attack on class j has the radius that the sample withstands against j, at most epsilon: a sample is asked for a little more than it has, never for all of
    epsilon at once, and against every class together (GloRo: the nearest one). The gradient reaches the constants through pairs.

    Claim, r_j = (z_y - z_j) / pairs[y, j]: z'_j < 0 exactly if r_j > epsilon, z'_j = 0 for floor epsilon <= r_j <= epsilon, z'_j > 0 below.

    Args:
        epsilon: radius in the units of the input; published recipes raise it from 0.1 to 3 times the radius of interest over the first half of training.
        floor: least e_j, for classes that the sample does not withstand at all.
    Guarantee: none; what `pairs` is worth decides.
    Raises:
        InputError: settings; shapes, dtypes, labels or constants that do not fit.
    Source: Hu, Zou, Wang, Leino, Fredrikson: Unlocking deterministic robustness certification on ImageNet, NeurIPS (2023); the clipping as in the authors'
        code (hukkai/liresnet).

    >>> loss = EMMA(epsilon=1.0)
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0]), pairs=2.0).item(), 4)  # log(1 + exp(2 - 3))
    0.3133
    """

    epsilon: float = 0.5
    floor: float = 0.01

    def __post_init__(self) -> None:
        number("epsilon", self.epsilon, least=0.0)
        number("floor", self.floor, least=0.0, most=1.0)

    def __call__(self, logits: Tensor, labels: Tensor, pairs: Pairs = None) -> Tensor:
        samples = batch(logits, labels, pairs)
        return F.cross_entropy(shifted(samples, self.epsilon, self.floor), samples.labels)


def shifted(samples: Batch, epsilon: float, floor: float) -> Tensor:
    """z' (n, C), 0 in the own column."""
    margins = samples.margins()
    most = epsilon * samples.constants
    with torch.no_grad():
        share = (-margins / torch.where(most > 0, most, torch.ones_like(most))).clamp(floor, 1.0)
    return margins + share * most
