"""HingeKR: the Kantorovich-Rubinstein distance between classes, to be made large, with a hinge on every logit."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from ..settings import number
from .base import SQRT2, Pairs, batch


@dataclass(frozen=True)
class HingeKR:
    """alpha * H - (1 - alpha) * KR, with the logits in units of their constants, t_j = z_j sqrt(2) / pairs[y, j] (t = z for pairs None: logits 1-Lipschitz each).

        H  = mean over samples of mean over j != y of (margin / 2 - t_y)_+ + (margin / 2 + t_j)_+        the logit of the label above, the others below
        KR = mean over the classes k in the batch of mean over samples with y = k of mean over j != y of t_y - t_j

    KR is the one-vs-all dual objective sum_k (E[z_k | y = k] - E[z_k | y != k]) / C where all classes have equally many samples in the batch; otherwise the
    classes still count alike. KR grows with the logits: the loss is bounded from below for networks that are 1-Lipschitz by construction, or with `pairs` that
    follow the weights, and nowhere else.

    Claim: H = 0 implies that every radius at `pairs` is at least margin / sqrt(2).

    Args:
        margin: m, in units of logits with constant sqrt(2).
        alpha: weight of the hinge, 0 to 1.
    Guarantee: none; what `pairs` is worth decides.
    Raises:
        InputError: settings; shapes, dtypes, labels or constants that do not fit.
    Source: Serrurier, Mamalet, Gonzalez-Sanz, Boissin, Loubes, del Barrio: Achieving robustness in classification using optimal transport with hinge
        regularization, CVPR (2021). Of the hinges of the C logits, the C - 1 others together count as much as the label's, as in deel-torchlip.

    >>> import torch
    >>> loss = HingeKR(margin=2.0, alpha=0.5)
    >>> round(loss(torch.tensor([[0.5, -1.0]]), torch.tensor([0])).item(), 4)  # 0.5 * (0.5 + 0) - 0.5 * 1.5
    -0.5
    """

    margin: float = 1.0
    alpha: float = 0.9

    def __post_init__(self) -> None:
        number("margin", self.margin, least=0.0)
        number("alpha", self.alpha, least=0.0, most=1.0)

    def __call__(self, logits: Tensor, labels: Tensor, pairs: Pairs = None) -> Tensor:
        samples = batch(logits, labels, pairs)
        scale = SQRT2 / samples.positive()
        label = samples.logits.gather(1, labels[:, None]) * scale
        other = samples.logits * scale
        hinge = F.relu(self.margin / 2 - label) + F.relu(self.margin / 2 + other)
        counts = samples.own.to(scale).sum(dim=0)
        weights = 1 / (counts[labels] * (counts > 0).sum())
        return self.alpha * _over_others(hinge, samples.own).mean() - (1 - self.alpha) * (weights * _over_others(label - other, samples.own)).sum()


def _over_others(values: Tensor, own: Tensor) -> Tensor:
    """The mean over the columns that are not the label's, (n,)."""
    return values.masked_fill(own, 0.0).sum(dim=1) / (values.shape[1] - 1)
