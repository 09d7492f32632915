"""AdjointMap: the transpose of a map. A transposed convolution is the adjoint of the convolution whose input is its output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse as sp

from .base import Entrywise, LinearMap


@dataclass(frozen=True, eq=False, repr=False)
class AdjointMap(LinearMap):
    """A' of `inner`: same l2 norm; l1 and linf swap."""

    inner: LinearMap

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.inner.output_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.inner.input_shape

    @property
    def terms(self) -> int:
        return self.inner.adjoint_terms

    @property
    def adjoint_terms(self) -> int:
        return self.inner.terms

    @property
    def entry_sums(self) -> int:
        return self.inner.entry_sums

    @property
    def stored(self) -> np.ndarray:
        return self.inner.stored

    def apply(self, x: np.ndarray) -> np.ndarray:
        return self.inner.adjoint(x)

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return self.inner.apply(y)

    def entrywise(self, function: Entrywise) -> AdjointMap:
        return AdjointMap(self.inner.entrywise(function))

    def blocks(self) -> tuple[LinearMap, ...]:
        blocks = self.inner.blocks()
        return (self,) if blocks == (self.inner,) else tuple(AdjointMap(b, perturbation=self.perturbation, underflow=self.underflow) for b in blocks)

    def row_sums(self) -> np.ndarray:
        return self.inner.column_sums()

    def column_sums(self) -> np.ndarray:
        return self.inner.row_sums()

    def sparse(self) -> sp.csr_array:
        return sp.csr_array(self.inner.sparse().T)

    def dense(self) -> np.ndarray:
        return self.inner.dense().T
