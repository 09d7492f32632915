"""The two kinds of parts that a network is written in, and matrices that select entries."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...core.errors import UnsupportedLayerError
from ...core.midrad import MidRad, kept


@dataclass(frozen=True, eq=False)
class Linear:
    """size entries: the sum of matrix @ tensor over the terms."""

    size: int
    terms: tuple[tuple[str, MidRad], ...]


@dataclass(frozen=True, eq=False)
class Block:
    """`size` entries phi of the tensor `before` (z): slopes [lo, hi] (one per entry; groups None), or groups with |psi_g| <= |r o dz_g|, m = 0.

    node: the graph node whose activation it is ("" for a rewritten one): regions tighten its slopes."""

    size: int
    before: str
    lo: np.ndarray
    hi: np.ndarray
    inside: np.ndarray | None = None
    outside: np.ndarray | None = None
    node: str = ""


Part = Linear | Block


@dataclass
class Parts:
    """The parts in an order in which each uses earlier ones; `output` names the last tensor."""

    input: str
    input_size: int
    output: str = ""
    parts: dict[str, Part] = field(default_factory=dict)

    def size(self, name: str) -> int:
        return self.input_size if name == self.input else self.parts[name].size

    def add(self, name: str, part: Part) -> None:
        """Every part goes through here: two parts of one name would be one of them silently lost."""
        if name in self.parts or name == self.input:
            hint = "rename the layer: names such as NAME/abs are taken when a maximum or a sorting activation NAME is rewritten; or method='product'"
            raise UnsupportedLayerError("a tensor has the name of a rewritten part", where=name, found="two parts of one name", expected="unique names", hint=hint)
        self.parts[name] = part

    def linear(self, name: str, *terms: tuple[str, MidRad]) -> None:
        joined: dict[str, MidRad] = {}
        for tensor, matrix in terms:  # x - x is 0 and x + x is 2 x, before anything is multiplied
            joined[tensor] = joined[tensor] + matrix if tensor in joined else matrix
        self.add(name, Linear(terms[0][1].shape[0], tuple(joined.items())))


def rows(index: np.ndarray, columns: int, weight: float = 1.0) -> MidRad:
    """The matrix whose row i has `weight` in column index[i]; rows with a negative index are zero."""
    import scipy.sparse as sp

    used = np.flatnonzero(index >= 0)
    data = np.full(len(used), weight)
    return MidRad(kept(sp.csr_array((data, (used, index[used])), shape=(len(index), columns))))


def identity(size: int, weight: float = 1.0) -> MidRad:
    return rows(np.arange(size), size, weight)
