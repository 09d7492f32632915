"""A differentiable estimate of a layer's spectral norm for training: power steps with a warm start. An estimate, never a bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import InputError, UnsupportedLayerError

_TRANSPOSED = {nn.ConvTranspose1d: F.conv_transpose1d, nn.ConvTranspose2d: F.conv_transpose2d, nn.ConvTranspose3d: F.conv_transpose3d}
LinearPart = Callable[[Tensor, Tensor], Tensor]
LINEAR_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)


def spectral_estimate(layer: nn.Module, input_shape: Sequence[int], start: Tensor | None = None, steps: int = 2, probes: int = 1) -> tuple[Tensor, Tensor]:
    """(sigma, v): sigma = <u, A v> with unit u, v after power steps on A'A; v goes back in as `start` at the next training step.

    A is the layer without its bias, with its true stride, padding (all modes), dilation, groups and input size. sigma is at most ||A||_2 up to
    rounding and grows towards it; it is no bound in either direction for a proof (`certify.operator_norm` is). u and v are held fixed, so
    the gradient with respect to the weight W is that of the active singular pair and <gradient, W> = sigma.

    Args:
        layer: nn.Linear, nn.Conv1d-3d or nn.ConvTranspose1d-3d; parametrized ones too.
        input_shape: of one sample, without the batch axis.
        start: the v of an earlier call, (probes, *input_shape), any dtype and device; random when None.
        steps: power steps, each one application and one adjoint (through autograd, hence exactly adjoint).
        probes: vectors iterated together; the best one counts.

    Returns:
        sigma, a scalar tensor with a gradient; v, detached. A zero weight gives sigma = 0 with gradient 0; no eps anywhere, so tiny weights keep
        their scale.

    Raises:
        UnsupportedLayerError: another kind of layer. InputError: a start of another shape.

    Cost: 2 `steps` + 1 applications of the layer to `probes` inputs.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> sigma, v = spectral_estimate(layer, (2,))
    >>> round(sigma.item(), 5)
    5.0
    """
    return power_estimate(linear_part(layer), weight_of(layer), input_shape, start, steps, probes)


def power_estimate(apply: LinearPart, weight: Tensor, input_shape: Sequence[int], start: Tensor | None, steps: int, probes: int = 1) -> tuple[Tensor, Tensor]:
    """`spectral_estimate` for any function apply(x, weight) that is linear in both arguments."""
    shape = (probes, *(int(n) for n in input_shape))
    if start is None:
        generator = torch.Generator().manual_seed(0)
        v = torch.randn(shape, generator=generator, dtype=torch.float64).to(weight)
    elif start.shape[1:] != shape[1:]:
        raise InputError("the start vector has another shape", where="argument start", found=tuple(start.shape), expected=shape)
    else:
        v = start.detach().to(weight)
    fixed = weight.detach()
    v = _unit(v)
    for _ in range(steps):
        u = _unit(_value(apply, v, fixed))
        v = _unit(_adjoint(apply, v, u, fixed))
    value = _value(apply, v, fixed)
    best = int(value.flatten(1).norm(dim=1).argmax())
    u, chosen = _unit(value[best : best + 1]), v[best : best + 1]
    return (u * apply(chosen, weight)).sum(), v


def weight_of(layer: nn.Module) -> Tensor:
    """The layer's weight, refused while a lazy layer has none."""
    weight = layer.weight
    if not isinstance(weight, Tensor) or isinstance(weight, nn.parameter.UninitializedParameter):
        raise InputError("a layer has no weight yet", where=type(layer).__name__, hint="run the model once on an input first")
    return weight


def linear_part(layer: nn.Module) -> LinearPart:
    """(x, weight) -> the layer's output without its bias, as the layer itself computes it."""
    if isinstance(layer, nn.Linear):
        return F.linear
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return lambda x, weight: layer._conv_forward(x, weight, None)
    if isinstance(layer, tuple(_TRANSPOSED)):
        return lambda x, weight: _transposed(layer, x, weight)
    raise UnsupportedLayerError("there is no spectral estimate for this layer", where=type(layer).__name__, expected=", ".join(kind.__name__ for kind in LINEAR_LAYERS))


def _transposed(layer: Any, x: Tensor, weight: Tensor) -> Tensor:
    function = next(f for kind, f in _TRANSPOSED.items() if isinstance(layer, kind))
    return function(x, weight, None, layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)


def _value(apply: LinearPart, v: Tensor, weight: Tensor) -> Tensor:
    with torch.no_grad():
        return apply(v, weight)


def _adjoint(apply: LinearPart, v: Tensor, u: Tensor, weight: Tensor) -> Tensor:
    with torch.enable_grad():
        point = v.detach().requires_grad_()
        (back,) = torch.autograd.grad(apply(point, weight), point, u)
    return back


def _unit(x: Tensor) -> Tensor:
    """Each sample divided by its norm, by way of its largest entry (squares of 1e-30 vanish in float32); a zero sample stays zero."""
    flat = x.flatten(1)
    peak = flat.abs().amax(dim=1, keepdim=True)
    flat = flat / torch.where(peak > 0, peak, torch.ones_like(peak))
    size = flat.norm(dim=1, keepdim=True)
    return (flat / torch.where(size > 0, size, torch.ones_like(size))).reshape(x.shape)
