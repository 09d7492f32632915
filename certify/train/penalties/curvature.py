"""Curvature: a bound on the second derivatives of the margins of a smooth fully connected network, as a training penalty."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...core.activation import Activation
from ...core.errors import InputError, UnsupportedLayerError
from ...norms.estimate import weight_of
from ..settings import require_labels, whole
from ..slopes import slopes_of, smooth_names
from .base import LayerMemory, Penalty, parts_of, require_module, unwrapped
from .matrix import matrix_norm

_PLAIN = (nn.Flatten, nn.Identity, nn.Dropout)


class Curvature(Penalty):
    """penalty(model) = weight * mean over pairs of classes of K_ij, where ||Hess(z_i - z_j)(x)||_2 <= K_ij at every x once the norms have converged.

    z = W_L phi(W_L-1 .. phi(W_1 x)), |phi'| <= g, |phi''| <= h. With r_1 = ||W_1||, r_I = g ||W_I|| r_I-1 (how fast the I-th pre-activation can move), and
    S_L-1 = |row_i - row_j| of W_L, S_I-1 = g S_I |W_I| (absolute values by entry: how fast the margin can move with each neuron of layer I),
        K_ij = sum over hidden layers I of h r_I^2 max_n S_I,n.
    A margin m0 with gradient norm q and curvature K is certified within (sqrt(q^2 + 2 K m0) - q) / K. Norms are followed by warm-started power steps; the gradient
    runs through all of them, the entries and the active neurons. A network with one output: K of that output.

    Args:
        weight: factor gamma of the penalty.
        steps: power steps per call and layer (the first call makes more).

    Calls:
        penalty(model)                      the mean over all pairs i < j
        penalty(model, labels, targets)     the mean over samples of K[label, target], as in curvature-regularised training (target: the runner-up, or the attack's)
        penalty.constants(model)            the matrix (C, C) of all K_ij, with its gradient

    Guarantee: none, an estimate for training: power steps approach each norm from below.

    Hypotheses: nn.Sequential (nested ones too) of nn.Linear, nn.Flatten and twice differentiable activations: Softplus, Sigmoid, Tanh, GELU, SiLU, Mish, ELU(1),
        Softsign, LogSigmoid, Tanhshrink. nn.Dropout counts as what it is in evaluation mode.

    Raises:
        UnsupportedLayerError: any other layer, named; an activation with a kink (ReLU) has no curvature. InputError: settings, labels without targets.

    Cost: a product of (pairs, width) with |W| per layer: C^2 / 2 rows for all pairs, one per sample for labels and targets.

    Source: Singla & Feizi, Second-order provable defenses against adversarial attacks, ICML 2020; network_lipschitz.md, section 9.

    >>> layers = nn.Linear(1, 1), nn.Sigmoid(), nn.Linear(1, 2)
    >>> for layer, rows in ((layers[0], [[2.0]]), (layers[2], [[3.0], [-1.0]])):
    ...     _ = layer.weight.data.copy_(torch.tensor(rows))
    >>> round(Curvature()(nn.Sequential(*layers)).item(), 4)  # 2^2 * 0.0962 * (3 + 1)
    1.5396
    """

    def __init__(self, weight: float = 1.0, steps: int = 1):
        super().__init__(weight)
        self.steps = whole("steps", steps)
        self._vectors: LayerMemory[Tensor] = LayerMemory()

    def __call__(self, module: nn.Module, labels: Tensor | None = None, targets: Tensor | None = None) -> Tensor:
        """The penalty, a scalar tensor with a gradient; 0 for a network without a hidden layer."""
        chain, classes = _chain(module)
        if (labels is None) != (targets is None):
            raise InputError("a margin has two ends", where="arguments labels and targets", found="one of them", expected="both or none")
        if all(link.slopes is None for link in chain):
            return torch.zeros(())
        if labels is None or targets is None:
            first, second = torch.triu_indices(classes, classes, 1)
        else:
            first, second = require_labels(labels, classes), require_labels(targets, classes, count=len(labels), name="targets")
        return self.weight * self._bounds(chain, classes, first, second).mean()

    def constants(self, module: nn.Module) -> Tensor:
        """K (C, C), symmetric with a zero diagonal, with its gradient; (1, 1) with K of the output itself for one output."""
        chain, classes = _chain(module)
        first, second = torch.triu_indices(classes, classes, 1)
        found = self._bounds(chain, classes, first, second)
        if classes == 1:
            return found.reshape(1, 1)
        half = found.new_zeros(classes, classes).index_put((first.to(found.device), second.to(found.device)), found)
        return half + half.T

    def _bounds(self, chain: list[_Link], classes: int, first: Tensor, second: Tensor) -> Tensor:
        """K for each pair (first, second) of classes; for one output K of it, (1,)."""
        like = next(link.weight for link in chain if link.weight is not None)
        reach, reaches = torch.ones((), dtype=like.dtype, device=like.device), []
        for link in chain:
            reaches.append(reach)
            reach = reach * (self._norm(link.layer, link.weight) if link.weight is not None else link.slope)
        eye = torch.eye(classes, dtype=like.dtype, device=like.device)
        effect = eye if classes == 1 else eye[first.to(like.device)] - eye[second.to(like.device)]
        bound, signed = effect.new_zeros(len(effect)), True
        for link, reach in zip(reversed(chain), reversed(reaches)):
            if link.weight is not None:
                effect = effect @ (link.weight if signed else link.weight.abs())  # before the first activation from above, products are exact
                continue
            effect, signed = effect.abs() if signed else effect, False
            bound = bound + link.bend * reach.square() * effect.amax(dim=1)
            effect = link.slope * effect
        return bound

    def _norm(self, layer: nn.Module, weight: Tensor) -> Tensor:
        value, self._vectors[layer] = matrix_norm(weight, self._vectors.get(layer), self.steps)
        return value


class _Link(NamedTuple):
    """A linear layer (weight) or an activation (slopes), in the order of the forward pass."""

    layer: nn.Module
    weight: Tensor | None
    slopes: Activation | None

    @property
    def slope(self) -> float:
        return self.slopes.lipschitz() if self.slopes is not None else 0.0

    @property
    def bend(self) -> float:
        ends = self.slopes.curvature_range() if self.slopes is not None else None
        return max(abs(end) for end in ends) if ends is not None else 0.0


def _chain(module: nn.Module) -> tuple[list[_Link], int]:
    """The links of a fully connected network and the number of its outputs."""
    links = [link for path, part in parts_of(unwrapped(require_module(module))) if (link := _link(path, part)) is not None]
    widths = [len(link.weight) for link in links if link.weight is not None]
    if links and not widths:
        raise UnsupportedLayerError("there is no linear layer, hence no curvature of the network", where=type(module).__name__, expected="nn.Linear and activations")
    return links, widths[-1] if widths else 0


def _link(path: str, part: nn.Module) -> _Link | None:
    where = f"{path} ({type(part).__name__})"
    if isinstance(part, nn.Linear):
        return _Link(part, weight_of(part), None)
    if isinstance(part, _PLAIN):
        return None
    slopes = slopes_of(part)
    if slopes is None or slopes.curvature_range() is None:
        hint = "an activation with a kink (ReLU, MaxMin) has no second derivative: use nn.Softplus" if not list(part.children()) else "nn.Sequential, with its layers in order"
        expected = f"nn.Sequential of nn.Linear, nn.Flatten, {smooth_names()}"
        raise UnsupportedLayerError("no curvature is known for this layer", where=where, found=repr(part)[:100], expected=expected, hint=hint)
    return _Link(part, None, slopes)
