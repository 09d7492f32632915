"""cayley: orthogonal matrices and circular convolutions by the Cayley map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.errors import HypothesisError, InputError
from .base import Geometry, attach, full_precision, require_layer, require_symbol
from .frames import cayley as transform
from .semi_orthogonal import SemiOrthogonal


def cayley(layer: Any, input_shape: Sequence[int] | None = None) -> Any:
    """Parametrize a layer by the Cayley map (I - M)(I + M)^-1: a semi-orthogonal matrix, or one at each frequency of a circular convolution.

    Claim: orthonormal rows or columns in real arithmetic. Q = [(I - M)(I + M)^-1; -2 B (I + M)^-1] with M = A - A' + B'B has Q'Q = I for all A, B.
        nn.Linear, and convolutions with kernel <= stride (windows do not overlap): Q is the matrix, per group; it starts as the nearest one to the layer's weight.
        other convolutions: Q is applied to the Fourier transform of a free kernel of the layer's size, at each frequency of `input_shape`. This needs stride 1,
            dilation 1, circular padding that keeps the size. The transform of Q is a kernel as large as the image, so `layer.weight`, `kernel_size` and `padding`
            become those: a plain Conv2d with padding_mode="circular", orthogonal at that input size and no other. Its cost grows with the square of the number of
            pixels: for small maps (7 x 7; at 14 x 14 it is about 20 times a 3x3 convolution). `orthogonal_convolution` keeps the kernel's size.

    Args:
        layer: nn.Linear, nn.Conv1d-3d, nn.ConvTranspose1d-3d (windows that do not overlap).
        input_shape: of one sample, for circular convolutions.

    Returns the same layer.

    Guarantee: ||A|| <= 1 in real arithmetic; where the windows do not overlap with zero padding as well (border pixels are damped). Rounding: measured at most 1e-6
    above 1 in float32 and 4e-15 in float64, far from the start too (one Newton-Schulz step mends what a badly conditioned I + M has magnified).

    Raises:
        UnsupportedLayerError: another kind of layer. HypothesisError: overlapping windows without circular padding, with stride, dilation or transposed; matrices
            with one entry. InputError: arguments, weights.

    Cost: one solve of the smaller side and one product; circular convolutions: complex ones, at half the frequencies.

    Source: Trockman & Kolter, Orthogonalizing convolutional layers with the Cayley transform, ICLR 2021 (section 4, and appendix on rectangular matrices).

    >>> layer = cayley(nn.Linear(3, 5))
    >>> bool(torch.allclose(layer.weight.T @ layer.weight, torch.eye(3), atol=1e-5))
    True
    """
    geometry = require_layer(layer)
    if geometry.overlap == 1:
        require_symbol(geometry, input_shape)
        return attach(layer, SemiOrthogonal(geometry, layer.weight, "cayley", None))
    sizes = _require_circular(geometry, input_shape)
    attach(layer, CayleyConvolution(geometry, sizes), unsafe=True)
    layer.kernel_size, layer.padding = sizes, "same"
    margins = [((n - 1) // 2, n - 1 - (n - 1) // 2) for n in reversed(sizes)]
    layer._reversed_padding_repeated_twice = [m for pair in margins for m in pair]
    return layer


class CayleyConvolution(nn.Module):
    """A free kernel (outputs, inputs / groups, *kernel) to the full-size kernel of an orthogonal circular convolution."""

    lipschitz = 1.0

    def __init__(self, geometry: Geometry, sizes: tuple[int, ...]):
        super().__init__()
        self.groups, self.kernel, self.sizes = geometry.groups, geometry.kernel, sizes

    @full_precision
    def forward(self, raw: Tensor) -> Tensor:
        axes = tuple(range(-len(self.sizes), 0))
        pads = [p for n, k in zip(reversed(self.sizes), reversed(self.kernel)) for p in (0, n - k)]
        centred = torch.roll(F.pad(raw, pads), [-((k - 1) // 2) for k in self.kernel], axes)
        symbol = torch.fft.rfftn(centred, dim=axes)
        matrices = symbol.reshape(self.groups, -1, *symbol.shape[1:]).movedim((1, 2), (-2, -1))
        wide = matrices.shape[-2] < matrices.shape[-1]
        tall = matrices.mH if wide else matrices
        unit = transform(tall, torch.eye(tall.shape[-1], dtype=tall.dtype, device=tall.device).expand(*tall.shape[:-2], -1, -1))
        unit = (unit.mH if wide else unit).movedim((-2, -1), (1, 2)).reshape(symbol.shape)
        return torch.roll(torch.fft.irfftn(unit, s=self.sizes, dim=axes), [(n - 1) // 2 for n in self.sizes], axes)

    def right_inverse(self, value: Tensor) -> Tensor:
        """The layer's own kernel becomes the free one."""
        if tuple(value.shape[2:]) != self.kernel:
            what = "a full-size kernel cannot be assigned: the free kernel is smaller"
            raise InputError(what, where="layer.weight", found=tuple(value.shape[2:]), expected=self.kernel, hint="assign a free kernel to layer.parametrizations.weight.original")
        return value

    def extra_repr(self) -> str:
        return f"sizes={self.sizes}"


def _require_circular(geometry: Geometry, input_shape: Sequence[int] | None) -> tuple[int, ...]:
    layer = geometry.layer
    where, hint = type(layer).__name__, "use orthogonal_convolution"
    if layer.transposed or layer.padding_mode != "circular":
        found = "a transposed convolution" if layer.transposed else f"padding_mode={layer.padding_mode!r}"
        raise HypothesisError("the Cayley map of overlapping windows is for circular convolutions", where=where, found=found, expected="padding_mode='circular'", hint=hint)
    if max(layer.stride) > 1 or max(layer.dilation) > 1:
        found = f"stride {layer.stride}, dilation {layer.dilation}"
        raise HypothesisError("the Cayley map of a convolution is per frequency: stride 1, dilation 1", where=where, found=found, hint=hint)
    if layer.padding != "same" and any(2 * p != k - 1 for p, k in zip(layer.padding, layer.kernel_size)):
        what, expected = "the Cayley map of a convolution keeps the image's size", "2 * padding = kernel_size - 1"
        raise HypothesisError(what, where=where, found=f"padding {layer.padding}", expected=expected, hint=hint)
    if input_shape is None:
        what = "the Cayley map of a convolution is orthogonal at one input size, which must be declared"
        raise HypothesisError(what, where="argument input_shape", found=None, expected="(channels, height, width)", hint=hint)
    require_symbol(geometry, input_shape)
    sizes = tuple(int(n) for n in input_shape[1:])
    if any(n < k for n, k in zip(sizes, layer.kernel_size)):
        raise HypothesisError("the kernel is larger than the image", where=where, found=f"kernel {layer.kernel_size}, image {sizes}", hint=hint)
    return sizes
