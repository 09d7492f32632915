"""The sort of pairs of channels with a fast gradient, for MaxMin and GroupSort(2).

Autograd's own route through chunk, max, min and cat spends nearly all its time on the way back: masks for ties, sums of padded slices. Here the way
back is what the mathematics says, the exchange of the two entries of every pair that was out of order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def sort_pairs(x: Tensor, layout: str) -> Tensor:
    """(max(a, b), min(a, b)) of the pairs of channels of x (n, channels, ...), channels even.

    Derivatives of every order, forward and backward, and vmap work. At a tie the derivative is that of (a, b) in order; where the difference of
    the two gradients of a pair overflows it is NaN.

    >>> sort_pairs(torch.tensor([[1.0, 5.0, 4.0, 2.0]]), "consecutive")
    tensor([[5., 1., 4., 2.]])
    """
    return _SortPairs.apply(x, layout)[0]  # type: ignore[no-untyped-call]


def pairs(x: Tensor, layout: str) -> tuple[Tensor, Tensor]:
    """The first and the second entries of the pairs, as views: channels i, i + c / 2 ("halves") or 2 i, 2 i + 1 ("consecutive")."""
    if layout == "consecutive":
        return x[:, 0::2], x[:, 1::2]
    first, second = x.chunk(2, 1)
    return first, second


def joined(first: Tensor, second: Tensor, x: Tensor, layout: str) -> Tensor:
    """The tensor of the shape of x with these pairs."""
    return torch.cat((first, second), 1) if layout == "halves" else torch.stack((first, second), 2).reshape(x.shape)


class _SortPairs(torch.autograd.Function):
    """(the sorted pairs, which pairs were in order before)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, layout: str) -> tuple[Tensor, Tensor]:
        a, b = pairs(x, layout)
        return joined(torch.maximum(a, b), torch.minimum(a, b), x, layout), a >= b

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        ctx.mark_non_differentiable(output[1])
        _remember(ctx, output[1], inputs[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple:
        return _exchanged(ctx, gradients[0]), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple:
        return _exchanged(ctx, tangents[0]), None


class _Exchange(torch.autograd.Function):
    """The two of a pair exchanged where `keep` is false: linear in x, its own inverse and its own transpose, so its own derivative both ways."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, keep: Tensor, layout: str) -> Tensor:
        a, b = pairs(x, layout)
        weight = keep.to(x.dtype)  # on a CPU torch.where takes three times as long; with a weight of 0 or 1 lerp gives one of its ends exactly
        return joined(torch.lerp(b, a, weight), torch.lerp(a, b, weight), x, layout)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _remember(ctx, inputs[1], inputs[2])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple:
        return _exchanged(ctx, gradients[0]), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _exchanged(ctx, tangents[0])


def _remember(ctx: Any, keep: Tensor, layout: str) -> None:
    ctx.save_for_backward(keep)
    ctx.save_for_forward(keep)
    ctx.layout = layout


def _exchanged(ctx: Any, x: Tensor) -> Tensor:
    return _Exchange.apply(x, ctx.saved_tensors[0], ctx.layout)  # type: ignore[no-untyped-call]
