"""ReduceMap: sum or mean over axes (global average pooling)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse as sp

from .base import Entrywise, LinearMap
from .dense import DenseMap


@dataclass(frozen=True, eq=False, repr=False)
class ReduceMap(LinearMap):
    """y = weight * sum of x over `axes` (axis 0 is the first after the batch); ||A||_2 = |weight| sqrt(count)."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    weight: float = 1.0
    keepdims: bool = False

    @property
    def count(self) -> int:
        return math.prod(self.shape[a] for a in self.axes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.shape

    @property
    def _kept(self) -> tuple[int, ...]:
        return tuple(1 if a in self.axes else n for a, n in enumerate(self.shape))

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self._kept if self.keepdims else tuple(n for a, n in enumerate(self.shape) if a not in self.axes)

    @property
    def terms(self) -> int:
        return self.count + 1

    @property
    def adjoint_terms(self) -> int:
        return 1

    @property
    def stored(self) -> np.ndarray:
        return np.array([self.weight])

    def apply(self, x: np.ndarray) -> np.ndarray:
        return self.weight * x.sum(axis=tuple(a + 1 for a in self.axes), keepdims=self.keepdims)

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return self.weight * np.broadcast_to(y.reshape(len(y), *self._kept), (len(y), *self.shape))

    def entrywise(self, function: Entrywise) -> ReduceMap:
        return ReduceMap(self.shape, self.axes, float(function(np.array([self.weight]))[0]), self.keepdims)

    def blocks(self) -> tuple[LinearMap, ...]:
        return (DenseMap(np.full((1, self.count), self.weight), perturbation=self.perturbation, underflow=self.underflow),)

    def sparse(self) -> sp.csr_array:
        outputs = np.broadcast_to(np.arange(math.prod(self._kept)).reshape(self._kept), self.shape).ravel()
        return sp.csr_array((np.full(len(outputs), self.weight), (outputs, np.arange(len(outputs)))), shape=(self.output_size, self.input_size))
