"""Orthogonality: how far the layers are from isometries, measured on the kernel, as a training penalty."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...norms.estimate import weight_of
from .base import Penalty, layers_of, total


class Orthogonality(Penalty):
    """penalty(module) = weight * sum over layers of |W W' - I|_F^2 for nn.Linear (W' W where W is tall), of the kernel's self-correlation for convolutions.

    A convolution with stride s is, over the infinite grid, R (out, in s_1 .. s_D) by shifts j = 0 .. J - 1, its polyphase kernel. Its rows are orthonormal exactly if
        G_l = sum_j R[j + l] R[j]' = I for l = 0, 0 for every other lag l
    and the penalty is sum_l |G_l - delta_l I|_F^2 = |A A' - I|_F^2 per output pixel, A the operator. Where the outputs are more than the columns of R, that of the
    columns, R' for R; the two differ by the constant outputs - columns, so that the smallest value is 0 either way. With groups: the sum over groups, each with
    its own I. Transposed convolutions: that of the convolution whose adjoint they are. Dilation changes nothing. 0 exactly where A is an isometry or a
    co-isometry on the infinite grid, and under circular padding on every map of at least 2 J - 1 shifts. Zero padding cuts rows off: then every singular value
    is still at most 1, those of the border are smaller.

    Args:
        weight: factor of the penalty.

    Guarantee: none, a small penalty is no bound; certify the layer with `certify.operator_norm`.

    Raises:
        InputError: settings.

    Cost: for 3 x 3 kernels 45 products of an (out, in) matrix with its transpose, backward twice that: as much as a training step on maps of 8 pixels where the batch is
        small. No state.

    Source: Wang, Chen, Chakraborty, Yu, Orthogonal convolutional neural networks, CVPR 2020 (stride by skipping lags, which is the polyphase form).

    >>> shift = nn.Conv2d(1, 1, 3, padding=1)
    >>> _ = nn.init.dirac_(shift.weight)
    >>> Orthogonality()(shift).item()
    0.0
    """

    def __call__(self, module: nn.Module) -> Tensor:
        """The penalty, a scalar tensor with a gradient; 0 for a module without such layers."""
        return total(self.weight, map(self.distance, layers_of(module)))

    def distance(self, layer: nn.Module) -> Tensor:
        """sum_l |G_l - delta_l I|_F^2 of one layer, with its gradient."""
        kernel = _polyphase(layer)
        if kernel.shape[1] > kernel.shape[2]:
            kernel = kernel.transpose(1, 2)
        shifts = kernel.shape[3:]
        terms = []
        for lag in product(*(range(1 - j, j) for j in shifts)):
            if lag < (0,) * len(lag):
                continue  # G_-l is the transpose of G_l
            ahead, behind = kernel, kernel
            for axis, (n, j) in enumerate(zip(lag, shifts), 3):
                ahead, behind = ahead.narrow(axis, max(n, 0), j - abs(n)), behind.narrow(axis, max(-n, 0), j - abs(n))
            gram = ahead.flatten(2) @ behind.flatten(2).transpose(1, 2)
            here = not any(lag)
            off = gram - torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device) if here else gram
            terms.append(off.square().sum() * (1 if here else 2))
        return torch.stack(terms).sum()


def _polyphase(layer: nn.Module) -> Tensor:
    """R (groups, a, columns, *J); phases that no tap falls into are left out. nn.Linear: no shifts."""
    weight = weight_of(layer)
    if isinstance(layer, nn.Linear):
        return weight[None]
    groups = int(layer.groups)  # type: ignore[arg-type]
    kernel = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    geometry = zip(layer.kernel_size, layer.stride, layer.dilation)  # type: ignore[arg-type]
    phases = [min(k, s // math.gcd(s, d)) for k, s, d in geometry]
    if max(phases) == 1:
        return kernel
    sizes = kernel.shape[3:]
    pads = [x for k, p in zip(reversed(sizes), reversed(phases)) for x in (0, -k % p)]
    split = F.pad(kernel, pads).reshape(*kernel.shape[:3], *(n for k, p in zip(sizes, phases) for n in (-(-k // p), p)))
    count = len(sizes)
    order = [0, 1, 2, *(4 + 2 * k for k in range(count)), *(3 + 2 * k for k in range(count))]
    return split.permute(order).flatten(2, 2 + count)
