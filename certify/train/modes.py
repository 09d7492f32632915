"""Looking at a model in evaluation mode and leaving it in the mode it was in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Every part of `model` in evaluation mode, and in its own again afterwards: looking must not move running statistics or singular vectors.

    >>> model = nn.Sequential(nn.Dropout())
    >>> with evaluation(model):
    ...     model[0].training
    False
    >>> model[0].training
    True
    """
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
