"""Layers whose matrix is semi-orthogonal: the parametrization behind `cayley` and `bjorck`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ...core.errors import HypothesisError, InputError
from .base import Geometry, full_precision
from .frames import frame_of, polar


class SemiOrthogonal(nn.Module):
    """The weight as one matrix per group, orthonormal rows or columns, divided by sqrt(overlap) of the windows.

    Claim: ||A|| <= 1. [Windows that do not overlap: A is a direct sum of such matrices, up to permutations and rows that are left out. In general F(w) is the
    matrix times a block column of unit phases of norm sqrt(overlap).]
    """

    lipschitz = 1.0

    def __init__(self, geometry: Geometry, weight: Tensor, method: str, iterations: int | None):
        super().__init__()
        self.method, self.shape = method, tuple(weight.shape)
        self.groups, self.scale = geometry.groups, 1 / math.sqrt(geometry.overlap)
        if self.shape[0] == self.groups and math.prod(self.shape[1:]) == 1:
            what, found = "an orthogonal matrix with one entry is 1 or -1: nothing to train", f"weight {self.shape}, groups={self.groups}"
            raise HypothesisError(what, where=type(geometry.layer).__name__, found=found, hint="use spectral_normalization")
        self.frame = frame_of(method, self._tall(polar(geometry.matrices(weight))), iterations)

    @full_precision
    def forward(self) -> Tensor:
        weight = self._tall(self.frame()).reshape(self.shape)
        return weight if self.scale == 1 else weight * self.scale

    def right_inverse(self, value: Tensor) -> tuple[Tensor, ...]:
        """The nearest semi-orthogonal matrix."""
        if tuple(value.shape) != self.shape:
            raise InputError("the weight has another shape", where="layer.weight", found=tuple(value.shape), expected=self.shape)
        if not bool(torch.isfinite(value).all()):
            raise InputError("the weight has no finite values", where="layer.weight", found="NaN or infinity")
        self.frame.reset_(self._tall(polar(value.reshape(self.groups, self.shape[0] // self.groups, -1))))
        return ()

    def _tall(self, matrices: Tensor) -> Tensor:
        """Between the matrices of the weight and those of the frame, which have no more columns than rows; its own inverse."""
        wide = self.shape[0] // self.groups < math.prod(self.shape[1:])
        return matrices.mT if wide else matrices

    def extra_repr(self) -> str:
        return f"method={self.method!r}, scale={self.scale:.4g}"
