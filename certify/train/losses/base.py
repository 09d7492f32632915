"""What every loss shares: its interface, and logits, labels and constants of a batch, checked and in one shape."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ...core.errors import InputError
from ..settings import number, require_labels

SQRT2 = math.sqrt(2.0)
Pairs = Tensor | float | None
_HALVES = (torch.float16, torch.bfloat16)


class Loss(Protocol):
    """loss(logits, labels, pairs=None) -> a scalar tensor, the mean over the samples; the losses of this package are frozen dataclasses.

    logits (n, C), labels (n,) int64. pairs: Lipschitz constants of the differences z_i - z_j in the units of the input, (C, C) with a gradient if there is one, or one
    number for all; None is sqrt(2), right for a vector of logits that is 1-Lipschitz in l2. What a loss then believes to be certified around an input with label y is
    the radius min over j != y of (z_y - z_j) / pairs[y, j]: as good as the constants, an estimate.
    """

    def __call__(self, logits: Tensor, labels: Tensor, pairs: Pairs = None) -> Tensor: ...


class Batch(NamedTuple):
    """logits (n, C) in float32 or float64, labels (n,), own (n, C): the label's own column, constants (n, C): pairs[label], 0 in the own column."""

    logits: Tensor
    labels: Tensor
    own: Tensor
    constants: Tensor

    def margins(self) -> Tensor:
        """z_j - z_label (n, C): 0 in the own column, negative elsewhere where the prediction is right."""
        return self.logits - self.logits.gather(1, self.labels[:, None])

    def radii(self) -> Tensor:
        """Radius (n,) that the constants promise, negative where the prediction is wrong.

        >>> batch(torch.tensor([[3.0, 1.0, 0.0]]), torch.tensor([0]), 2.0).radii().item()
        1.0
        """
        return (-self.margins() / self.positive()).masked_fill(self.own, math.inf).amin(dim=1)

    def positive(self) -> Tensor:
        """The constants, 1 in the own column; those that are 0 next to the others (equal rows of the last layer) are raised to rounding level."""
        filled = self.constants.masked_fill(self.own, 0.0)
        least = torch.finfo(filled.dtype).eps * filled.detach().amax()
        return torch.maximum(filled, least.clamp_min(torch.finfo(filled.dtype).tiny)).masked_fill(self.own, 1.0)


def batch(logits: Tensor, labels: Tensor, pairs: Pairs) -> Batch:
    """The three arguments of a loss as a `Batch`.

    Raises:
        InputError: shapes, dtypes or label values that do not fit, constants that are no positive number. What would make a GPU wait is not looked at there.
    """
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.ndim != 2 or logits.shape[0] < 1:
        found = f"{tuple(logits.shape)}, {logits.dtype}" if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError("logits are one row of floats per sample", where="argument logits", found=found, expected="a float tensor (n, C), n >= 1")
    count, classes = logits.shape
    if classes < 2:
        hint = "a network with one output: append a second logit of 0, torch.nn.functional.pad(logits, (0, 1)), with pairs = its own constant"
        raise InputError("a margin needs two classes", where="argument logits", found=f"{classes} logits", expected="at least 2", hint=hint)
    require_labels(labels, classes, count)
    if labels.device != logits.device:
        raise InputError("labels and logits live on different devices", where="argument labels", found=labels.device, expected=logits.device)
    logits = logits.float() if logits.dtype in _HALVES else logits
    own = labels[:, None] == torch.arange(classes, device=labels.device)
    return Batch(logits, labels, own, rows_of(pairs, labels, own, logits))


def rows_of(pairs: Pairs, labels: Tensor, own: Tensor, like: Tensor) -> Tensor:
    """pairs[labels] (n, C) with zeros where `own`, in the dtype of `like`."""
    classes = own.shape[1]
    if isinstance(pairs, Tensor):
        if pairs.ndim not in (0, 2) or (pairs.ndim == 2 and pairs.shape != (classes, classes)) or not pairs.is_floating_point():
            found = f"{tuple(pairs.shape)}, {pairs.dtype}"
            raise InputError("pairs are the Lipschitz constants of logit differences", where="argument pairs", found=found, expected=f"a float tensor ({classes}, {classes})")
        table = pairs.to(like)
        rows = table[labels] if table.ndim else table.expand(own.shape)
    else:
        value = SQRT2 if pairs is None else number("pairs", pairs, above=0.0)
        rows = torch.full_like(like, value)
    return rows.masked_fill(own, 0.0)
