"""LogitAnnealing: an offset cross entropy in which samples that are safe already count less and less."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..settings import number
from .base import SQRT2, Pairs, batch
from .emma import shifted


@dataclass(frozen=True)
class LogitAnnealing:
    """mean of T (1 - q)^power (-log q), q = softmax((z' + offset pairs[y] / sqrt(2)) / T)_y, z' the logits of `EMMA` with radius epsilon (z - z_y for epsilon 0).

    q is the label's probability after an attack and the offset. -log q alone would go on raising margins that are large enough; a network of bounded constant
    pays for them with the margins of others. (1 - q)^power makes such samples fade.

    Args:
        epsilon: radius of EMMA's shift, in the units of the input; 0 for none (networks that are 1-Lipschitz by construction).
        offset: given up by the label's logit, in logits of constant sqrt(2). sqrt(2) * r asks for the radius r, whatever the constants.
        temperature: T, in units of logits.
        power: 0 (OffsetCrossEntropy, offset = sqrt(2) * its epsilon) or at least 1.
        floor: as in EMMA.
    Guarantee: none; what `pairs` is worth decides.
    Raises:
        InputError: settings; shapes, dtypes, labels or constants that do not fit.
    Source: Lai, Huang, Kung, Chen: Enhancing certified robustness via block reflector orthogonal layers and logit annealing loss, ICML (2025); there
        power 5, T = 0.75, and in the public code offset 2 on EMMA's logits.

    >>> loss = LogitAnnealing(offset=0.0, temperature=1.0, power=1.0)
    >>> round(loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item(), 4)  # log(2) / 2
    0.3466
    """

    epsilon: float = 0.0
    offset: float = 2.0
    temperature: float = 0.75
    power: float = 5.0
    floor: float = 0.01

    def __post_init__(self) -> None:
        number("epsilon", self.epsilon, least=0.0)
        number("offset", self.offset, least=0.0)
        number("temperature", self.temperature, above=0.0)
        number("power", self.power, least=0.0 if self.power == 0 else 1.0)  # between, the gradient is infinite at q = 1
        number("floor", self.floor, least=0.0, most=1.0)

    def __call__(self, logits: Tensor, labels: Tensor, pairs: Pairs = None) -> Tensor:
        samples = batch(logits, labels, pairs)
        raised = shifted(samples, self.epsilon, self.floor) + self.offset / SQRT2 * samples.constants
        surprise = F.cross_entropy(raised / self.temperature, samples.labels, reduction="none")
        fading = (-torch.expm1(-surprise)).pow(self.power) if self.power else 1.0
        return (fading * surprise).mean() * self.temperature
