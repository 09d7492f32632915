"""Unit vectors that power steps follow, complex ones as pairs of real arrays."""

from __future__ import annotations

import torch
from torch import Tensor


def alive(x: Tensor, turn: int = 0) -> Tensor:
    """x with a fixed unit vector in place of zeros: weights that were all zero leave zeros, which power steps would never leave again."""
    angles = torch.arange(1, x[0, 0].numel() + 1, device=x.device).to(x).reshape(x.shape[2:])
    return torch.where(x.abs().amax(dim=(2, 3), keepdim=True) == 0, unit((angles.square() + turn).cos().expand_as(x), (2, 3))[0], x)


def beside(x: Tensor, y: Tensor) -> Tensor:
    """y without its component along the unit vector x (both complex, as pairs), normalised."""
    re = (x * y).sum(dim=(2, 3), keepdim=True)
    im = (x[:, :, :1] * y[:, :, 1:] - x[:, :, 1:] * y[:, :, :1]).sum(dim=(2, 3), keepdim=True)
    turned = torch.cat([-x[:, :, 1:], x[:, :, :1]], dim=2)  # i x
    return unit(y - re * x - im * turned, (2, 3))[0]


def unit(x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """x by its norm over `dims`, by way of its largest entry, and the norm; zero stays zero."""
    peak = x.abs().amax(dim=dims, keepdim=True)
    x = x / torch.where(peak > 0, peak, torch.ones_like(peak))
    size = x.square().sum(dim=dims, keepdim=True).sqrt()
    return x / torch.where(size > 0, size, torch.ones_like(size)), peak * size
