"""Pools of constant 1 on windows that do not overlap: the scaled average and the l2 norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.errors import InputError
from ..activations import recorded
from .shared import Sigma, constant_one, require_axes


class _Pool2d(nn.Module):
    """Settings and checks of both pools: square windows of side `kernel_size`, side by side."""

    lipschitz = 1.0

    def __init__(self, kernel_size: int):
        super().__init__()
        if not isinstance(kernel_size, int) or isinstance(kernel_size, bool) or kernel_size < 1:
            expected, where = "a positive integer: windows are square and do not overlap", f"{type(self).__name__}, argument kernel_size"
            raise InputError("this pool takes one length", where=where, found=repr(kernel_size), expected=expected)
        self.kernel_size = kernel_size

    def _check(self, x: Tensor) -> None:
        k = self.kernel_size
        require_axes(self, x, f"(n, channels, height, width), at least {k} x {k} pixels", lambda shape: len(shape) == 4 and min(shape[2:]) >= k)

    def lipschitz_estimate(self, sigma: Sigma) -> Tensor:
        """1; `sigma` is not needed."""
        return constant_one()

    def extra_repr(self) -> str:
        return str(self.kernel_size)


class ScaledAvgPool2d(_Pool2d):
    """The average of k x k windows times k, that is their sum over k.

    Claim: a linear map whose rows are orthonormal (k^2 entries 1 / k, disjoint), so ||A||_2 = 1 exactly, where the plain average has 1 / k. Rows and
    columns of pixels that do not fill a window are dropped.

    Args:
        kernel_size: k, side and stride of the windows.
    Guarantee: `certify.lipschitz` bounds it as a linear layer, by 1 up to the slack of its method.
    Raises:
        InputError: a kernel_size that is no positive integer; at a call, an input without two axes of pixels or smaller than a window.
    Cost: that of torch's average pool.
    Source: Serrurier et al.: Achieving robustness in classification using optimal transport with hinge regularization, CVPR (2021), section 4.

    >>> ScaledAvgPool2d(2)(torch.ones(1, 1, 2, 2)).item()
    2.0
    """

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        return F.avg_pool2d(x, self.kernel_size, divisor_override=self.kernel_size)

    def exported(self) -> nn.Module:
        """torch's average pool with another divisor."""
        return nn.AvgPool2d(self.kernel_size, divisor_override=self.kernel_size)


class L2NormPool2d(_Pool2d):
    """The l2 norm of each k x k window.

    Claim: | |a| - |b| | <= |a - b| in every window, windows are disjoint: 1-Lipschitz in l2; the rows of the Jacobian are orthonormal where no window is
    zero. The gradient at a zero window is 0. Pixels that do not fill a window are dropped.

    Args:
        kernel_size: k, side and stride of the windows.
    Guarantee: none from this library: its graphs have no square root, so `certify.lipschitz` and `certify.radius` refuse a model with this pool by name.
    Raises:
        InputError: as ScaledAvgPool2d.
    Cost: about three entrywise operations.
    Source: as ScaledAvgPool2d; Boureau, Ponce, LeCun: A theoretical analysis of feature pooling, ICML (2010).

    >>> L2NormPool2d(2)(torch.tensor([[[[3.0, 0.0], [0.0, 4.0]]]])).item()
    5.0
    """

    def forward(self, x: Tensor) -> Tensor:
        k = self.kernel_size
        if recorded(x):
            return F.lp_pool2d(x, 2.0, k)  # the name under which `certify.core.trace` refuses it; its gradient at zero windows is NaN
        self._check(x)
        windows = x[..., : x.shape[2] // k * k, : x.shape[3] // k * k].unflatten(3, (-1, k)).unflatten(2, (-1, k))
        return torch.linalg.vector_norm(windows, dim=(3, 5))

    def exported(self) -> nn.Module:
        """torch's power-average pool with p = 2."""
        return nn.LPPool2d(2.0, self.kernel_size)
