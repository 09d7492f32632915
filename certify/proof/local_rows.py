"""The one-sided matrix inequality of one input and class, built anew: m + Y v > 0 on |dx|_2 <= r, v the increments of the network around x0.

In the coordinates w = (1, dx, q of all blocks), q = dh for blocks with one kink (phi = a z + (b - a) h, h = max(z, 0)) and q = dphi for the others, every dz is a
linear map of w. On the ball, where the boxes hold, with p0 = max(z0, 0), n0 = max(-z0, 0), s = the chord slopes [lo, hi] of `local_lines.chords`:
    t (q - lo dz)(q - hi dz) <= 0        p (q + p0)(q - dz + n0) = 0        -v (q + p0) <= 0        -x (q - dz + n0) <= 0        t (|q_g|^2 - |c o dz_g|^2) <= 0
since h(z) (h(z) - z) = 0, h(z) >= 0, h(z) >= z. Added up, with p0 n0 = 0 and p0 + n0 = |z0|, they are per entry
    (t + p) q^2 - (t (lo + hi) + p) q dz + t lo hi dz^2 + (p |z0| - v - x) q + (x - p p0) dz - v p0 - x n0 <= 0.
Claim: M = E_0 - rho e e' + theta_0 sym(e, m e + Y) + the sum of these forms > 0, theta >= 0, rho >= r^2, gives 0 < w'M w <= |dx|^2 - rho + theta_0 (m + Y v).
Left out of w: entries with lo = hi in {0, 1} (their q is lo dz) and those that cannot move; and, per class, a q without multipliers that stands in no row with
any. Both are decided on patterns of exact zeros (`patterns`), never on products. theta: the margin's first, then kind * groups + group, kinds t, p, v, x.
"""

from __future__ import annotations

import numpy as np

from ..core.midrad import MidRad
from ..core.posdef import verified_pd
from ..core.rounding import TINY, U, exact_difference, up
from . import fields
from .chain import scaled_rows, symmetric
from .local_lines import Ends, chords
from .local_values import LIMIT, Network, bounded, patterns
from .sdp_inequality import LARGEST, _Sum

KINDS = 4


