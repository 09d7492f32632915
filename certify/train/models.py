"""Networks for the recipes, 1-Lipschitz by construction but for rounding: orthogonal layers, MaxMin, an orthogonal last layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..core.errors import InputError
from .activations import MaxMin
from .parametrizations import bjorck, orthogonal_convolution
from .settings import number


def patch_network(
    input_shape: Sequence[int] = (1, 28, 28),
    patch: int = 4,
    channels: int = 64,
    kernel: int = 2,
    dense: Sequence[int] = (256, 256),
    classes: int = 10,
    method: str = "retraction",
    center: float = 0.0,
) -> nn.Sequential:
    """Patches of patch x patch pixels as channels, one orthogonal convolution over them, orthogonal dense layers; MaxMin in between.

    Claim: constant at most 1 in l2 up to the rounding of the orthogonal weights, and |z_i - z_j| at most sqrt(2) |x - x'|: every layer is norm-nonincreasing. Half
    of the cost of a network with strided convolutions is saved by moving pixels instead of convolving them; the first layer sees (kernel * patch)^2 pixels.

    Args:
        input_shape: (channels, height, width); height and width are multiples of `patch`. patch: pixels.
        channels: outputs of the convolution, even. kernel: of the convolution, in patches; zeros come in from the right and below so that the size stays.
        dense: widths of the hidden dense layers, even. classes: outputs.
        method: how weights are kept orthogonal, as in `orthogonal_convolution`: "retraction" (optimizer "muon" is made for it) or "cayley" and "bjorck" (any optimizer).
        center: the first bias is chosen so that an image of this grey value gives zeros, where no padding is seen: 0 for ink on paper, 0.5 for photographs.

    Raises:
        InputError: sizes that do not fit.

    Cost: about 3 * (height / patch)^2 * channels * dense[0] multiplications per image and training step; 0.9 million weights for MNIST.

    >>> patch_network()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    _require(patch=patch, channels=channels, kernel=kernel, classes=classes)
    _require_even(channels, *dense)
    number("center", center)
    if len(input_shape) != 3:
        raise InputError("an image has three axes", where="argument input_shape", found=repr(input_shape), expected="(channels, height, width)")
    depth, height, width = input_shape
    _require(channels=depth, height=height, width=width)
    if height % patch or width % patch:
        raise InputError("the image does not split into whole patches", where="argument patch", found=f"{patch} for {height} x {width} pixels", expected="a common divisor")
    linear = "iteration" if method == "bjorck" else method
    spots = (height // patch) * (width // patch)
    sizes = [channels * spots, *dense, classes]
    layers: list[nn.Module] = [nn.PixelUnshuffle(patch)] if patch > 1 else []
    if kernel > 1:
        before = (kernel - 1) // 2
        layers.append(nn.ZeroPad2d((before, kernel - 1 - before) * 2))
    convolution = orthogonal_convolution(nn.Conv2d(depth * patch * patch, channels, kernel), method)
    with torch.no_grad():
        convolution.bias.copy_(-center * convolution.weight.sum(dim=(1, 2, 3)))
    layers += [convolution, MaxMin(), nn.Flatten()]
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [_matrix(inputs, outputs, linear), MaxMin()]
    return nn.Sequential(*layers[:-1])


def orthogonal_mlp(inputs: int = 64, dense: Sequence[int] = (128, 128, 128), classes: int = 10, method: str = "retraction") -> nn.Sequential:
    """Orthogonal dense layers with MaxMin in between, for inputs of any shape with `inputs` entries; constant at most 1 as in `patch_network`.

    >>> orthogonal_mlp(64)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    _require(inputs=inputs, classes=classes)
    _require_even(*dense)
    linear = "iteration" if method == "bjorck" else method
    sizes = [inputs, *dense, classes]
    layers: list[nn.Module] = [nn.Flatten()]
    for a, b in zip(sizes, sizes[1:]):
        layers += [_matrix(a, b, linear), MaxMin()]
    return nn.Sequential(*layers[:-1])


def _require(**sizes: int) -> None:
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise InputError("a size of the network is no positive integer", where=f"argument {name}", found=repr(size), expected="at least 1")


def _require_even(*widths: int) -> None:
    for width in widths:
        _require(width=width)
        if width % 2:
            raise InputError("MaxMin needs pairs of channels", where="arguments channels, dense", found=width, expected="even widths")


def _matrix(inputs: int, outputs: int, method: str) -> nn.Module:
    from .parametrizations import cayley

    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return cayley(layer) if method == "cayley" else bjorck(layer, method)
