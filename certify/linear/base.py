"""LinearMap: a matrix-free real matrix A between tensors of fixed shapes. A bias or shift is never part of it."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy import sparse as sp

from ..core.errors import HypothesisError
from ..core.rounding import ETA

Entrywise = Callable[[np.ndarray], np.ndarray]


def exponent_of(weights: np.ndarray) -> int:
    """e with max|w| in [2^(e-1), 2^e); 0 for a zero or empty array.

    >>> exponent_of(np.array([-3.0, 1.0])), exponent_of(np.zeros(2))
    (2, 0)
    """
    top = max(float(weights.max(initial=0.0)), -float(weights.min(initial=0.0)))  # no temporary
    return math.frexp(top)[1] if top > 0 else 0


def _shrunk(weights: np.ndarray, e: int) -> np.ndarray:
    """2^-e w, each entry within 2^-1074; a weight that is not zero never becomes zero, so that a sum with it is not taken for exact.

    >>> _shrunk(np.array([1.0, 5e-324, 0.0]), 1)
    array([5.e-001, 5.e-324, 0.e+000])
    """
    result = np.ldexp(weights, -e)
    lost = (result == 0) & (weights != 0)
    return np.where(lost, np.copysign(ETA, weights), result) if lost.any() else result


@dataclass(frozen=True, eq=False)
class LinearMap(abc.ABC):
    """A linear map A: R^input_shape -> R^output_shape, given by stored float64 weights.

    Contract (tested for every subclass): <apply(x), y> = <x, adjoint(y)> exactly as maps, and `dense()` has the columns
    apply(e_j). Shapes never contain the batch axis; `apply` and `adjoint` take batches (n, *shape) and compute sums of
    products only (no FFT, no Winograd), so that with M = |A| or the majorant below

        |fl(apply(x)) - A x| <= gamma(terms) M |x|,     |fl(adjoint(y)) - A' y| <= gamma(adjoint_terms) M' |y|    (no underflow)
        |dense() - A| <= gamma(entry_sums - 1) M  entrywise; entry_sums = 1: every entry is one stored weight, dense() is exact.

    `absolute()` is the map of M: |A| where entry_sums = 1, else the sum of the |weights| that meet in an entry (M >= |A|).
    `perturbation` = rho, `underflow` = tau: the matrix that is meant, A_true, is within rho M + tau of A entrywise; both 0
    when the stored weights are the model's own.
    """

    perturbation: float = field(default=0.0, kw_only=True)
    underflow: float = field(default=0.0, kw_only=True)

    @property
    @abc.abstractmethod
    def input_shape(self) -> tuple[int, ...]: ...

    @property
    @abc.abstractmethod
    def output_shape(self) -> tuple[int, ...]: ...

    @property
    @abc.abstractmethod
    def terms(self) -> int:
        """At most this many roundings meet a product in one entry of apply(x)."""

    @property
    @abc.abstractmethod
    def adjoint_terms(self) -> int: ...

    @property
    def entry_sums(self) -> int:
        """At most this many stored weights are added into one matrix entry."""
        return 1

    @property
    @abc.abstractmethod
    def stored(self) -> np.ndarray:
        """The stored weights, each of which enters some entries of the matrix."""

    @abc.abstractmethod
    def apply(self, x: np.ndarray) -> np.ndarray: ...

    @abc.abstractmethod
    def adjoint(self, y: np.ndarray) -> np.ndarray: ...

    @abc.abstractmethod
    def entrywise(self, function: Entrywise) -> LinearMap:
        """The same structure with weights function(w), function(0) = 0, and no perturbation; where entry_sums = 1 its matrix is function(A)."""

    @abc.abstractmethod
    def sparse(self) -> sp.csr_array:
        """The assembled matrix (output size, input size)."""

    @property
    def input_size(self) -> int:
        return math.prod(self.input_shape)

    @property
    def output_size(self) -> int:
        return math.prod(self.output_shape)

    @property
    def size(self) -> int:
        """min(M, N): the side of the smaller Gram matrix."""
        return min(self.input_size, self.output_size)

    @property
    def nonzeros(self) -> int:
        """At most this many entries of the matrix are not zero: what `sparse()` costs."""
        return self.output_size * min(self.terms, self.input_size)

    def absolute(self) -> LinearMap:
        """The map of the majorant M >= |A|."""
        return self._absolute

    @cached_property
    def _absolute(self) -> LinearMap:
        return self.entrywise(np.abs)

    @cached_property
    def majorant_rows(self) -> np.ndarray:
        """Row sums of the majorant as computed, shaped like the output."""
        return self.absolute().row_sums()

    @cached_property
    def majorant_columns(self) -> np.ndarray:
        """Column sums of the majorant as computed, shaped like the input."""
        return self.absolute().column_sums()

    def squares(self) -> LinearMap:
        """The map of the squared entries; only where every entry is one weight."""
        if self.entry_sums != 1:
            raise HypothesisError("the squares of the entries are not those of the weights", where=repr(self), found="several weights are added into one entry")
        return self.entrywise(np.square)

    def scaled(self) -> tuple[LinearMap, int]:
        """(B, e) with A = 2^e B and B's largest weight in [1/2, 1). Exact, but for weights that fall below 2^-1022 (by at most 2^-1074 each)."""
        return self._scaled

    @cached_property
    def _scaled(self) -> tuple[LinearMap, int]:
        e = exponent_of(self.stored)
        if e == 0:
            return self, 0
        tau = math.ldexp(self.underflow, -e) if self.underflow else 0.0
        return replace(self.entrywise(lambda w: _shrunk(w, e)), perturbation=self.perturbation, underflow=tau), e

    def blocks(self) -> tuple[LinearMap, ...]:
        """Maps A_i with ||A||_p = max_i ||A_i||_p for every p: the parts of a direct sum, equal ones once."""
        return (self,)

    def row_sums(self) -> np.ndarray:
        """A applied to ones, shaped like the output; meant for majorants. At most `terms` roundings meet a weight."""
        return self.apply(np.ones((1, *self.input_shape)))[0]

    def column_sums(self) -> np.ndarray:
        """A' applied to ones, shaped like the input."""
        return self.adjoint(np.ones((1, *self.output_shape)))[0]

    def dense(self) -> np.ndarray:
        """The assembled matrix as an array (output size, input size)."""
        return self.sparse().toarray()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.input_shape} -> {self.output_shape})"
