"""The kernel of a layer as the matrix that the literature on spectral regularization calls its weight, and the warm-started norm of a matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...norms.estimate import weight_of

COLD = 40  # power steps more where there is no warm start


def reshaped(layer: nn.Module) -> Tensor:
    """(out, everything else), groups one above the other. Its norm is what Yoshida & Miyato (2017) and others penalise; it is not that of the convolution.

    >>> reshaped(nn.ConvTranspose2d(4, 2, 3)).shape
    torch.Size([2, 36])
    """
    weight = weight_of(layer)
    transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    return (weight.transpose(0, 1) if transposed else weight).flatten(1)


def matrix_norm(matrix: Tensor, start: Tensor | None, steps: int) -> tuple[Tensor, Tensor]:
    """(sigma, v): sigma = |W' u| for the unit u that `steps` power steps lead to, at most ||W||_2 up to rounding; v = W' u / sigma.

    The gradient is u v', so that <gradient, W> = sigma. A matrix of zeros: 0 with gradient 0, and v stays what it was. `start` is the v of an earlier call; random
    when None or of another length, and then more steps. Cost: 2 `steps` products with a vector; no value is read back to the host.

    >>> sigma, v = matrix_norm(torch.tensor([[3.0, 4.0]]), None, 1)
    >>> round(sigma.item(), 4)
    5.0
    """
    fixed = matrix.detach()
    with torch.no_grad():
        cold = start is None or len(start) != fixed.shape[1]
        if cold:
            start = torch.randn(fixed.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        v = old = start.to(fixed)  # type: ignore[union-attr]
        for _ in range(max(steps, 1) + (COLD if cold else 0)):
            u = _unit(fixed @ v)[0]
            v, sigma = _unit(fixed.T @ u)
        v = torch.where(sigma > 0, v, old)
    return Anchored.apply(matrix, sigma, u[:, None], v[:, None]), v  # type: ignore[no-untyped-call]


def _unit(x: Tensor) -> tuple[Tensor, Tensor]:
    """A vector divided by its norm, and the norm; zero stays zero. In float32, squares of 1e-30 vanish."""
    size = torch.linalg.vector_norm(x, dtype=torch.float64)
    return x / torch.where(size > 0, size, 1.0).to(x), size.to(x)


class Anchored(torch.autograd.Function):
    """Forward: a value found elsewhere. Backward: the direction left right' (..., rows, columns), with <direction, matrix> = value."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, value: Tensor, left: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(left, right)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        left, right = ctx.saved_tensors
        return (grad * left) @ right.mT, None, None, None
