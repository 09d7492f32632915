"""PoolMap: average pooling whose divisor depends on the position (padding not counted, ceil mode)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse as sp

from .base import Entrywise, LinearMap
from .conv import ConvMap


@dataclass(frozen=True, eq=False, repr=False)
class PoolMap(LinearMap):
    """y[c, o] = values[o] * (sum of the window at o): diag(values) times a window sum with weights 1, the same for every channel."""

    values: np.ndarray
    windows: ConvMap

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.windows.input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.windows.output_shape

    @property
    def terms(self) -> int:
        return self.windows.terms + 1

    @property
    def adjoint_terms(self) -> int:
        return self.windows.adjoint_terms + 1

    @property
    def stored(self) -> np.ndarray:
        return self.values

    @property
    def nonzeros(self) -> int:
        return self.windows.nonzeros

    def apply(self, x: np.ndarray) -> np.ndarray:
        return self.values * self.windows.apply(x)

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return self.windows.adjoint(self.values * y)

    def entrywise(self, function: Entrywise) -> PoolMap:
        return PoolMap(function(self.values), self.windows)

    def blocks(self) -> tuple[LinearMap, ...]:
        one = ConvMap(self.windows.weight[:1], self.windows.axes)
        return (PoolMap(self.values, one, perturbation=self.perturbation, underflow=self.underflow),)

    def sparse(self) -> sp.csr_array:
        rows = np.broadcast_to(self.values, self.output_shape).ravel()
        return sp.csr_array(sp.diags_array(rows) @ self.windows.sparse())
