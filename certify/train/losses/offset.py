"""OffsetCrossEntropy: cross entropy after the label's logit gave up what an attack of radius epsilon could take."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from ..settings import number
from .base import Pairs, batch


@dataclass(frozen=True)
class OffsetCrossEntropy:
    """mean of T * CE((z + epsilon pairs[y]) / T, y): each other logit is raised by epsilon pairs[y, j]; for one constant c the label's is lowered by c epsilon.

    With pairs None the offset is sqrt(2) epsilon, as published. The factor T keeps gradients of one size whatever the temperature: for T -> 0 the loss becomes the hinge
    max over j of (z_j - z_y + epsilon pairs[y, j])_+, in which a sample counts exactly until it is certified within epsilon.

    Claim: that hinge <= loss <= hinge + T log C; one sample with loss < T log 2 has its radius at `pairs` above epsilon.

    Args:
        epsilon: radius in the units of the input. It sets, more than the layers do, where clean accuracy is traded for certified accuracy.
        temperature: T, in units of logits.
    Guarantee: none; what `pairs` is worth decides.
    Raises:
        InputError: settings; shapes, dtypes, labels or constants that do not fit.
    Source: Prach, Lampert: Almost-orthogonal layers for efficient general-purpose Lipschitz networks, ECCV (2022) (there u = sqrt(2) epsilon, T = 1/4).

    >>> import torch
    >>> loss = OffsetCrossEntropy(epsilon=1.0, temperature=0.5)
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0]), pairs=2.0).item(), 4)  # log(1 + exp((2 - 3) / 0.5)) / 2
    0.0635
    """

    epsilon: float = 0.5
    temperature: float = 0.25

    def __post_init__(self) -> None:
        number("epsilon", self.epsilon, least=0.0)
        number("temperature", self.temperature, above=0.0)

    def __call__(self, logits: Tensor, labels: Tensor, pairs: Pairs = None) -> Tensor:
        samples = batch(logits, labels, pairs)
        raised = samples.margins() + self.epsilon * samples.constants
        return F.cross_entropy(raised / self.temperature, samples.labels) * self.temperature
