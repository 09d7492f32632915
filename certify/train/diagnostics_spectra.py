"""Singular values of layers: of the kernel as a matrix, and of the operator that the layer is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from torch import Tensor, nn

from ..core.errors import InputError
from ..linear.conv import ConvMap
from ..norms.estimate import LINEAR_LAYERS, weight_of
from ..norms.polyphase import circular_plan, convolution_of, is_block_circulant, symbol_taps
from ..norms.public import as_linear_graph, layer_map
from ..norms.symbol import Symbol
from .modes import evaluation
from .penalties.base import input_shapes

_DENSE, _FOURIER = 1 << 22, 1 << 25  # entries of the matrix, or of all its Fourier blocks, up to which a spectrum is worth its seconds


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Singular values of one layer, largest first; zeros that only the shape causes are left out.

    `method`: "dense", from the assembled matrix; "fourier", exact for circular padding; "circular": of the same kernel with circular padding, for layers too large to
    assemble: an approximation that is close for images much larger than the kernel. Float64 values of numpy, not enclosures.
    """

    values: np.ndarray
    method: str

    @property
    def stable_rank(self) -> float:
        """sum s^2 / max s^2, 0 for a zero layer."""
        top = float(self.values.max(initial=0.0))
        return float(np.sum((self.values / top) ** 2)) if top > 0 else 0.0


def named_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Path -> linear or convolution layer; a bare layer has the name of its class."""
    found: list[tuple[str, nn.Module]] = list(model.named_modules())
    return {name or type(layer).__name__: layer for name, layer in found if issubclass(type(layer), LINEAR_LAYERS)}


def kernel_matrix(layer: nn.Module) -> Tensor:
    """The kernel as a matrix (outputs, everything else), as the layer computes it; for a transposed convolution the outputs of one group."""
    weight = weight_of(layer).detach()
    transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    return (weight.transpose(0, 1) if transposed else weight).flatten(1)


def spectra(model: nn.Module, input_shape: Sequence[int]) -> dict[str, Spectrum]:
    """The singular values of every linear and convolution layer as an operator, with its own stride, padding, groups and input size.

    Args:
        model: a module, or a bare layer; computed weights are taken as the model computes them. input_shape: of one input of the model.
    Guarantee: none beyond numpy's; an enclosure of the largest one is `certify.operator_norm`.
    Raises:
        InputError: a layer for which neither the dense nor a Fourier form is small enough; names it.
    Cost: an SVD of at most four million entries per layer, or one per frequency.
    Source: Sedghi, Gupta & Long 2019 (Fourier blocks of circular convolutions), with the phases of a stride side by side.

    >>> import torch
    >>> layer = nn.Linear(2, 2, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    >>> spectra(layer, (2,))["Linear"].values.tolist()
    [4.0, 3.0]
    """
    shapes = input_shapes(model, input_shape)
    with evaluation(model):
        return {name: _spectrum(name, layer, shapes[layer]) for name, layer in named_layers(model).items() if layer in shapes}


def _spectrum(name: str, layer: nn.Module, shape: tuple[int, ...]) -> Spectrum:
    last = shape[-1:] if isinstance(layer, nn.Linear) else shape  # on sequences: the same matrix at every place
    map = layer_map(as_linear_graph(layer, last))
    conv = convolution_of(map)
    exact = conv is not None and not is_block_circulant(conv)
    if not exact and map.input_size * map.output_size <= _DENSE:
        values = np.linalg.svd(map.dense(), compute_uv=False)
        return Spectrum(values[: min(map.input_size, map.output_size)], "dense")
    wrapped = conv if exact else _circular(conv)
    if wrapped is None or _fourier_size(wrapped) > _FOURIER:
        raise InputError(
            "the layer is too large for its singular values",
            where=name,
            found=f"{map.output_size} x {map.input_size}",
            expected=f"at most {_DENSE} entries, or a stride that divides the image",
            hint="a smaller input_shape",
        )
    return Spectrum(_fourier(wrapped), "fourier" if exact else "circular")


def _circular(conv: ConvMap | None) -> ConvMap | None:
    """The same kernel with circular padding and inputs / stride outputs; None where the stride does not divide the image."""
    if conv is None or any(a.inputs % a.stride for a in conv.axes):
        return None
    axes = [replace(a, outputs=a.inputs // a.stride, low=0, high=a.stride * a.inputs + a.dilation * a.taps, mode="circular") for a in conv.axes]
    return ConvMap(conv.weight, tuple(axes), conv.groups)  # where the padding begins moves the outputs about and changes no singular value


def _fourier_size(conv: ConvMap) -> int:
    return math.prod(a.inputs for a in conv.axes) * math.prod(conv.weight.shape[:2])


def _fourier(conv: ConvMap) -> np.ndarray:
    """All singular values of a block-circulant convolution: those of its symbol at every frequency of the output grid, group by group."""
    plans = [circular_plan(a) for a in conv.axes]
    period = tuple(plan.period for plan in plans)
    numerators = 2 * np.array(list(product(*(range(n) for n in period))), dtype=np.int64).reshape(-1, len(period))
    found = [np.linalg.svd(Symbol(symbol_taps(part.weight, plans), [p.shifts for p in plans]).matrix(numerators, period), compute_uv=False).ravel() for part in conv.parts]
    values = np.sort(np.concatenate(found * (conv.groups // len(conv.parts))))[::-1]
    padded = np.zeros(min(conv.input_size, conv.output_size))
    padded[: len(values)] = values[: len(padded)]
    return padded
