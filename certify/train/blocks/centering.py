"""Centering: subtracts the mean of each channel and divides by nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import InputError
from .shared import Sigma, constant_one, require_axes, require_evaluation

_BATCH_MEAN = "it subtracts the mean of the batch, so its output depends on the other inputs"


class Centering(nn.Module):
    """y = x - mean + bias per channel: the mean of the batch in training, a running mean in evaluation.

    What is left of a batch norm when nothing may be amplified. In evaluation it is a shift, in training a projection of the batch and a shift.

    Claim: |f(x) - f(y)| <= |x - y| in every p for one input in evaluation mode, and in l2 for whole batches in training mode.

    Args:
        channels: of the input, axis 1 of (n, channels, ...).
        momentum: share of the new batch in the running mean, in (0, 1].
        bias: whether a learned bias is added.
        device, dtype: of bias and mean.
    Guarantee: `certify.lipschitz` gives exactly 1 in evaluation mode, and refuses training mode.
    Raises:
        InputError: bad settings; at a call, another number of channels, or an empty batch in training.
    Cost: two passes over the input in training, one in evaluation; none after `export` where a layer with a bias stands before it.
    Source: Subramanian, Chong: Mean spectral normalization of deep neural networks for embedded automation, CASE (2019), without the gain; Hu,
        Zou, Wang, Leino, Fredrikson: Unlocking deterministic robustness certification on ImageNet, NeurIPS (2023).

    >>> Centering(2)(torch.tensor([[1.0, 2.0], [3.0, 6.0]])).tolist()
    [[-1.0, -2.0], [1.0, 2.0]]
    """

    lipschitz = 1.0
    running_mean: Tensor
    bias: nn.Parameter | None

    def __init__(self, channels: int, momentum: float = 0.1, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__()
        if not isinstance(channels, int) or channels < 1:
            raise InputError("a number of channels is a positive integer", where="Centering, argument channels", found=repr(channels))
        if not 0 < momentum <= 1:
            raise InputError("the momentum is the share of the new batch", where="Centering, argument momentum", found=momentum, expected="0 < momentum <= 1")
        self.channels, self.momentum = channels, float(momentum)
        self.register_buffer("running_mean", torch.zeros(channels, device=device, dtype=dtype))
        self.register_parameter("bias", nn.Parameter(torch.zeros(channels, device=device, dtype=dtype)) if bias else None)
        self.dims: int | None = None  # axes after the channels at the last call: `exported` chooses its layer by it

    def forward(self, x: Tensor) -> Tensor:
        require_evaluation(self, x, why=_BATCH_MEAN)
        if not isinstance(x, Tensor):  # torch.fx does not tell the number of axes: the channels go to the end and back
            return (x.transpose(1, -1) + self.shift()).transpose(1, -1)
        require_axes(self, x, f"(n, {self.channels}, ...)", lambda shape: len(shape) >= 2 and shape[1] == self.channels and (not self.training or 0 not in shape))
        self.dims = x.ndim - 2
        if self.training:
            mean = x.mean((0, *range(2, x.ndim)))
            note_mean(self.running_mean, mean, self.momentum)
            shift = -mean if self.bias is None else self.bias - mean
        else:
            shift = self.shift()
        return x + shift.reshape(-1, *(1,) * self.dims)

    def shift(self) -> Tensor:
        """What evaluation adds to each channel: bias - running mean, (channels,)."""
        return -self.running_mean if self.bias is None else self.bias - self.running_mean

    def lipschitz_estimate(self, sigma: Sigma) -> Tensor:
        """1; `sigma` is not needed."""
        return constant_one()

    @torch.no_grad()
    def exported(self) -> nn.Module:
        """The shift as a layer of torch that multiplies each channel by 1, for inputs with as many axes as the last one; itself if it never saw one."""
        kind = {0: nn.Linear, 1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}.get(-1 if self.dims is None else self.dims)
        if kind is None:
            return self
        settings: dict[str, Any] = {"device": self.running_mean.device, "dtype": self.running_mean.dtype}
        layer: Any = nn.Linear(self.channels, self.channels, **settings) if kind is nn.Linear else kind(self.channels, self.channels, 1, groups=self.channels, **settings)
        layer.weight.copy_(torch.eye(self.channels) if kind is nn.Linear else torch.ones_like(layer.weight))
        layer.bias.copy_(self.shift())
        return layer

    def extra_repr(self) -> str:
        return f"{self.channels}, momentum={self.momentum}" + ("" if self.bias is not None else ", bias=False")


@torch.no_grad()
def note_mean(running: Tensor, mean: Tensor, momentum: float) -> None:
    """running <- (1 - momentum) running + momentum mean, in place."""
    running.lerp_(mean.to(running.dtype), momentum)
