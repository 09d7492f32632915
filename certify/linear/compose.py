"""Composition: the product A_k ... A_1 of maps, each applied in turn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, reduce

import numpy as np
from scipy import sparse as sp

from ..core.errors import HypothesisError, InputError
from ..core.rounding import add_up, mul_up
from .base import Entrywise, LinearMap

_BITS = 100  # scaled weights are at most 1, so a later factor amplifies an underflow of 2^-1074 at most 2^100-fold: 2^-900 pays for all


@dataclass(frozen=True, eq=False, repr=False)
class Composition(LinearMap):
    """x -> maps[-1](... maps[0](x)); the first map acts first.

    The majorant is the product of the factors' majorants; every error term of the base class refers to it. `dense()` and
    `sparse()` multiply the assembled factors, so their entries are rounded (`entry_sums` > 1 counts the roundings).
    `perturbation` of the whole is prod(1 + rho_i) - 1 relative to the majorant, plus what a factor's `underflow` can do.
    """

    maps: tuple[LinearMap, ...]

    def __post_init__(self):
        for first, second in zip(self.maps, self.maps[1:]):
            if first.output_shape != second.input_shape:
                raise InputError("the maps of a composition do not fit", found=f"{first!r} then {second!r}")
        if sum(np.log2(1 + max(m.terms, m.adjoint_terms)) for m in self.maps) > _BITS:
            raise HypothesisError("too many maps for one composition", where=repr(self.maps), hint="multiply the norms of the single maps instead")

    @classmethod
    def of(cls, maps) -> LinearMap:
        """The composition with nested ones flattened and perturbations combined; one map alone is returned as it is."""
        flat = tuple(m for part in maps for m in (part.maps if isinstance(part, Composition) else (part,)))
        if len(flat) == 1:
            return flat[0]
        if any(m.underflow for m in flat):
            raise HypothesisError("maps with subnormal weights of unknown accuracy are not composed", where=repr(flat), hint="multiply the norms of the single maps instead")
        rho = 0.0
        for m in flat:  # (1 + rho)(1 + p) - 1
            rho = add_up(add_up(rho, m.perturbation), mul_up(rho, m.perturbation))
        return cls(flat, perturbation=rho)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.maps[0].input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.maps[-1].output_shape

    @property
    def terms(self) -> int:
        return sum(m.terms for m in self.maps)

    @property
    def adjoint_terms(self) -> int:
        return sum(m.adjoint_terms for m in self.maps)

    @cached_property
    def entry_sums(self) -> int:
        # product of assembled matrices: an inner product of length K_i per factor beside the factors' own sums
        return 1 + sum(m.entry_sums - 1 for m in self.maps) + sum(min(m.terms, m.input_size) + 1 for m in self.maps[1:])

    @property
    def stored(self) -> np.ndarray:
        return np.concatenate([m.stored.ravel() for m in self.maps])

    @property
    def nonzeros(self) -> int:
        return self.output_size * self.input_size

    def apply(self, x: np.ndarray) -> np.ndarray:
        return reduce(lambda value, m: m.apply(value), self.maps, x)

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return reduce(lambda value, m: m.adjoint(value), reversed(self.maps), y)

    def entrywise(self, function: Entrywise) -> Composition:
        """The composition of the factors' maps; meaningful for |.| (the majorant) only, which `entry_sums` > 1 tells."""
        return Composition(tuple(m.entrywise(function) for m in self.maps))

    @cached_property
    def _scaled(self) -> tuple[LinearMap, int]:
        parts = [m.scaled() for m in self.maps]
        return replace(self, maps=tuple(m for m, _ in parts)), sum(e for _, e in parts)

    def sparse(self) -> sp.csr_array:
        return sp.csr_array(reduce(lambda value, m: m.sparse() @ value, self.maps[1:], self.maps[0].sparse()))

    def dense(self) -> np.ndarray:
        return np.asarray(reduce(lambda value, m: m.sparse() @ value, self.maps[1:], self.maps[0].dense()))

