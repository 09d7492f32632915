"""SpectralNorm: half the sum of squared spectral norms of all linear and convolution layers, as a training penalty."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...core.errors import InputError
from ...norms.estimate import spectral_estimate
from ...norms.symbol_estimate import SymbolState, symbol_estimates
from ...norms.taps import conv_axes, supremum_applies
from ..settings import whole
from .base import LayerMemory, Penalty, input_shapes, layers_of, nominal_shape, total
from .matrix import matrix_norm, reshaped

_ENGINES = ("auto", "layer", "symbol")
_REFRESH = 100  # calls after which the symbol's peaks are searched anew: another peak may have become the highest
_WIDE = 4  # periods of at least this many shifts per axis: sup ||F|| is then within about 1 % of the norm


class SpectralNorm(Penalty):
    """penalty(module) = weight / 2 * sum over layers of sigma^2, sigma an estimate of the layer's spectral norm.

    Layers: nn.Linear, nn.Conv1d-3d, nn.ConvTranspose1d-3d inside the module, or the module itself. The gradient is exact at the singular
    pair found so far; vectors are kept from call to call (warm start), one per layer, and forgotten with the layer.

    Args:
        weight: factor of the penalty.
        norm: "operator": sigma of the true map, with its stride, padding and input size. "reshaped": sigma of the kernel as a matrix
            (out, everything else), as in Yoshida & Miyato (2017); it is not the norm of the convolution.
        steps: power steps per call (the first call for a layer makes more).
        engine: how the operator norm of a convolution is estimated. "layer": power steps on the layer itself, at its input size. "symbol": the supremum
            sup_w ||F(w)|| of its symbol, which bounds the layer at every input size and is above the norm by O(1/n^2) (3x3: 0.1 % at 28 pixels, 0.5 % at 14, several
            percent below 8; low-pass kernels about five times that), and costs a fraction; all layers are followed at once. "auto": "symbol" where the padding
            allows it and every axis is at least 4 times as long as the kernel, "layer" elsewhere (small maps, reflect and replicate padding).

    The operator norm of a convolution depends on its input size. Three ways to say it:
        penalty(model, input_shape=(3, 32, 32))   once; one forward pass of zeros records every layer's input shape, which later calls reuse
        penalty.record(model, input_shape)        the same, without computing the penalty
        penalty(layer)                            nothing recorded: a nominal input of 32 pixels per axis (or the kernel's span, if larger)

    Guarantee: none, an estimate for training. Certify the result with `certify.operator_norm` or `certify.lipschitz`; `certify.norms.differentiable.norm_bound` is a
    certified value with a gradient.

    Copies and pickles keep the settings and what is known about each layer: a deep copy goes on with the same layers and with their copies, a
    pickle of (model, penalty) with the unpickled model. torch.compile runs it with graph breaks (dictionaries keyed by modules).

    Raises:
        InputError: an unknown norm or engine. HypothesisError: engine="symbol" for padding that copies pixels.

    Source: Yoshida & Miyato, Spectral norm regularization, arXiv:1705.10941; layer_norms.md section 6.

    >>> layer = nn.Linear(2, 1)
    >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> round(SpectralNorm()(layer).item(), 4)
    12.5
    """

    def __init__(self, weight: float = 1.0, norm: str = "operator", steps: int = 2, engine: str = "auto"):
        if norm not in ("operator", "reshaped"):
            raise InputError("unknown kind of spectral norm", where="argument norm", found=repr(norm), expected="'operator' or 'reshaped'")
        if engine not in _ENGINES:
            raise InputError("unknown engine", where="argument engine", found=repr(engine), expected=", ".join(_ENGINES))
        super().__init__(weight)
        self.norm, self.steps, self.engine = norm, whole("steps", steps, least=0), engine
        self._shapes: LayerMemory[tuple[int, ...]] = LayerMemory()
        self._vectors: LayerMemory[Tensor] = LayerMemory()
        self._peaks: LayerMemory[tuple[SymbolState, int]] = LayerMemory()

    def __repr__(self) -> str:
        engine = "" if self.engine == "auto" else f", engine={self.engine!r}"
        return f"SpectralNorm(weight={self.weight}, norm={self.norm!r}, steps={self.steps}{engine})"

    def __call__(self, module: nn.Module, input_shape: Sequence[int] | None = None) -> Tensor:
        """The penalty, a scalar tensor with a gradient; 0 for a module without such layers."""
        layers = layers_of(module)
        if input_shape is not None and self.norm == "operator":
            self.learn(module, input_shape)
        return total(self.weight / 2, (sigma.square() for sigma in self.sigmas(layers)))

    def learn(self, module: nn.Module, input_shape: Sequence[int]) -> None:
        """`record`, unless every layer's input shape is known already."""
        if any(layer not in self._shapes for layer in layers_of(module)):
            self.record(module, input_shape)

    def record(self, module: nn.Module, input_shape: Sequence[int]) -> None:
        """Note the input shape of every layer during one forward pass of zeros, without gradient and in eval mode; the module is left as it was."""
        self._shapes.update(input_shapes(module, input_shape))

    def sigma(self, layer: nn.Module) -> Tensor:
        """The estimate for one layer, with its gradient."""
        return self.sigmas([layer])[0]

    def sigmas(self, layers: Sequence[nn.Module]) -> list[Tensor]:
        """The estimates for several layers, those of the symbol engine all at once."""
        shapes = [self._shapes.get(layer) or nominal_shape(layer) for layer in layers]
        chosen = [k for k, layer in enumerate(layers) if self._by_symbol(layer, shapes[k])]
        known = [self._peaks.get(layers[k], (None, 0)) for k in chosen]
        found, states = symbol_estimates([layers[k] for k in chosen], [shapes[k] for k in chosen], [s if age % _REFRESH else None for s, age in known], self.steps)
        for k, state, (_, age) in zip(chosen, states, known):
            self._peaks[layers[k]] = state, age + 1
        by_symbol = dict(zip(chosen, found))
        return [by_symbol[k] if k in by_symbol else self._by_steps(layer, shapes[k]) for k, layer in enumerate(layers)]

    def _by_symbol(self, layer: nn.Module, shape: Sequence[int]) -> bool:
        if self.norm == "reshaped" or self.engine == "layer" or isinstance(layer, nn.Linear):
            return False
        return self.engine == "symbol" or supremum_applies(conv_axes(layer, shape), _WIDE)

    def _by_steps(self, layer: nn.Module, shape: Sequence[int]) -> Tensor:
        start = self._vectors.get(layer)
        if self.norm == "reshaped" or isinstance(layer, nn.Linear):  # the norm of a matrix is that of the layer, whatever axes stand in front
            value, vector = matrix_norm(reshaped(layer), start, self.steps)
        else:
            if start is not None and start.shape[1:] != torch.Size(shape):
                start = None
            value, vector = spectral_estimate(layer, shape, start, self.steps + (10 if start is None else 0))
            if start is None:
                start = torch.randn(vector.shape, generator=torch.Generator().manual_seed(0)).to(vector)
            vector = torch.where((vector != 0).any(), vector, start.to(vector))  # zero weights now, perhaps not later
        self._vectors[layer] = vector
        return value
