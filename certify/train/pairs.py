"""`pair_constants`: what training believes about the Lipschitz constants of logit differences."""

from __future__ import annotations

import math
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from ..core.errors import InputError, UnsupportedLayerError
from ..norms.estimate import LINEAR_LAYERS, weight_of
from .penalties import SpectralNorm
from .penalties.base import input_shapes, parts_of, unwrapped
from .slopes import slopes_of

Parts = list[tuple[str, nn.Module]]
_ONE = (
    nn.Flatten, nn.Unflatten, nn.Identity, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d,
    nn.modules.dropout._DropoutNd,
)  # fmt: skip
_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_GLOBAL_POOLS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)


def pair_constants(model: nn.Module, input_shape: Sequence[int], states: MutableMapping[str, Any] | SpectralNorm) -> Tensor:
    """constants (C, C): |z_i(x) - z_j(x)| moves by at most constants[i, j] |dx|_2, as far as the estimates can be believed; symmetric, zero diagonal.

    constants[i, j] = (product of the constants of all layers before the last) * |w_i - w_j|, w the rows of the last layer. A layer counts with
        lipschitz_estimate(sigma)   where it has that method (the blocks of `certify.train.blocks`)
        lipschitz                   of its parametrization (`certify.train.parametrizations`), or of itself (`certify.train.activations`)
        sigma                       linear layers and convolutions: the warm-started estimate of `SpectralNorm`, the norm of the true map
        max |slope|                 activations of torch; max |gain| / sqrt(running variance + eps) for BatchNorm, the running ones in training too
        sqrt(most windows of a pixel) for max pools, sqrt of that by the window's size for average pools; where windows at the border average fewer pixels
            (ceil_mode, count_include_pad=False) sqrt(largest column sum) of the matrix of each axis
    and reshapes, paddings with constants and dropout with 1. Gradients flow through sigma, the gains and the last layer.

    Args:
        model: nn.Sequential, nested ones too, that ends in a linear layer.
        input_shape: of one sample, without the batch axis.
        states: what is remembered from call to call: an empty dict at first, or the SpectralNorm whose memory to use.

    Guarantee: none, an estimate for training. `certify.lipschitz` and `certify.radius` prove.

    Raises:
        UnsupportedLayerError: a layer without a constant, named. InputError: an input shape that does not fit, no linear layer at the end.

    Cost: one warm-started step per linear layer without a constant of its own.

    Source: Leino, Wang, Fredrikson: Globally-robust neural networks, ICML (2021), for the rows of the last layer.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    >>> for layer, rows in ((model[0], [[3.0, 0.0], [0.0, 1.0]]), (model[2], [[1.0, 0.0], [0.0, 0.0]])):
    ...     _ = layer.weight.data.copy_(torch.tensor(rows))
    >>> [[round(x, 4) for x in row] for row in pair_constants(model, (2,), {}).tolist()]
    [[0.0, 3.0], [3.0, 0.0]]
    """
    norms = states if isinstance(states, SpectralNorm) else states.setdefault("norms", SpectralNorm())
    model = unwrapped(model)
    *trunk, (where, head) = list(parts_of(model)) or [("the model", model)]
    if not isinstance(head, nn.Linear):
        found = f"{where} ({type(head).__name__})"
        raise InputError("the constants of logit differences need a linear layer at the end", found=found, expected="nn.Sequential of layers, the last one nn.Linear")
    rows = weight_of(head)
    product = torch.ones((), dtype=rows.dtype, device=rows.device)
    for constant in _constants(model, trunk, input_shape, norms):
        product = product * constant
    return product * torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")  # by products of rows, equal ones would be apart


