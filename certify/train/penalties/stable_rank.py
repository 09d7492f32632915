"""StableRank: the sum over layers of |W|_F^2 / ||W||_2^2, as a training penalty."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..settings import whole
from .base import LayerMemory, Penalty, layers_of, total
from .matrix import matrix_norm, reshaped


class StableRank(Penalty):
    """penalty(module) = weight * sum over layers of |W|_F^2 / sigma^2, W the kernel as a matrix (out, everything else), sigma its spectral norm.

    1 <= |W|_F^2 / ||W||_2^2 <= rank W: how many singular values are as large as the first. It does not change when W is scaled, so it says nothing about
    the Lipschitz constant; at equal constants a smaller one means that fewer directions are stretched. The gradient is 2 W / sigma^2 - 2 |W|_F^2 / sigma^3 u v'.
    Layers: nn.Linear, convolutions, transposed convolutions. W is not the convolution as an operator (`certify.train.diagnostics` measures that).

    Args:
        weight: factor of the penalty.
        steps: power steps per call for sigma (the first call for a layer makes more).

    Guarantee: none, an estimate for training: sigma is approached from below, the penalty from above. A layer of zeros contributes 0.

    Raises:
        InputError: settings.

    Cost: three passes over the weights per call, backward two more. One value per layer does not reach the host.

    Source: Xiao, Li, Xie, Zhou, Heavy-tailed regularization, arXiv:2304.02911 (as a penalty); the ratio: Sanyal, Torr, Dokania, arXiv:1906.04659, section 2.

    >>> layer = nn.Linear(2, 2)
    >>> _ = layer.weight.data.copy_(torch.diag(torch.tensor([2.0, 1.0])))
    >>> round(StableRank()(layer).item(), 4)
    1.25
    """

    def __init__(self, weight: float = 1.0, steps: int = 1):
        super().__init__(weight)
        self.steps = whole("steps", steps)
        self._vectors: LayerMemory[Tensor] = LayerMemory()

    def __call__(self, module: nn.Module) -> Tensor:
        """The penalty, a scalar tensor with a gradient; 0 for a module without such layers."""
        return total(self.weight, map(self.stable_rank, layers_of(module)))

    def stable_rank(self, layer: nn.Module) -> Tensor:
        """|W|_F^2 / sigma^2 of one layer, with its gradient; 0 where W is."""
        matrix = reshaped(layer)
        sigma, self._vectors[layer] = matrix_norm(matrix, self._vectors.get(layer), self.steps)
        zero = sigma.detach() == 0
        sigma = torch.where(zero, torch.ones_like(sigma), sigma)
        return torch.where(zero, torch.zeros_like(sigma), torch.linalg.vector_norm(matrix / sigma).square())
