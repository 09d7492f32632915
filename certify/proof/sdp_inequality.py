"""One matrix inequality: |C dx| <= bound |dx_0| from multipliers tau >= 0 and the positive definiteness of one enclosed matrix.

Claim. In the coordinates d = (dx_0, dphi of every block), with z a linear map of them,
    M = rho E_0 - Y'Y + sum_i tau_i (phi_i - lo_i z_i)(phi_i - hi_i z_i)' (symmetrised) + sum_g tau_g (phi_g phi_g' - r_g^2 z_g z_g') > 0,  tau >= 0,  rho <= bound^2
give |Y d|^2 <= rho |dx_0|^2 for the difference d of any two runs. Proof: lo z <= phi <= hi z in order, so (phi - lo z)(phi - hi z) <= 0, and |phi_g| <= r |z_g|; hence
0 <= d'M d <= rho |dx_0|^2 - |Y d|^2. [] Left out of d: phi_i with lo_i = hi_i, which is lo_i z_i, and those whose z_i is exactly 0 (then phi_i = 0).
Multipliers that couple different i are false for increments and are not in the format.
Source: Fazlyab, Robey, Hassani, Morari, Pappas 2019 (LipSDP-Neuron); methods/network_lipschitz.md, sections 5 and 7.
"""

from __future__ import annotations

import numpy as np

from ..core.midrad import MidRad, full
from ..core.posdef import verified_pd
from ..core.rounding import U, down, up
from . import fields
from .chain import Value, Values, moving, part_of_rows, scaled_rows, symmetric
from .parts import Block, Reading, selection

_LEAST = 2.0**-900  # multipliers and rho stay clear of underflow and overflow
LARGEST = 5000  # rows of M: 200 MB an array, about six at a time


class Inequality:
    """What M needs besides the multipliers, once for all entries about one tensor."""

    def __init__(self, reading: Reading):
        widest = reading.input_size + sum(block.size for _, block in reading.blocks)
        if widest > 4 * LARGEST:
            raise fields.refuse("a matrix inequality is too large for the checker", "proofs", f"{widest} rows", f"at most {LARGEST}")
        self.groups = 0
        self.values = Values(reading, [reading.input])
        self.places = {reading.input: slice(0, reading.input_size)}
        self.size = reading.input_size
        self.inner: list[tuple[int, Block, np.ndarray, np.ndarray, slice, MidRad, np.ndarray]] = []  # first group, block, live z and phi, place of phi, live z, its columns
        for name, block in reading.blocks:
            self._block(name, block)
        if self.size > LARGEST:
            raise fields.refuse("a matrix inequality is too large for the checker", "proofs", f"{self.size} rows", f"at most {LARGEST}")
        self.output, self.columns = self._dense(self.values[reading.output], reading.size(reading.output))
        self.start = reading.input_size

    def _block(self, name: str, block: Block) -> None:
        value = self.values[block.before]
        moves = np.zeros(len(block.lo), bool)
        for matrix in value.values():
            moves |= True if matrix is None else moving(matrix)
        if block.inside is None or block.outside is None:
            phi = moves & (block.lo < block.hi)
            z = phi
            fixed = np.where(moves & ~phi, block.lo, 0.0)
        else:
            z = moves & (block.hi > 0)
            phi = np.bincount(block.inside, z, block.groups)[block.outside] > 0
            fixed = np.zeros(0)
        mine: Value = {}
        if fixed.any():
            mine = {source: scaled_rows(selection(np.arange(len(fixed)), len(fixed)) if matrix is None else matrix, fixed) for source, matrix in value.items()}
        if phi.any():
            mine[name] = selection(np.where(phi, np.cumsum(phi) - 1, -1), int(phi.sum()))
            dense, columns = self._dense({s: None if m is None else part_of_rows(m, z) for s, m in value.items()}, int(z.sum()), z)
            own = slice(self.size, self.size + int(phi.sum()))
            self.inner.append((self.groups, block, z, phi, own, dense, columns))
            self.places[name], self.values.widths[name] = own, own.stop - own.start
            self.size = own.stop
        self.values.define(name, mine)
        self.groups += block.groups

    def _dense(self, value: Value, rows: int, live: np.ndarray | None = None) -> tuple[MidRad, np.ndarray]:
        """The value side by side, and the places of its columns in d."""
        parts = []
        for source, matrix in value.items():
            width = self.places[source].stop - self.places[source].start
            parts.append((source, selection(np.arange(width) if live is None else np.flatnonzero(live), width).dense() if matrix is None else matrix.dense()))
        if not parts:
            return MidRad(np.zeros((rows, 0))), np.zeros(0, np.int64)
        rad = None if all(m.rad is None for _, m in parts) else np.hstack([m.radius() for _, m in parts])
        columns = np.concatenate([np.arange(self.places[s].start, self.places[s].stop) for s, _ in parts])
        return MidRad(np.hstack([full(m.mid) for _, m in parts]), rad), columns

    def matrix(self, tau: np.ndarray, pair: tuple[int, int] | None = None) -> MidRad:
        """M without rho E_0, for the multipliers of all groups of all blocks and the whole tensor, or the difference of two of its entries."""
        total = _Sum(self.size)
        for first, block, live, phi, own, z, columns in self.inner:
            _multipliers(total, tau[first : first + block.groups], block, live, phi, own, z, columns)
        y = self.output
        if pair is not None:
            i, j = pair
            difference = y.mid[[i]] - y.mid[[j]]
            rad = y.radius()
            y = MidRad(difference, up(up(rad[[i]] + rad[[j]]) + U * np.abs(difference)))
        total.add(self.columns, self.columns, symmetric(y.T @ y), -1.0)
        return MidRad(total.mid, total.rad)

    def holds(self, bound: float, tau: np.ndarray, pair: tuple[int, int] | None = None) -> bool:
        """True only if |C dx| <= bound |dx_0| is proved. tau: (groups of all blocks,)."""
        if tau.shape != (self.groups,) or not ((tau == 0) | ((tau >= _LEAST) & (tau <= 1.0 / _LEAST))).all():  # NaN fails
            return False
        with np.errstate(over="ignore"):
            rho = float(down(np.square(float(bound))))
        if not (0 < bound < np.inf and _LEAST < rho < 1.0 / _LEAST):
            return False
        m = self.matrix(tau, pair)
        place = np.arange(self.start)
        whole, rad = m.mid, m.radius()
        whole[place, place] += rho
        rad[place, place] = up(rad[place, place] + U * np.abs(whole[place, place]))
        return verified_pd(whole, rad)


