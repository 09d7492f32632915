"""Kernels of orthogonal convolutions, put together from semi-orthogonal matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class KernelPlan:
    """How a kernel (outputs, inputs, *kernel) with stride s is composed: R (kernel q = min(k, s), windows that do not overlap) after factors of two taps.

        K = R * F_1 * ... * F_n * H      (* the block convolution),   F_j = P at its first tap, I - P at the second, P = V V' with V' V = I

    on `inner` channels. F_j is a para-unitary symbol: |(P + (I - P) e^{iw}) x| = |x|. R maps patches of inner * q values to the outputs; H the inputs
    to the inner channels. Both ends that exist are chosen so that the product keeps orthonormal rows (outputs <= inputs * q) or columns (else).
    """

    outputs: int
    inputs: int
    patch: tuple[int, ...]
    axes: tuple[int, ...]

    @classmethod
    def of(cls, outputs: int, inputs: int, kernel: Sequence[int], strides: Sequence[int]) -> KernelPlan:
        """`strides` of the layer without the factors shared with its dilation; inputs and outputs of one group."""
        patch = tuple(min(k, s) for k, s in zip(kernel, strides))
        left = [k - q for k, q in zip(kernel, patch)]
        axes = [axis for turn in range(max(left)) for axis, count in enumerate(left) if turn < count]
        return cls(outputs, inputs, patch, tuple(axes))

    @property
    def wide(self) -> bool:
        """Orthonormal rows: no more outputs than values in the input windows."""
        return self.outputs <= self.inputs * math.prod(self.patch)

    @property
    def inner(self) -> int:
        return self.inputs if self.wide else self.outputs // math.prod(self.patch)

    @property
    def ranks(self) -> int:
        """Columns of each V: half the inner channels, where projectors have the most freedom."""
        return self.inner // 2

    @property
    def last(self) -> tuple[int, int] | None:
        """Shape of the frame of R, tall; None where H alone does its work."""
        size = self.inner * math.prod(self.patch)
        redundant = not self.wide and math.prod(self.patch) == 1
        return None if redundant else (max(size, self.outputs), min(size, self.outputs))

    @property
    def first(self) -> tuple[int, int] | None:
        """Shape of H; None where it is the identity."""
        return None if self.wide or (self.inner == self.inputs and self.last is not None) else (self.inner, self.inputs)

    @property
    def rigid(self) -> bool:
        """One channel to one channel without a patch: only shifts are orthogonal."""
        return self.inner == 1 and (self.last or self.first) == (1, 1)

    def kernel(self, last: Tensor | None, factors: Tensor | None, first: Tensor | None) -> Tensor:
        """(groups, outputs, inputs, *kernel) from R (groups, *last), V (groups, factors, inner, ranks; None: none or rank 0) and H (groups, *first)."""
        if last is None:
            return self._scan(first[(..., *(None,) * len(self.patch), slice(None))], factors).movedim(-1, 2)  # type: ignore[index]
        rows = last if self.wide else last.mT  # (groups, inner * patch, outputs)
        x = self._scan(rows.reshape(len(rows), self.inner, *self.patch, self.outputs), factors).movedim(-1, 1)
        return x if first is None else torch.einsum("goc...,gci->goi...", x, first)

    def _scan(self, x: Tensor, factors: Tensor | None) -> Tensor:
        """x (groups, inner, *taps, m) after all factors."""
        if not self.axes:
            return x
        projectors = x.new_zeros(len(x), len(self.axes), 1, 1) if factors is None else factors @ factors.mT
        return _Scan.apply(x, projectors, self.axes)  # type: ignore[no-untyped-call]


class _Scan(torch.autograd.Function):
    """For each projector P and its axis: x (g, c, *taps, m) -> P x at the same taps plus x - P x one tap further along the axis.

    The other way round for every second factor of an axis: where the channels are odd, this balances the two taps. The running kernel has no more than c
    columns m, so that a factor costs one product; backward two, with D the difference of the two parts of the gradient: g_x = g_there + P'D, g_P = D x'.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, projectors: Tensor, axes: tuple[int, ...]) -> Tensor:
        saved = []
        for number, axis in enumerate(axes):
            flat, size, turned = x.reshape(x.shape[0], x.shape[1], -1), x.shape[axis + 2], axes[:number].count(axis) % 2
            part = torch.bmm(projectors[:, number], flat).reshape(x.shape)
            result = x.new_zeros(*x.shape[: axis + 2], size + 1, *x.shape[axis + 3 :])
            torch.sub(x, part, out=result.narrow(axis + 2, 1 - turned, size))
            result.narrow(axis + 2, turned, size).add_(part)
            saved.append(flat)
            x = result
        ctx.save_for_backward(projectors, *saved)
        ctx.axes = axes
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        projectors, *saved = ctx.saved_tensors
        of_projectors = torch.empty_like(projectors)
        for number, axis in reversed(list(enumerate(ctx.axes))):
            flat, size, turned = saved[number], grad.shape[axis + 2] - 1, ctx.axes[:number].count(axis) % 2
            there = grad.narrow(axis + 2, 1 - turned, size)
            difference = (grad.narrow(axis + 2, turned, size) - there).reshape(flat.shape)
            of_projectors[:, number] = torch.bmm(difference, flat.mT)
            grad = torch.baddbmm(there.reshape(flat.shape), projectors[:, number].mT, difference).reshape(there.shape)
        return grad, of_projectors, None
