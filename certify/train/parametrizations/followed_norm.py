"""The norm of a layer as a function of its weight, followed during training: an estimate, or a certified bound. Modules whose state is in the state_dict."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...core.shapes import require_shape
from ...norms.differentiable import drift_bound, norm_bound, round_up
from ...norms.estimate import spectral_estimate
from ...norms.symbol_estimate import SymbolState, symbol_estimate
from ..penalties.spectral_norm import nominal_shape
from .base import Geometry, require_symbol

_COLD, _WORK = (20, 100), 1e9  # power steps of the first estimate: as many as make so many multiplications
_STIR = 0.1  # part of the second vector that is moved by one entry in every update
_REFRESH = 100  # updates after which the peaks of a symbol are searched anew: another one may have become the highest


class LinearNorm(nn.Module):
    """norm(weight) = <D, weight>, D the derivative of the layer's norm at the last update: linear in the weight, so that evaluation changes nothing.

    The norm of a layer is linear in its weight for fixed singular vectors. D is a buffer; it is updated in training mode while gradients are recorded, before the
    value is taken; without gradients or in eval mode the function of the weight stays the same.
    """

    direction: Tensor

    def __init__(self, weight: Tensor):
        super().__init__()
        self.register_buffer("direction", torch.zeros_like(weight))

    def forward(self, weight: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled() and weight.requires_grad:
            self.update(weight.detach())
        return self.value(weight)

    def value(self, weight: Tensor) -> Tensor:
        return (self.direction * weight).sum()

    def update(self, weight: Tensor) -> None:
        raise NotImplementedError


class EstimatedNorm(LinearNorm):
    """At a declared input size: power steps on the layer itself. Without one: the supremum of its symbol, which bounds the layer at every input size."""

    def __init__(self, geometry: Geometry, weight: Tensor, input_shape: Sequence[int] | None, steps: int):
        super().__init__(weight)
        self.geometry, self.steps = geometry, steps
        self.by_symbol = input_shape is None and geometry.convolution
        if self.by_symbol:
            require_symbol(geometry, None)
        self.shape = nominal_shape(geometry.layer) if input_shape is None else require_shape(input_shape)
        self.updates: Tensor
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._search(weight.detach(), None, self._cold(weight))

    def _cold(self, weight: Tensor) -> int:
        """Steps of the first estimate; a symbol is searched by its own rules first."""
        if self.by_symbol:
            return _COLD[0]
        sites = math.prod(self.shape[1:]) if self.geometry.convolution else 1
        return int(min(max(_WORK / (6 * weight.numel() * sites), _COLD[0]), _COLD[1]))

    def update(self, weight: Tensor) -> None:
        state = tuple(self.get_buffer(f"state{k}") for k in range(5 if self.by_symbol else 1))
        dead = self._dead(weight, state)
        afresh = self.by_symbol and int(self.updates) % _REFRESH == _REFRESH - 1
        self._search(weight, None if afresh or dead else state, self._cold(weight) if dead else self.steps)
        self.updates = self.updates + 1

    def _dead(self, weight: Tensor, state: tuple) -> bool:
        """Whether a weight (of one group: those have their own peaks) is no longer zero: it left zero vectors, which would stay zero whatever becomes of it."""
        groups = self.geometry.groups if self.by_symbol else 1
        vectors = state[1 if self.by_symbol else 0].reshape(groups, -1)
        return bool((weight.reshape(groups, -1).any(dim=1) & ~vectors.any(dim=1)).any())

    def _search(self, weight: Tensor, state: tuple | None, steps: int) -> None:
        leaf = nn.Parameter(weight.clone())
        layer = self.geometry.holding(leaf)
        after: tuple[Tensor, ...]
        with torch.enable_grad():
            if self.by_symbol:
                sigma, found = symbol_estimate(layer, self.shape, SymbolState(*state) if state is not None else None, steps)
                after = found.tensors()
            else:
                sigma, vectors = spectral_estimate(layer, self.shape, _pair(state[0]) if state is not None else None, steps, probes=2)
                after = (vectors,)
            (direction,) = torch.autograd.grad(sigma, leaf)
        self.direction = direction
        for k, part in enumerate(after):
            self.register_buffer(f"state{k}", part.detach())


class CertifiedNorm(LinearNorm):
    """Certified: norm(weight) >= ||A(weight)||, by a certificate at a reference weight plus what the change since then can add (`norms.drift_bound`).

    A new certificate is made in training as soon as the change adds more than the part `drift`. In eval mode nothing is renewed: the value stays a bound.
    """

    reference: Tensor
    upper: Tensor

    def __init__(self, geometry: Geometry, weight: Tensor, input_shape: Sequence[int] | None, drift: float):
        super().__init__(weight)
        self.geometry, self.drift, self.method = geometry, drift, "auto"
        self.shape = nominal_shape(geometry.layer) if input_shape is None else require_shape(input_shape)
        if input_shape is None and geometry.convolution:
            require_symbol(geometry, None)
            self.method = "any_size"
            if geometry.layer.padding_mode == "circular":  # the supremum of the symbol is the same, and the method asks for zeros
                self.geometry = Geometry.of(geometry.layer)
                self.geometry.layer.padding_mode = "zeros"
        self.register_buffer("reference", torch.zeros_like(weight))
        self.register_buffer("upper", torch.zeros((), dtype=weight.dtype, device=weight.device))
        self._certify(weight.detach())

    def update(self, weight: Tensor) -> None:
        if not self._bound(weight) <= float(self.upper) * (1 + self.drift):
            self._certify(weight)

    def value(self, weight: Tensor) -> Tensor:
        linear = super().value(weight)
        bound = round_up(self._bound(weight.detach()), weight)
        return linear + (bound - linear).detach() if linear.requires_grad else bound

    def _bound(self, weight: Tensor) -> float:
        upper = float(self.upper)
        if torch.equal(weight, self.reference):
            return upper
        return drift_bound(upper, self.geometry.layer, self.shape, self.reference, weight)

    def _certify(self, weight: Tensor) -> None:
        leaf = nn.Parameter(weight.clone())
        with torch.enable_grad():
            value, _ = norm_bound(self.geometry.holding(leaf), self.shape, method=self.method)
            (self.direction,) = torch.autograd.grad(value, leaf)
        self.reference, self.upper = weight.clone(), value.detach()


def _pair(vectors: Tensor) -> Tensor:
    """Two vectors, the second made orthogonal to the first and stirred: training raises other singular values, of whose vectors a converged one has nothing left."""
    first, second = vectors.flatten(1)
    second = second + _STIR * second.roll(1)
    second = second - (first @ second) * first
    return torch.stack([first, second]).reshape(vectors.shape)


def divisor(norm: Tensor) -> Tensor:
    """norm, and 1 where it is zero: x / divisor(norm) keeps a zero layer zero."""
    return torch.where(norm > 0, norm, torch.ones_like(norm))
