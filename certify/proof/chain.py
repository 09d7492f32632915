"""Tensors of a `parts.Reading` as linear maps of others, with enclosed matrices: what the semidefinite evidence is about.

A value is a map source -> matrix: the change of a tensor is the sum of matrix @ change of the source. `Values` starts from known ones (a tensor is its own
source) and derives the linear tensors between; a block that is not known cannot be derived, which is how stored states are tested: a state from which
something later cannot be computed leaves a block without value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.midrad import MidRad, full, is_sparse
from ..core.rounding import TINY, U, up
from . import fields
from .parts import Linear, Reading

Value = dict[str, MidRad | None]  # None: the identity
MOST_ENTRIES = 1 << 28  # of one tensor's matrices together


class Values:
    """Known and derived values over one reading."""

    def __init__(self, reading: Reading, sources: Sequence[str] = ()):
        self.reading = reading
        self.widths: dict[str, int] = {}
        self.known: dict[str, Value] = {}
        for name in sources:
            self.add_source(name)

    def add_source(self, name: str) -> None:
        self.widths[name] = self.reading.size(name)
        self.known[name] = {name: None}

    def define(self, name: str, value: Value) -> None:
        self.known[name] = value

    def __getitem__(self, name: str) -> Value:
        """The value of a tensor, derived where needed.

        Raises:
            CertificateError: it does not follow from what is known.
        """
        if name not in self.known:
            for needed in self._order(name):
                part = self.reading.parts[needed]
                if isinstance(part, Linear):
                    self.known[needed] = self._sum(needed, part)
        return self.known[name]

    def _order(self, name: str) -> list[str]:
        """The linear tensors that have to be derived, earlier ones first."""
        wanted, stack = set(), [name]
        while stack:
            tensor = stack.pop()
            if tensor in wanted or tensor in self.known:
                continue
            part = self.reading.parts.get(tensor)
            if not isinstance(part, Linear):
                raise fields.refuse("a tensor does not follow from the stored states", name, tensor, "states from which all that follows can be computed")
            wanted.add(tensor)
            stack.extend(t for t, _ in part.terms)
        return [tensor for tensor in self.reading.parts if tensor in wanted]

    def _sum(self, name: str, part: Linear) -> Value:
        width = sum(self.widths[s] for s in {s for t, _ in part.terms for s in self.known[t]})
        if part.size * width > MOST_ENTRIES:
            raise fields.refuse("a tensor has too many entries for the checker", name, f"{part.size} x {width}", f"at most {MOST_ENTRIES}")
        total: Value = {}
        for tensor, matrix in part.terms:
            for source, inner in self.known[tensor].items():
                product = matrix if inner is None else times(matrix, inner)
                before = total.get(source)
                total[source] = product if before is None else plus(before, product)
        return total

    def beside(self, name: str, sources: Sequence[str]) -> MidRad:
        """The value as one dense matrix with a column for every entry of the sources, in their order."""
        value = self[name]
        rows, width = self.reading.size(name), sum(self.widths[s] for s in sources)
        mid, rad, start = np.zeros((rows, width)), None, 0
        for s in sources:
            columns, block = slice(start, start + self.widths[s]), value.get(s)
            start += self.widths[s]
            if s in value and block is None:
                mid[:, columns] = np.eye(rows)
            elif block is not None:
                mid[:, columns] = full(block.mid)
                if block.rad is not None:
                    rad = np.zeros((rows, width)) if rad is None else rad
                    rad[:, columns] = full(block.rad)
        return MidRad(mid, rad)


def times(a: MidRad, b: MidRad) -> MidRad:
    """a @ b; a row of a that meets only zero rows of b gives exactly zero, without the radius that every other product has."""
    product = a @ b
    if product.rad is None or is_sparse(product.mid):
        return product
    occupied = moving(b)
    pattern = abs(a.mid) != 0
    if a.rad is not None:
        pattern = pattern + (full(a.rad) != 0 if isinstance(pattern, np.ndarray) else a.rad != 0)
    zero = np.asarray(pattern @ occupied.astype(np.float64)).ravel() == 0
    if zero.any():
        rad = product.rad.copy()
        rad[zero] = 0.0
        return MidRad(np.where(zero[:, None], 0.0, product.mid), rad)
    return product


def plus(a: MidRad, b: MidRad) -> MidRad:
    """a + b; what is exactly zero in both stays so."""
    total = a + b
    if total.rad is None or is_sparse(total.mid):
        return total
    nothing = (full(a.mid) == 0) & (full(b.mid) == 0) & (a.radius() == 0) & (b.radius() == 0)
    return MidRad(total.mid, np.where(nothing, 0.0, total.rad))


def moving(a: MidRad) -> np.ndarray:
    """Which rows are not exactly zero."""
    found = np.zeros(a.shape[0], bool)
    for part in (a.mid, a.rad):
        if part is not None:
            found |= (part != 0).any(axis=1) if isinstance(part, np.ndarray) else np.diff(part.indptr) > 0
    return found


def scaled_rows(a: MidRad, factors: np.ndarray, slack: np.ndarray | float = 0.0) -> MidRad:
    """diag(f) A, dense, for all |f - factors| <= slack: |f A - fl(factors mid)| <= |factors| rad + slack (|mid| + rad) + u |fl| + eta, with room for its own roundings."""
    size, mid, rad = np.abs(factors)[:, None], full(a.mid), a.radius()
    product = factors[:, None] * mid
    exact = not np.any(slack) and a.rad is None and bool(np.isin(size, (0.0, 0.5, 1.0)).all()) and (bool((np.abs(mid[mid != 0]) > 2.0**-1000).all()) or not (size == 0.5).any())
    if exact:
        return MidRad(product)
    slacks = np.broadcast_to(np.asarray(slack, dtype=np.float64), factors.shape)[:, None]
    radius = up((size * rad + slacks * (np.abs(mid) + rad) + U * np.abs(product)) * (1 + 16 * U)) + TINY
    return MidRad(product, np.where((mid == 0) & (rad == 0), 0.0, radius))


def part_of_rows(a: MidRad, rows: np.ndarray) -> MidRad:
    """Some rows (places), dense or sparse as it is."""
    return MidRad(a.mid[rows], None if a.rad is None else a.rad[rows])


def symmetric(a: MidRad) -> MidRad:
    """An enclosure of a symmetric matrix with an exactly symmetric midpoint: one triangle mirrored, with the larger of both radii."""
    low, rad = np.tril(a.mid), a.radius()
    return MidRad(low + np.tril(a.mid, -1).T, np.maximum(rad, rad.T))
