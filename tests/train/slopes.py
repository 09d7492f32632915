"""Ground truth for maps that claim to be 1-Lipschitz: difference quotients and Jacobians of the map itself, in float64."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


def largest_quotient(function: Map, shape: tuple[int, ...], seed: int = 0, count: int = 60) -> float:
    """The largest |f(x) - f(y)| / |x - y| over random pairs: far apart, close, scaled, and along single coordinates; never above the constant."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((count, *shape), generator=generator, dtype=torch.float64) * 10.0 ** torch.randint(0, 4, (count, *(1,) * len(shape)), generator=generator)
    step = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    step[::3] = torch.where(torch.rand(step[::3].shape, generator=generator) < 0.7, 0.0, step[::3])
    size = x.flatten(1).norm(dim=1) / step.flatten(1).norm(dim=1).clamp_min(1e-300)
    share = 10.0 ** (-3 * torch.rand(count, generator=generator, dtype=torch.float64))  # at least 1e-3 |x|, so that rounding stays below 1e-12
    y = x + step * (size * share).reshape(-1, *(1,) * len(shape))
    with torch.no_grad():
        moved, distance = (function(x) - function(y)).flatten(1).norm(dim=1), (x - y).flatten(1).norm(dim=1)
    return float((moved / distance)[distance > 0].max())


def jacobian(function: Map, x: Tensor) -> Tensor:
    """The Jacobian of one input (1, ...) by autograd, as a matrix."""
    rows = torch.autograd.functional.jacobian(function, x)
    return rows.reshape(-1, x.numel())


def numeric_jacobian(function: Map, x: Tensor, step: float = 1e-6) -> Tensor:
    """The same by central differences, which know nothing of the gradient's code."""
    eye = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape[1:]) * step
    with torch.no_grad():
        return ((function(x + eye) - function(x - eye)) / (2 * step)).flatten(1).T


def defect(matrix: Tensor) -> float:
    """How far the rows are from orthonormal: max |J J' - I|."""
    return float((matrix @ matrix.mT - torch.eye(len(matrix), dtype=matrix.dtype)).abs().max())
