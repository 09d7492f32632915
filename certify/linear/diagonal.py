"""DiagonalMap: x -> values * x. BatchNorm in eval mode, scaling and division by constants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse as sp

from .base import Entrywise, LinearMap


@dataclass(frozen=True, eq=False, repr=False)
class DiagonalMap(LinearMap):
    """A = diag(values), `values` broadcastable to `shape`."""

    values: np.ndarray
    shape: tuple[int, ...]

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.shape

    @property
    def terms(self) -> int:
        return 1

    @property
    def adjoint_terms(self) -> int:
        return 1

    @property
    def stored(self) -> np.ndarray:
        return self.values

    def apply(self, x: np.ndarray) -> np.ndarray:
        return x * self.values

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return y * self.values

    def entrywise(self, function: Entrywise) -> DiagonalMap:
        return DiagonalMap(function(self.values), self.shape)

    def sparse(self) -> sp.csr_array:
        return sp.csr_array(sp.diags_array(np.broadcast_to(self.values, self.shape).ravel()))