def _constants(model: nn.Module, trunk: Parts, input_shape: Sequence[int], norms: SpectralNorm) -> Iterator[Tensor | float]:
    """The constant of each layer of the trunk."""
    followed = [part for _, part in trunk if isinstance(part, LINEAR_LAYERS) and not _is_block(part) and _promised(part) is None]
    if followed or any(_is_block(part) for _, part in trunk):
        norms.learn(model, input_shape)
    unique = list(dict.fromkeys(followed))
    sigmas = dict(zip(unique, norms.sigmas(unique)))
    pools = [part for _, part in trunk if isinstance(part, _GLOBAL_POOLS) or _uneven(part)]
    sizes = input_shapes(model, input_shape, _GLOBAL_POOLS + _AVERAGE_POOLS) if pools else {}
    for path, part in trunk:
        promised = _promised(part)
        if _is_block(part):
            yield part.lipschitz_estimate(norms.sigma)  # type: ignore[operator]
        elif promised is not None:
            yield promised
        elif part in sigmas:
            yield sigmas[part]
        else:
            yield _of_torch(f"{path} ({type(part).__name__})", part, sizes.get(part, ()))


def _is_block(part: nn.Module) -> bool:
    return callable(getattr(part, "lipschitz_estimate", None))


def _promised(part: nn.Module) -> float | None:
    """The attribute `lipschitz` of the last parametrization of the weight, or of the layer itself."""
    source = part.parametrizations["weight"][-1] if parametrize.is_parametrized(part, "weight") else part  # type: ignore[index, union-attr]
    value = getattr(source, "lipschitz", None)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _of_torch(where: str, part: nn.Module, shape: Sequence[int]) -> Tensor | float:
    """The constant of a layer of torch that is neither linear with weights nor parametrized."""
    slopes = slopes_of(part)
    if slopes is not None:
        return slopes.lipschitz()
    if isinstance(part, _ONE):
        return 1.0
    if isinstance(part, nn.PReLU):
        return part.weight.abs().amax().clamp_min(1.0)
    if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_var is not None:
        scale = (part.running_var + part.eps).rsqrt()
        return (scale if part.weight is None else part.weight.abs() * scale).amax()
    dims = next((1 + k for k, kinds in enumerate(zip(_MAX_POOLS, _AVERAGE_POOLS, _GLOBAL_POOLS)) if isinstance(part, kinds)), 0)
    if isinstance(part, _MAX_POOLS + _AVERAGE_POOLS):
        kernel, stride, dilation = (_per_axis(n, dims) for n in (part.kernel_size, part.stride, getattr(part, "dilation", 1)))
        overlap = math.prod(-(-k // (s // math.gcd(s, d))) for k, s, d in zip(kernel, stride, dilation))
        if isinstance(part, _MAX_POOLS):
            return math.sqrt(overlap)
        if _uneven(part):
            return _averaging(part, shape[1:], kernel, stride)
        size = math.prod(kernel)
        return math.sqrt(overlap * size) / abs(getattr(part, "divisor_override", None) or size)
    if isinstance(part, _GLOBAL_POOLS):
        outputs = [n if o is None else o for o, n in zip(_per_axis(part.output_size, dims), shape[1:])]
        if all(n % o == 0 for o, n in zip(outputs, shape[1:])):
            return math.sqrt(math.prod(outputs) / math.prod(shape[1:]))
    hint = "give it a method lipschitz_estimate(sigma) or an attribute `lipschitz`, or use a layer of certify.train.blocks"
    raise UnsupportedLayerError("there is no training estimate for this layer", where=where, expected="a layer named in certify.train.pairs.pair_constants", hint=hint)


def _uneven(part: nn.Module) -> bool:
    """An average pool whose windows at the border hold fewer pixels and divide by their number."""
    return isinstance(part, _AVERAGE_POOLS) and (part.ceil_mode or not part.count_include_pad) and getattr(part, "divisor_override", None) is None


def _averaging(part: Any, sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> float:
    """The matrix is the Kronecker product of one per axis, with row sums of at most 1, so ||A||^2 <= product of their largest column sums."""
    square = 1.0
    for n, k, s, p in zip(sizes, kernel, stride, _per_axis(part.padding, len(kernel))):
        pixels = torch.eye(n, dtype=torch.float64)[:, None]
        square *= float(F.avg_pool1d(pixels, k, s, p, part.ceil_mode, part.count_include_pad).sum(dim=2).max())
    return math.sqrt(square)


def _per_axis(value: Any, dims: int) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,) * dims