class Rows:
    """What the classes of one input share: the chords, which entries stay, and every dz in the coordinates."""

    def __init__(self, network: Network, z: Ends, box: Ends):
        self.network, self.z = network, z
        self.slopes: list[Ends] = []
        self.live: list[tuple[np.ndarray, np.ndarray]] = []  # entries of z and of phi that stay
        self.fixed: list[np.ndarray] = []  # slopes of phi where it is known
        self.moves: list[np.ndarray] = []
        for i, place in enumerate(network.places):
            self._block(i, (z[0][place], z[1][place]), (box[0][place], box[1][place]))
        counts = [int(phi.sum()) for _, phi in self.live]
        self.starts = (1 + network.reading.input_size + np.cumsum([0, *counts])).tolist()
        self.size = self.starts[-1]
        if self.size > LARGEST:
            raise fields.refuse("a matrix inequality is too large for the checker", "arrays/local_mode", f"{self.size} rows", f"at most {LARGEST}")
        self.dz: list[MidRad] = []
        self.phi: dict[str, MidRad] = {network.reading.input: MidRad(np.eye(network.reading.input_size, self.size, 1))}
        for i in range(len(network.blocks)):
            self._value(i)

    def _block(self, i: int, z: Ends, box: Ends) -> None:
        (_, block), kind, network = self.network.blocks[i], self.network.kinds[i], self.network
        lo, hi = chords(kind, block, z, box)
        moving = dict(zip([network.reading.input, *(name for name, _ in network.blocks)], [np.ones(network.reading.input_size, bool), *self.moves]))
        moves = np.zeros(len(block.lo), bool)
        for source, pattern in network.patterns[i].items():
            moves |= pattern[:, moving[source]].any(axis=1)
        if block.inside is not None and block.outside is not None:
            alive = np.bincount(block.inside, moves, block.groups)[block.outside] > 0
            fixed = np.zeros(len(alive))
            self.live.append((moves, alive))
            after = alive
        else:
            known = (lo == hi) & ((kind[0] == "slopes") | (lo == 0) | (lo == 1))
            alive = moves & ~known
            fixed = _plain_slope(kind, np.where(moves & known, lo, 0.0), moves & ~alive)
            self.live.append((alive, alive))
            after = alive | (moves & (fixed != 0))
        self.slopes.append((lo, hi))
        self.fixed.append(fixed)
        self.moves.append(after)

    def _value(self, i: int) -> None:
        """dz and dphi of one block as maps of w."""
        (name, block), kind, network = self.network.blocks[i], self.network.kinds[i], self.network
        total = MidRad(np.zeros((len(block.lo), self.size)))
        for number, (source, m) in enumerate(network.into[i].items()):
            term = m @ self.phi[source]
            total = term if number == 0 else total + term
        if not bounded(total, LIMIT).all():
            raise fields.refuse("the increments of a block are too large for a matrix inequality", name, expected="at most 2^200")
        self.dz.append(total)
        alive = self.live[i][1]
        place = np.full(len(alive), -1)
        place[alive] = np.arange(self.starts[i], self.starts[i + 1])
        own = np.zeros((len(alive), self.size))
        if kind[0] != "bent":
            own[alive, place[alive]] = 1.0
            phi = MidRad(own) if not self.fixed[i].any() else scaled_rows(total, self.fixed[i]) + MidRad(own)
        else:
            below, above = kind[1], kind[2]
            rise = above - below
            own[alive, place[alive]] = rise[alive]
            slack = np.where(exact_difference(above, below), 0.0, 2 * U * np.abs(rise))
            rad = np.zeros_like(own)
            rad[alive, place[alive]] = slack[alive]
            path = np.where(alive, below, self.fixed[i])
            phi = MidRad(own, rad)
            if path.any():
                phi = scaled_rows(total, path) + phi
        self.phi[name] = phi

    def holds(self, label: int, other: int, margin: float, theta: np.ndarray, rho: float) -> bool:
        """True only if z_label - z_other > 0 is proved on the ball of radius sqrt(rho); theta: float64 (1 + KINDS groups,), margin: at most the one at x0."""
        if not (np.isfinite(theta).all() and (theta >= 0).all() and np.isfinite(margin) and 0 < rho < np.inf):
            return False
        rows = self.network.pair_rows(label, np.array([other]))
        multipliers = theta[1:].reshape(KINDS, self.network.groups)
        kept = self._needed(rows, multipliers)
        place = np.cumsum(kept) - 1
        total = _Sum(int(kept.sum()))
        corner = _Sum(1)
        for i in range(len(self.network.blocks)):
            self._add(total, corner, i, multipliers[:, self.network.multipliers[i]], kept, place)
        self._finish(total, corner, rows, float(theta[0]), margin, rho, kept)
        mid, rad = total.mid, total.rad
        if not (np.isfinite(mid).all() and np.isfinite(rad).all()):
            return False
        return verified_pd(np.tril(mid) + np.tril(mid, -1).T, np.maximum(rad, rad.T))

    def _needed(self, rows: dict[str, MidRad], multipliers: np.ndarray) -> np.ndarray:
        """Which coordinates stand in some row with a multiplier, or in the margin."""
        network = self.network
        wanted = {source: pattern.any(axis=0) for source, pattern in patterns(rows).items()}
        kept = np.zeros(self.size, bool)
        kept[: self.starts[0]] = True
        for i in range(len(network.blocks) - 1, -1, -1):
            name, block = network.blocks[i]
            live_z, alive = self.live[i]
            mine = (multipliers[:, network.multipliers[i]] != 0).any(axis=0)
            asked = wanted.get(name, np.zeros(block.size, bool))
            if block.inside is not None and block.outside is not None:
                need, used = live_z & mine[block.inside], alive & (mine[block.outside] | asked)
            else:
                path = np.where(alive, network.kinds[i][1] if network.kinds[i][0] == "bent" else 0.0, self.fixed[i])
                need, used = (alive & mine) | (asked & (path != 0)), alive & (mine | asked)
            kept[self.starts[i] : self.starts[i + 1]] = used[alive]
            for source, pattern in network.patterns[i].items():
                found = pattern[need].any(axis=0)
                wanted[source] = wanted[source] | found if source in wanted else found
        return kept

    def _add(self, total: _Sum, corner: _Sum, i: int, theta: np.ndarray, kept: np.ndarray, place: np.ndarray) -> None:
        """The forms of one block."""
        (_, block), kind, entries = self.network.blocks[i], self.network.kinds[i], self.network.places[i]
        live_z, alive = self.live[i]
        (lo, hi), columns, dz = self.slopes[i], np.arange(len(total.mid)), self.dz[i]
        if block.inside is not None and block.outside is not None:
            inner, t = np.flatnonzero(live_z & (theta[0] != 0)[block.inside]), theta[0]
            phi = alive & (t != 0)[block.outside]
            own = place[self.starts[i] + np.flatnonzero(phi[alive])]
            total.diagonal(own, t[block.outside[phi]])
            squares = -(t[block.inside[inner]] * hi[inner] * hi[inner])
            self._squares(total, _part(dz, inner, kept), squares, 4 * U * np.abs(squares) + TINY * (1.0 + np.abs(hi[inner])), columns)
            return
        use = np.flatnonzero(alive & (theta != 0).any(axis=0))
        if not len(use):
            return
        own = place[self.starts[i] + (np.cumsum(alive) - 1)[use]]
        t, p, v, x = theta[:, use] if kind[0] == "bent" else (theta[0, use], *np.zeros((3, len(use))))
        lo, hi, z = lo[use], hi[use], _part(dz, use, kept)
        total.diagonal(own, t)
        if p.any():
            total.diagonal(own, p)
        cross = -0.5 * (t * (lo + hi) + p)
        slack = up(8 * U * (t * (np.abs(lo) + np.abs(hi)) + p)) + TINY
        term = scaled_rows(z, cross, slack)
        total.add(own, columns, term, 1.0)
        total.add(columns, own, term.T, 1.0)
        squares = t * lo * hi
        curved = (t != 0) & (lo != 0) & (hi != 0)
        if curved.any():
            self._squares(total, _part(z, np.flatnonzero(curved)), squares[curved], (4 * U * np.abs(squares) + TINY * (1.0 + np.abs(hi)))[curved], columns)
        if (theta[1:, use] != 0).any() and kind[0] == "bent":
            self._linear(total, corner, (self.z[0][entries][use], self.z[1][entries][use]), (p, v, x), own, z)

    @staticmethod
    def _squares(total: _Sum, z: MidRad, weights: np.ndarray, slack: np.ndarray, columns: np.ndarray) -> None:
        if len(weights):
            total.add(columns, columns, symmetric(z.T @ scaled_rows(z, weights, slack)), 1.0)

    @staticmethod
    def _linear(total: _Sum, corner: _Sum, z0: Ends, theta: tuple, own: np.ndarray, z: MidRad) -> None:
        """Half of what multiplies q and dz, in the row and column of e, and what is constant. max(., 0) and |.| move no more than their argument."""
        p, v, x = theta
        middle = 0.5 * z0[0] + 0.5 * z0[1]
        off = up(np.maximum(z0[1] - middle, middle - z0[0]))
        positive, negative = np.maximum(middle, 0.0), np.maximum(-middle, 0.0)
        first = np.zeros(1, np.int64)
        q = MidRad((0.5 * (p * np.abs(middle) - v - x))[None], (up((0.5 * p * off + 8 * U * (p * np.abs(middle) + v + x)) * (1 + 16 * U)) + TINY)[None])
        total.add(first, own, q, 1.0)
        total.add(own, first, q.T, 1.0)
        d = MidRad((0.5 * (x - p * positive))[None], (up((0.5 * p * off + 8 * U * (x + p * positive)) * (1 + 16 * U)) + TINY)[None])
        row = d @ z
        columns = np.arange(len(total.mid))
        total.add(first, columns, row, 1.0)
        total.add(columns, first, row.T, 1.0)
        pair = MidRad(np.concatenate([v, x])[None]) @ MidRad(np.concatenate([positive, negative])[:, None], np.concatenate([off, off])[:, None])
        corner.add(first, first, pair, -1.0)

    def _finish(self, total: _Sum, corner: _Sum, rows: dict[str, MidRad], first: float, margin: float, rho: float, kept: np.ndarray) -> None:
        """E_0 - rho e e' + theta_0 sym(e, m e + Y)."""
        y = MidRad(np.zeros((1, self.size)))
        for source, m in rows.items():
            y = y + m @ self.phi[source]
        y = _part(y, np.zeros(1, np.int64), kept)
        half = scaled_rows(y, np.array([0.5 * first]), TINY)
        one, columns = np.zeros(1, np.int64), np.arange(len(total.mid))
        total.add(one, columns, half, 1.0)
        total.add(columns, one, half.T, 1.0)
        inputs = np.arange(1, 1 + self.network.reading.input_size)
        total.diagonal(inputs, np.ones(len(inputs)))
        corner.add(one, one, MidRad(np.array([[first]])) @ MidRad(np.array([[margin]])), 1.0)
        corner.diagonal(one, np.array([-rho]))
        total.add(one, one, MidRad(corner.mid, corner.rad), 1.0)


def _plain_slope(kind: tuple, slope: np.ndarray, used: np.ndarray) -> np.ndarray:
    """The slope of phi where that of the rectifier (0 or 1), or of the activation, is known; 0 elsewhere."""
    if kind[0] == "slopes":
        return np.where(used, slope, 0.0)
    return np.where(used, np.where(slope == 1, kind[2], kind[1]), 0.0)


def _part(a: MidRad, rows: np.ndarray, columns: np.ndarray | None = None) -> MidRad:
    mid, rad = a.mid[rows], None if a.rad is None else a.rad[rows]
    return MidRad(mid, rad) if columns is None else MidRad(mid[:, columns], None if rad is None else rad[:, columns])
