"""What the blocks' training estimates are written in, and the one check that all blocks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import InputError, UnsupportedLayerError
from ..activations import recorded
from ..slopes import slopes_of

Sigma = Callable[[nn.Module], Tensor]  # a linear layer of torch -> an estimate of its spectral norm with a gradient, as SpectralNorm().sigma


def constant_one() -> Tensor:
    """The estimate of a block that is 1-Lipschitz by construction."""
    return torch.ones(())


def activation_constant(activation: nn.Module) -> float:
    """The constant of an activation inside a block.

    Raises:
        UnsupportedLayerError: nothing is known about this one.

    >>> activation_constant(nn.ReLU())
    1.0
    """
    known = getattr(activation, "lipschitz", 1.0 if isinstance(activation, nn.Identity) else None)
    if isinstance(known, int | float):
        return float(known)
    slopes = slopes_of(activation)
    if slopes is None:
        expected = "a module of certify.train.activations, another one with the attribute `lipschitz`, or an entrywise activation of torch"
        raise UnsupportedLayerError("there is no estimate for this activation", where=type(activation).__name__, expected=expected)
    return slopes.lipschitz()


def require_evaluation(module: nn.Module, x: Any, *, why: str) -> None:
    """Refuse a recording in training mode.

    Raises:
        InputError: `module` is in training mode while a tracer, not data, is passing through.
    """
    if module.training and not isinstance(x, Tensor):
        raise InputError(f"a {type(module).__name__} in training mode: {why}", where=type(module).__name__, expected="evaluation mode", hint="call model.eval() first")


def require_axes(module: nn.Module, x: Tensor, expected: str, good: Callable[[tuple[int, ...]], bool]) -> None:
    """Refuse an input of another shape by the module's name."""
    if not recorded(x) and not good(tuple(x.shape)):
        raise InputError(f"{type(module).__name__} got an input of another shape", where=type(module).__name__, found=tuple(x.shape), expected=expected)
