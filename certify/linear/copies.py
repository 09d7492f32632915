"""CopyMap: every output entry copies one input entry or is zero (pad, expand, reshape, transpose, slice, gather, upsample nearest)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse as sp

from .base import Entrywise, LinearMap

_ONE = np.ones(1)


@dataclass(frozen=True, eq=False, repr=False)
class CopyMap(LinearMap):
    """y.flat[o] = weight * x.flat[index.flat[o]], 0 where the index is -1. `weight` is 1 but for a scaled copy.

    ||A||_2 = sqrt(most copies of one entry), ||A||_1 = most copies, ||A||_inf = 1 (all 0 if nothing is copied).
    """

    index: np.ndarray
    shape: tuple[int, ...]
    weight: float = 1.0

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.index.shape

    @property
    def terms(self) -> int:
        return 1

    @cached_property
    def adjoint_terms(self) -> int:
        flat = self.index.ravel()
        return max(1, int(np.bincount(flat[flat >= 0], minlength=1).max()))

    @property
    def stored(self) -> np.ndarray:
        return self.weight * _ONE

    @property
    def nonzeros(self) -> int:
        return self.index.size

    @cached_property
    def _matrix(self) -> sp.csr_array:
        flat = self.index.ravel()
        rows = np.flatnonzero(flat >= 0)
        return sp.csr_array((np.full(len(rows), self.weight), (rows, flat[rows])), shape=(flat.size, math.prod(self.shape)))

    def apply(self, x: np.ndarray) -> np.ndarray:
        flat = x.reshape(len(x), -1)
        y = self.weight * flat[:, self.index.ravel()]
        y[:, self.index.ravel() < 0] = 0.0
        return y.reshape(len(x), *self.output_shape)

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return (self._matrix.T @ y.reshape(len(y), -1).T).T.reshape(len(y), *self.shape)

    def entrywise(self, function: Entrywise) -> CopyMap:
        return CopyMap(self.index, self.shape, float(function(np.array([self.weight]))[0]))

    def sparse(self) -> sp.csr_array:
        return self._matrix
