"""SetUnion: finitely many sets as one, for cells of a split and branches of a switching controller."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from certify.core.errors import InputError
from certify.core.regions import Box

from .base import Set
from .box import hull


@dataclass(frozen=True, eq=False)
class SetUnion:
    """The union of its parts (at least one, all of one dimension).

    Guarantee: as `Set`; each verb asks every part and drops none.

    >>> from .box import BoxSet
    >>> both = SetUnion((BoxSet(Box([0.0], [1.0])), BoxSet(Box([3.0], [4.0]))))
    >>> both.box().upper.tolist(), both.support([-1.0])
    ([4.0], 0.0)
    """

    parts: tuple[Set, ...]

    def __post_init__(self):
        object.__setattr__(self, "parts", tuple(self.parts))
        if len({p.dimension for p in self.parts}) != 1:
            found = f"dimensions {[p.dimension for p in self.parts]}"
            raise InputError("a union needs parts of one dimension", where="SetUnion", found=found, expected="at least one part, all of one dimension")

    @property
    def dimension(self) -> int:
        return self.parts[0].dimension

    def box(self, pieces: int | None = None) -> Box:
        """The hull of the parts' boxes; `pieces` is handed to parts that can be cut."""
        return hull([p.box() if pieces is None else p.box(pieces) for p in self.parts])  # type: ignore[call-arg]

    def support(self, direction: ArrayLike) -> float:
        return float(np.max([p.support(direction) for p in self.parts]))  # numpy's max keeps a NaN

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """(count, n) members, the parts in turn."""
        each = -(-count // len(self.parts))
        rows = np.stack([p.sample(each, seed + i) for i, p in enumerate(self.parts)], axis=1)
        return rows.reshape(-1, self.dimension)[:count]

    def affine(self, matrix: ArrayLike, offset: ArrayLike | None = None) -> SetUnion:
        return SetUnion(tuple(p.affine(matrix, offset) for p in self.parts))
