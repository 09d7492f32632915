"""SpectralNorm: half the sum of squared spectral norms of all linear and convolution layers, as a training penalty."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.errors import InputError
from ...norms.estimate import LINEAR_LAYERS, power_estimate, spectral_estimate, weight_of

_NOMINAL = 32


class SpectralNorm:
    """penalty(module) = weight / 2 * sum over layers of sigma^2, sigma an estimate of the layer's spectral norm.

    Layers: nn.Linear, nn.Conv1d-3d, nn.ConvTranspose1d-3d inside the module, or the module itself. The gradient is exact at the singular
    pair found so far; vectors are kept from call to call (warm start), one per layer, and forgotten with the layer.

    Args:
        weight: factor of the penalty.
        norm: "operator": sigma of the true map, with its stride, padding and input size. "reshaped": sigma of the kernel as a matrix
            (out, everything else), as in Yoshida & Miyato (2017); it is not the norm of the convolution.
        steps: power steps per call (the first call for a layer makes 10 more).

    The operator norm of a convolution depends on its input size. Three ways to say it:
        penalty(model, input_shape=(3, 32, 32))   once; one forward pass of zeros records every layer's input shape, which later calls reuse
        penalty.record(model, input_shape)        the same, without computing the penalty
        penalty(layer)                            nothing recorded: a nominal input of 32 pixels per axis (or the kernel's span, if larger)

    Guarantee: none, an estimate for training. Certify the result with `certify.operator_norm` or `certify.lipschitz`.

    Source: Yoshida & Miyato, Spectral norm regularization, arXiv:1705.10941.

    >>> layer = nn.Linear(2, 1)
    >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> round(SpectralNorm()(layer).item(), 4)
    12.5
    """

    def __init__(self, weight: float = 1.0, norm: str = "operator", steps: int = 2):
        if norm not in ("operator", "reshaped"):
            raise InputError("unknown kind of spectral norm", where="argument norm", found=repr(norm), expected="'operator' or 'reshaped'")
        self.weight, self.norm, self.steps = float(weight), norm, int(steps)
        self._shapes: WeakKeyDictionary[nn.Module, tuple[int, ...]] = WeakKeyDictionary()
        self._vectors: WeakKeyDictionary[nn.Module, Tensor] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"SpectralNorm(weight={self.weight}, norm={self.norm!r}, steps={self.steps})"

    def __call__(self, module: nn.Module, input_shape: Sequence[int] | None = None) -> Tensor:
        """The penalty, a scalar tensor with a gradient; 0 for a module without such layers."""
        layers = [layer for layer in module.modules() if isinstance(layer, LINEAR_LAYERS)]
        if input_shape is not None and self.norm == "operator" and any(layer not in self._shapes for layer in layers):
            self.record(module, input_shape)
        terms = [self.sigma(layer).square() for layer in layers]
        return self.weight / 2 * torch.stack(terms).sum() if terms else torch.zeros(())

    def record(self, module: nn.Module, input_shape: Sequence[int]) -> None:
        """Note the input shape of every layer during one forward pass of zeros, without gradient and in eval mode; the module is left as it was."""
        modes = {part: part.training for part in module.modules()}
        hooks = [layer.register_forward_pre_hook(self._note) for layer in module.modules() if isinstance(layer, LINEAR_LAYERS)]
        like = next(module.parameters(), torch.zeros(()))
        try:
            module.eval()
            with torch.no_grad():
                module(torch.zeros((1, *input_shape), dtype=like.dtype, device=like.device))
        finally:
            for hook in hooks:
                hook.remove()
            for part, mode in modes.items():
                part.training = mode

    def _note(self, layer: nn.Module, inputs: tuple) -> None:
        self._shapes[layer] = tuple(inputs[0].shape[1:])

    def sigma(self, layer: nn.Module) -> Tensor:
        """The estimate for one layer, with its gradient."""
        start = self._vectors.get(layer)
        steps = self.steps + (10 if start is None else 0)
        if self.norm == "reshaped":
            value, vector = _matrix_estimate(layer, start, steps)
        else:
            shape = self._shapes.get(layer) or nominal_shape(layer)
            if start is not None and start.shape[1:] != torch.Size(shape):
                start = None
            value, vector = spectral_estimate(layer, shape, start, steps)
        self._vectors[layer] = vector
        return value


def nominal_shape(layer: nn.Module) -> tuple[int, ...]:
    """Input shape for a layer that nobody has shown an input: 32 pixels per axis, or as many as the kernel spans."""
    if isinstance(layer, nn.Linear):
        return (layer.in_features,)
    spans = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size)]  # type: ignore[arg-type]
    return (layer.in_channels, *(max(_NOMINAL, span) for span in spans))  # type: ignore[return-value]


def _matrix_estimate(layer: nn.Module, start: Tensor | None, steps: int) -> tuple[Tensor, Tensor]:
    weight = weight_of(layer)
    transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    matrix = (weight.transpose(0, 1) if transposed else weight).flatten(1)
    return power_estimate(F.linear, matrix, (matrix.shape[1],), start, steps)
