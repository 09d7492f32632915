"""Ground truth for penalties: dense matrices by applying the layer to the identity, and the layers that every penalty must take."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from certify.norms.estimate import linear_part


def dense(layer: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """The matrix (outputs, inputs) of a layer without its bias, float64."""
    with torch.no_grad():
        size = torch.Size(shape).numel()
        columns = linear_part(layer)(torch.eye(size, dtype=torch.float64).reshape(size, *shape), layer.weight.double())
    return columns.reshape(size, -1).T


def norm_of(matrix: Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrix.double(), 2))


def layers() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Small layers with their input shapes: groups, stride, padding, dilation, transposed, 1-output heads, wide and tall."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return {
            "linear wide": (nn.Linear(7, 3), (7,)),
            "linear tall": (nn.Linear(3, 8), (3,)),
            "linear head": (nn.Linear(5, 1), (5,)),
            "conv1d": (nn.Conv1d(2, 3, 3, padding=1), (2, 9)),
            "conv2d": (nn.Conv2d(3, 4, 3, padding=1), (3, 7, 6)),
            "conv2d 1x1": (nn.Conv2d(3, 2, 1), (3, 4, 4)),
            "conv2d oblong": (nn.Conv2d(2, 3, (1, 4)), (2, 4, 7)),
            "conv2d stride": (nn.Conv2d(2, 5, 3, stride=2, padding=1), (2, 8, 8)),
            "conv2d 1x1 stride": (nn.Conv2d(3, 4, 1, stride=2), (3, 6, 6)),
            "conv2d patches": (nn.Conv2d(2, 6, 2, stride=2), (2, 6, 6)),
            "conv2d dilation": (nn.Conv2d(2, 2, 3, padding=2, dilation=2), (2, 7, 7)),
            "conv2d stride and dilation": (nn.Conv2d(2, 2, 3, stride=2, padding=2, dilation=2), (2, 8, 8)),
            "conv2d groups": (nn.Conv2d(4, 6, 3, padding=1, groups=2), (4, 6, 6)),
            "conv2d depthwise": (nn.Conv2d(3, 3, 3, padding=1, groups=3), (3, 6, 6)),
            "conv2d dead taps": (nn.Conv2d(2, 2, 5, padding=2), (2, 2, 2)),
            "conv2d circular": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 5, 6)),
            "conv2d circular stride": (nn.Conv2d(2, 3, 3, stride=2, padding=1, padding_mode="circular"), (2, 6, 6)),
            "conv2d circular odd": (nn.Conv2d(2, 3, 3, stride=2, padding=1, padding_mode="circular"), (2, 5, 7)),
            "conv2d circular wide": (nn.Conv2d(2, 3, 3, padding=2, padding_mode="circular"), (2, 5, 5)),
            "conv2d reflect": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 5, 5)),
            "conv2d replicate": (nn.Conv2d(2, 3, 3, padding=2, padding_mode="replicate"), (2, 4, 4)),
            "conv2d same": (nn.Conv2d(2, 2, 4, padding="same"), (2, 6, 6)),
            "conv3d": (nn.Conv3d(1, 2, 2), (1, 3, 3, 3)),
            "transposed 1d": (nn.ConvTranspose1d(2, 3, 3, stride=2), (2, 5)),
            "transposed 2d": (nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1, groups=2), (4, 3, 3)),
            "transposed 3d": (nn.ConvTranspose3d(1, 2, 2), (1, 2, 2, 2)),
        }


LAYERS = layers()


def fresh(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, tuple[int, ...]]:
    """A copy of one of `LAYERS`."""
    layer, shape = layers()[name]
    return layer.to(dtype), shape


def derivative(value, weight: Tensor, direction: Tensor, step: float = 1e-5) -> float:
    """(value(W + step D) - value(W - step D)) / (2 step)."""
    with torch.no_grad():
        ends = []
        for sign in (1, -1):
            weight.add_(direction, alpha=sign * step)
            ends.append(float(value()))
            weight.sub_(direction, alpha=sign * step)
    return (ends[0] - ends[1]) / (2 * step)
