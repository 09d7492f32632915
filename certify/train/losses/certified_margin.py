"""CertifiedMargin: a smooth loss of the certified radius itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ...core.errors import InputError
from ..settings import number
from .base import Pairs, batch

_SHAPES = ("softplus", "sigmoid")


@dataclass(frozen=True)
class CertifiedMargin:
    """mean of T softplus((epsilon - r) / T) or of sigmoid((epsilon - r) / T), r = min over j != y of (z_y - z_j) / pairs[y, j] the radius of the sample.

    Unlike a cross entropy, where logits and temperature have units of their own, everything here is a length in the input space. "softplus" is a hinge with a
    round corner: all samples below epsilon pull alike. "sigmoid" is the share of samples that are not certified at epsilon with a soft step: it gives up those far
    below and forgets those far above, so it is for fine-tuning a network that is good already. Where the prediction is wrong, larger constants bring r closer to 0: with
    constants that are free to grow, add a penalty on them.

    Claim: certified share at epsilon >= 1 - loss / (T log 2) (softplus), >= 1 - 2 loss (sigmoid), both at `pairs`; the sigmoid loss tends to the share that is not
    certified as T -> 0 (samples at r = epsilon count half).

    Args:
        epsilon: radius in the units of the input.
        temperature: T, a length: the range of radii around epsilon over which the loss bends.
        shape: "softplus" or "sigmoid".
    Guarantee: none; what `pairs` is worth decides.
    Raises:
        InputError: settings; shapes, dtypes, labels or constants that do not fit.
    Source: ours; a hinge on the radius, without the bend and with the radius of a smoothed classifier: Zhai et al., MACER, ICLR (2020).

    >>> loss = CertifiedMargin(epsilon=1.0, temperature=0.5)
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0]), pairs=2.0).item(), 4)  # log(1 + exp((1 - 1.5) / 0.5)) / 2
    0.1566
    """

    epsilon: float = 0.5
    temperature: float = 0.25
    shape: str = "softplus"

    def __post_init__(self) -> None:
        number("epsilon", self.epsilon, least=0.0)
        number("temperature", self.temperature, above=0.0)
        if self.shape not in _SHAPES:
            raise InputError("unknown shape of the loss", where="argument shape", found=repr(self.shape), expected=" or ".join(map(repr, _SHAPES)))

    def __call__(self, logits: Tensor, labels: Tensor, pairs: Pairs = None) -> Tensor:
        missing = (self.epsilon - batch(logits, labels, pairs).radii()) / self.temperature
        return (F.softplus(missing) * self.temperature if self.shape == "softplus" else torch.sigmoid(missing)).mean()
