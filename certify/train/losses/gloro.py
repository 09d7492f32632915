"""GloRo: cross entropy with one more class, "not certified", whose logit is the best that an attack could reach."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..settings import number
from .base import Pairs, batch, rows_of


@dataclass(frozen=True)
class GloRo:
    """mean of CE(z, y) + kl * log(1 + exp(bottom) / sum_i exp(z_i)), bottom = max over i != p of (z_i + epsilon pairs[p, i]), p = argmax z.

    bottom is one more logit: it is the largest one exactly where the prediction p is not certified within epsilon. kl = 1 is the cross entropy of the label over
    all C + 1 logits. Any kl is CE(z, y) + kl KL(softmax z || softmax (z, bottom)), the TRADES form: [KL = -log(1 - softmax(z, bottom)_bottom)].

    Claim, kl >= 1, one sample: loss < log 2 implies z_y > bottom, so the radius at `pairs` is above epsilon.

    Args:
        epsilon: radius in the units of the input.
        kl: weight of the second term, at least 0; 1.5 is what the authors use on MNIST at 1.58.
    Guarantee: none; what `pairs` is worth decides.
    Raises:
        InputError: settings; shapes, dtypes, labels or constants that do not fit.
    Source: Leino, Wang, Fredrikson: Globally-robust neural networks, ICML (2021); TRADES form: the authors' code (klasleino/gloro).

    >>> round(GloRo(epsilon=1.0)(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), pairs=2.0).item(), 4)  # log(e^2 + e^0 + e^2) - 2
    0.7586
    """

    epsilon: float = 0.5
    kl: float = 1.0

    def __post_init__(self) -> None:
        number("epsilon", self.epsilon, least=0.0)
        number("kl", self.kl, least=0.0)

    def __call__(self, logits: Tensor, labels: Tensor, pairs: Pairs = None) -> Tensor:
        z, labels, _, _ = batch(logits, labels, pairs)
        predicted = z.argmax(dim=1)
        own = predicted[:, None] == torch.arange(z.shape[1], device=z.device)
        bottom = (z + self.epsilon * rows_of(pairs, predicted, own, z)).masked_fill(own, -torch.inf).amax(dim=1)
        return F.cross_entropy(z, labels) + self.kl * F.softplus(bottom - z.logsumexp(dim=1)).mean()
