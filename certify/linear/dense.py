"""DenseMap: a matrix acting on the last axis, A = I (x) W over the leading axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse as sp

from .base import Entrywise, LinearMap


@dataclass(frozen=True, eq=False, repr=False)
class DenseMap(LinearMap):
    """y[.., o] = sum_i weight[o, i] x[.., i]; `lead` holds the sizes of the axes before the last.

    >>> DenseMap(np.array([[3.0, 4.0]])).apply(np.ones((1, 2)))
    array([[7.]])
    """

    weight: np.ndarray
    lead: tuple[int, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (*self.lead, self.weight.shape[1])

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (*self.lead, self.weight.shape[0])

    @property
    def terms(self) -> int:
        return self.weight.shape[1]

    @property
    def adjoint_terms(self) -> int:
        return self.weight.shape[0]

    @property
    def stored(self) -> np.ndarray:
        return self.weight

    def apply(self, x: np.ndarray) -> np.ndarray:
        return x @ self.weight.T

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return y @ self.weight

    def entrywise(self, function: Entrywise) -> DenseMap:
        return DenseMap(function(self.weight), self.lead)

    def blocks(self) -> tuple[LinearMap, ...]:
        return (DenseMap(self.weight, perturbation=self.perturbation, underflow=self.underflow),) if self.lead else (self,)

    def sparse(self) -> sp.csr_array:
        return sp.csr_array(sp.kron(sp.eye_array(math.prod(self.lead)), sp.csr_array(self.weight), format="csr"))

    def dense(self) -> np.ndarray:
        return self.weight if not self.lead else self.sparse().toarray()
