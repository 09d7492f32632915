"""LiResNetBlock: a linear residual, one convolution with the identity folded into its kernel."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...core.errors import InputError
from ..activations import MaxMin
from .centering import note_mean
from .shared import Sigma, activation_constant, require_axes, require_evaluation

_BATCH_MEAN = "it subtracts the mean of the batch, so its output depends on the other inputs"
_MOMENTUM = 0.1
_PADDINGS = ("zeros", "circular", "reflect", "replicate")


class ResidualKernel(nn.Module):
    """W -> I + scale * gamma * W, I the kernel of the identity, gamma learned per output channel.

    The identity sits at the tap that padding="same" lays on the pixel itself: (k - 1) // 2 on each axis, because torch pads the odd pixel of an even
    kernel on the high side; and in channel o mod (c / groups) of the group of o.
    """

    def __init__(self, channels: int, scale: float, device: Any = None, dtype: Any = None):
        super().__init__()
        self.scale = scale
        self.gamma = nn.Parameter(torch.ones(channels, device=device, dtype=dtype))

    def forward(self, weight: Tensor) -> Tensor:
        kernel = weight * (self.scale * self.gamma).reshape(-1, 1, 1, 1)
        own = torch.arange(weight.shape[0], device=weight.device)
        identity = torch.zeros_like(weight)
        identity[own, own % weight.shape[1], (weight.shape[2] - 1) // 2, (weight.shape[3] - 1) // 2] = 1
        return identity + kernel


class LiResNetBlock(nn.Module):
    """y = act((I + s gamma W) * x + b - mean), s = depth^(-1/2): a residual without an activation inside the branch.

    Claim: with evaluation's running mean the block is one convolution and an activation, so its constant is ||I + s gamma W|| times the activation's: the
    identity costs nothing, where a usual residual block is charged 1 + ||branch||. The mean is that of the branch, s gamma W * x, per channel.

    Args:
        channels: of input and output, axis 1 of (n, channels, height, width).
        kernel_size: side of the kernel; padding keeps the image's size.
        depth: number of blocks of the network, L; s = L^(-1/2).
        activation: after the sum, MaxMin() unless given; nn.Identity() for none.
        centering: whether the branch's mean is subtracted (the batch's in training, a running one in evaluation).
        groups, padding_mode: of the convolution.
        device, dtype: of its tensors.
    Guarantee: none in training; `certify.lipschitz` bounds the folded convolution as any other.
    Raises:
        InputError: bad settings; at a call, another number of channels.
    Cost: one convolution; in training one pass more over input and output. The start is W = N(0, 1) / (fan in), gamma = 1, b = 0: nearly the identity.
    Source: Hu, Zou, Wang, Leino, Fredrikson: Unlocking deterministic robustness certification on ImageNet, NeurIPS (2023), section 4, and its code.

    >>> block = LiResNetBlock(4, depth=9).eval()
    >>> block.exported()
    Sequential(
      (0): Conv2d(4, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
      (1): MaxMin()
    )
    """

    running_mean: Tensor | None

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        depth: int = 1,
        activation: nn.Module | None = None,
        centering: bool = True,
        groups: int = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        for name, value in (("channels", channels), ("kernel_size", kernel_size), ("depth", depth), ("groups", groups)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError("a linear residual needs positive integers", where=f"LiResNetBlock, argument {name}", found=repr(value), expected="an integer >= 1")
        if channels % groups:
            raise InputError("the groups do not divide the channels", where="LiResNetBlock, argument groups", found=groups, expected=f"a divisor of {channels}")
        if padding_mode not in _PADDINGS:
            raise InputError("unknown padding", where="LiResNetBlock, argument padding_mode", found=repr(padding_mode), expected=", ".join(_PADDINGS))
        self.channels, self.depth = channels, depth
        like: dict[str, Any] = {"device": device, "dtype": dtype}
        padding: Any = kernel_size // 2 if kernel_size % 2 else "same"
        self.conv = nn.Conv2d(channels, channels, kernel_size, padding=padding, groups=groups, bias=False, padding_mode=padding_mode, **like)  # type: ignore[arg-type]
        nn.init.normal_(self.conv.weight, std=1 / self.conv.weight[0].numel())
        parametrize.register_parametrization(self.conv, "weight", ResidualKernel(channels, depth**-0.5, **like))
        self.bias = nn.Parameter(torch.zeros(channels, **like))
        self.register_buffer("running_mean", torch.zeros(channels, **like) if centering else None)
        self.activation = MaxMin() if activation is None else activation

    def forward(self, x: Tensor) -> Tensor:
        require_evaluation(self, x, why=_BATCH_MEAN)
        require_axes(self, x, f"(n, {self.channels}, height, width)", lambda shape: len(shape) == 4 and shape[1] == self.channels)
        y = self.conv(x)
        if self.training and self.running_mean is not None:
            mean = y.mean((0, 2, 3)) - x.mean((0, 2, 3))  # of the branch: (I + V) * x - x
            note_mean(self.running_mean, mean, _MOMENTUM)
            shift = self.bias - mean
        else:
            shift = self._shift()
        return self.activation(y + shift.reshape(-1, 1, 1))

    def _shift(self) -> Tensor:
        return self.bias if self.running_mean is None else self.bias - self.running_mean

    def lipschitz_estimate(self, sigma: Sigma) -> Tensor:
        """sigma of the folded convolution, times the activation's constant."""
        return sigma(self.conv) * activation_constant(self.activation)

    @torch.no_grad()
    def exported(self) -> nn.Module:
        """One convolution with a bias, and the activation (unless it is an nn.Identity)."""
        old, like = self.conv, {"device": self.bias.device, "dtype": self.bias.dtype}
        padding: Any = old.padding
        layer = nn.Conv2d(self.channels, self.channels, old.kernel_size, padding=padding, groups=old.groups, padding_mode=old.padding_mode, **like)  # type: ignore[arg-type]
        layer.weight.copy_(old.weight)
        layer.bias.copy_(self._shift())  # type: ignore[union-attr]
        return layer if isinstance(self.activation, nn.Identity) else nn.Sequential(layer, copy.deepcopy(self.activation))

    def extra_repr(self) -> str:
        return f"depth={self.depth}" + ("" if self.running_mean is not None else ", centering=False")
