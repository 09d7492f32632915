"""FantasticFour: the sum over layers of the bound on a convolution's norm by the smallest of its unfoldings, as a training penalty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ...linear.axis import Axis
from ...norms.estimate import weight_of
from ...norms.polyphase import AxisPlan, circular_plan, embedding_plan
from ...norms.taps import Taps, conv_axes, symbol_plans
from ..settings import whole
from .base import LayerMemory, Penalty, input_shapes, layers_of, nominal_shape, total
from .matrix import matrix_norm
from .unfoldings import Tables, largest_unfolding, unfolding_tables


class FantasticFour(Penalty):
    """penalty(module) = weight * sum over layers of b, b = sqrt(h w) min(||R||, ||S||, ||T||, ||U||) >= the norm of the layer once converged.

    R (out h, in w), S (out w, in h), T (out, in h w) and U (out h w, in) are the kernel as matrices. In D dimensions there are 2^D of them and sqrt(prod J)
    in front; with a stride J_i = ceil(k_i / s_i) shifts of the polyphase kernel (in s_1 .. s_D, J), with which a patch embedding (s = k) is exact. With
    groups: the largest group. nn.Linear: its spectral norm. Transposed convolutions: that of the convolution whose adjoint they are. Each matrix norm is
    followed by warm-started power steps, all of them at once; the gradient is that of the active matrix at its singular pair, <gradient, W> = b.

    The theorem holds at every input size for zero padding of any amount, and for circular padding with s | n and n / s outputs ("same" where s = 1). Other
    padding copies pixels and makes it false (0.35 of the truth for replicate), so there b is the bound of another map times what the padding adds:
        reflect, replicate    sqrt(copies of the most frequent pixel), without the padding
        other circular        sqrt(the most outputs that repeat a row of the stride-1 circular map), of that map
    which depend on the input size: say it as for `SpectralNorm`, `penalty(model, input_shape=(3, 32, 32))` once; 32 pixels per axis where nobody has.

    Args:
        weight: factor of the penalty.
        steps: power steps per call, each one pass over the weights and one over their transpose (the first call for a layer makes more).

    Guarantee: none, an estimate for training: power steps approach each matrix norm from below. `certify.operator_norm(method="fantastic_four")` is the
    certified one (there the matrix with the smallest maximum over the groups counts; here the largest minimum, which is at most that).

    Raises:
        InputError: settings, an input shape that does not fit.

    Cost: 2 steps + 1 products of each kernel with prod(J_i + 1) vectors; published code makes them with one vector each, from four copies of the kernel.

    Source: Singla & Feizi, Fantastic Four, ICLR 2021, Theorem 1 (the sum, not squared, as in the authors' code); with stride and copies: layer_norms.md 2.5 and Proposition 0.

    >>> layer = nn.Conv2d(1, 1, 3, padding=1)
    >>> _ = layer.weight.data.fill_(1 / 9)
    >>> round(FantasticFour()(layer).item(), 4)
    1.0
    """

    def __init__(self, weight: float = 1.0, steps: int = 1):
        super().__init__(weight)
        self.steps = whole("steps", steps)
        self._shapes: LayerMemory[tuple[int, ...]] = LayerMemory()
        self._vectors: LayerMemory[Tensor] = LayerMemory()
        self._tables: LayerMemory[tuple[tuple[Any, ...], Tables, float]] = LayerMemory()

    def __call__(self, module: nn.Module, input_shape: Sequence[int] | None = None) -> Tensor:
        """The penalty, a scalar tensor with a gradient; 0 for a module without such layers."""
        layers = layers_of(module)
        if input_shape is not None:
            self.learn(module, input_shape)
        return total(self.weight, map(self.bound, layers))

    def learn(self, module: nn.Module, input_shape: Sequence[int]) -> None:
        """`record`, unless every layer's input shape is known already."""
        if any(layer not in self._shapes for layer in layers_of(module)):
            self.record(module, input_shape)

    def record(self, module: nn.Module, input_shape: Sequence[int]) -> None:
        """Note the input shape of every layer during one forward pass of zeros; the module is left as it was."""
        self._shapes.update(input_shapes(module, input_shape))

    def bound(self, layer: nn.Module) -> Tensor:
        """b of one layer, with its gradient."""
        weight = weight_of(layer)
        if isinstance(layer, nn.Linear):
            value, self._vectors[layer] = matrix_norm(weight, self._vectors.get(layer), self.steps)
            return value
        shape = self._shapes.get(layer) or nominal_shape(layer)
        geometry = (getattr(layer, name) for name in ("stride", "padding", "dilation", "groups", "padding_mode", "output_padding"))
        key = (*geometry, shape, tuple(weight.shape), weight.dtype, weight.device)
        old, tables, factor = self._tables.get(layer, (None, None, 1.0))
        if tables is None or old != key:
            tables, factor = _tables(layer, shape, weight)
            self._tables[layer] = key, tables, factor
        groups = int(layer.groups)  # type: ignore[arg-type]
        kernel = weight.reshape(groups, weight.shape[0] // groups, -1)
        value, self._vectors[layer] = largest_unfolding(kernel, tables, self._vectors.get(layer), self.steps)
        return factor * value if factor != 1.0 else value


def _tables(layer: nn.Module, shape: Sequence[int], weight: Tensor) -> tuple[Tables, float]:
    """(where the unfoldings keep the kernel's entries, what the padding multiplies the bound with)."""
    axes = conv_axes(layer, shape)
    plans, reason = symbol_plans(axes)
    factor = 1.0
    if reason:
        pairs = [_copied(axis) for axis in axes]
        plans, factor = [plan for plan, _ in pairs], math.sqrt(math.prod(count for _, count in pairs))
    return unfolding_tables(Taps.of(axes, plans), weight), factor


def _copied(axis: Axis) -> tuple[AxisPlan | None, int]:
    """The plan of another map of this axis for which the theorem holds, and the square of what the padding adds to its norm."""
    if axis.mode == "circular":
        return circular_plan(axis, stride=1), -(-axis.outputs // (axis.inputs // math.gcd(axis.inputs, axis.stride)))
    whole_axis = Axis(axis.inputs + axis.low + axis.high, axis.outputs, axis.taps, axis.stride, axis.dilation)
    return embedding_plan(whole_axis), axis.copies