def _multipliers(total: _Sum, tau: np.ndarray, block: Block, live: np.ndarray, phi: np.ndarray, own: slice, z: MidRad, columns: np.ndarray) -> None:
    """The terms of one block; z the live rows, in `columns` of d."""
    place = np.arange(own.start, own.stop)
    lo, hi = block.lo[live], block.hi[live]
    if block.inside is None or block.outside is None:
        # What is left out is decided on the slopes themselves, never on a product of floats: one that underflows is not zero.
        t = tau[live]
        total.diagonal(place, t)
        low, high = z.rows(lo), z.rows(hi)
        if (lo != -hi).any():
            cross = (low + high).rows(0.5 * t)  # exact: `holds` refuses multipliers next to the smallest floats
            total.add(place, columns, cross, -1.0)
            total.add(columns, place, cross.T, -1.0)
        if ((lo != 0) & (hi != 0)).any():
            total.add(columns, columns, symmetric(low.T @ high.rows(t)), 1.0)
    else:
        total.diagonal(place, tau[block.outside[phi]])
        reach = z.rows(hi)
        total.add(columns, columns, symmetric(reach.T @ reach.rows(tau[block.inside[live]])), -1.0)


class _Sum:
    """A sum of enclosed pieces; the rounding of each addition, at most u times its float result, goes into the radius."""

    def __init__(self, size: int):
        self.mid, self.rad = np.zeros((size, size)), np.zeros((size, size))

    def add(self, rows: np.ndarray, columns: np.ndarray, term: MidRad, sign: float) -> None:
        place = np.ix_(rows, columns)
        mid = self.mid[place] + sign * term.mid
        self.rad[place] = up(up(self.rad[place] + term.radius()) + U * np.abs(mid))
        self.mid[place] = mid

    def diagonal(self, place: np.ndarray, values: np.ndarray) -> None:
        mid = self.mid[place, place] + values
        self.rad[place, place] = up(self.rad[place, place] + U * np.abs(mid))
        self.mid[place, place] = mid
