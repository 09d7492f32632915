"""One class, one ball: a matrix inequality that proves m + Y v > 0 on |dx|_2 <= sqrt(rho), v = the increments of the network around x0.

In the coordinates w = (1, dx, dphi_1, ..., dphi_k), neurons of known slope folded, every line below is left(w) right(w) <= 0 for the true increments at any dx in
the region on which the boxes hold. Rectifier with z0 in [z, Z], p0 = max(z0, 0), n0 = max(-z0, 0) (both enclosed):
    (dphi + p0)(dphi - dz + n0) = 0                        h(z)(h(z) - z) = 0
    -1 (dphi + p0) <= 0,   -1 (dphi - dz + n0) <= 0        h(z) >= 0, h(z) >= z
and any scalar slopes:  (dphi - lo dz)(dphi - hi dz) <= 0, anchored at x0;  groups:  |dphi_g|^2 - |reach o dz_g|^2 <= 0.
The chord of the rectifier and the box of z were tried as further lines: no gain to four digits on the digits networks, so they are left out.
Claim: if theta >= 0 and
    M = E_0 - rho e e' + theta_0 sym(e, m e + Y) + sum_i theta_i sym(left_i, right_i)  > 0        (e the first coordinate, E_0 the identity on dx)
for one M inside every enclosure, then m + Y v > 0 for every dx in the region with |dx|^2 <= rho. Proof: 0 < w'M w <= |dx|^2 - rho + theta_0 (m + Y v), so
theta_0 (m + Y v) > 0. [] The rows hold enclosures (the true numbers lie in them): M is enclosed, and `verified_pd` proves every matrix in the enclosure.
Only diagonal multipliers; the linear term is what makes it one-sided: a lower bound of the margin, not of its size.
Source: Raghunathan, Steinhardt, Liang 2018 for the rectifier's constraints; methods/network_lipschitz.md sections 5 to 7.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...core.midrad import MidRad
from ...core.posdef import verified_pd
from ...core.rounding import TINY, U, up
from ..sdp.chain import Chain, Layer

SECTOR, PRODUCT, VALUE, EXCESS = range(4)  # the multipliers of a group, the slopes' first, then the rectifier's lines in the order above
KINDS = 4


@dataclass(frozen=True, eq=False)
class Problem:
    """Each row is (a, b) with left = a_0 e + a_1 dphi_phi + a_2 dz_z, right likewise by b; `uncertain` is the radius of a_0 and b_0.

    z: (n, size) the live dz; phi: coordinate of dphi, or 0 with a_1 = b_1 = 0; entry: row of z; owner: multiplier of the row, 0 for the margin.
    place: where multiplier i > 0 stands in the stored row, kind * groups + group. margin: the right side of row 0 (its left side is e)."""

    inputs: int
    z: MidRad
    phi: np.ndarray
    entry: np.ndarray
    left: np.ndarray
    right: np.ndarray
    uncertain: np.ndarray
    owner: np.ndarray
    place: np.ndarray
    groups: int
    margin: MidRad

    @property
    def size(self) -> int:
        return self.z.shape[1]

    def rows(self, coefficients: np.ndarray, uncertain: np.ndarray) -> MidRad:
        """The rows as enclosed vectors."""
        z = MidRad(self.z.mid[self.entry], self.z.radius()[self.entry]).rows(coefficients[:, 2])
        mid, rad, i = z.mid.copy(), z.radius().copy(), np.arange(len(self.phi))
        for column, value, radius in ((self.phi, coefficients[:, 1], 0.0), (np.zeros_like(self.phi), coefficients[:, 0], uncertain)):
            mid[i, column] += value
            rad[i, column] = up(rad[i, column] + radius + 2 * U * np.abs(mid[i, column])) + TINY
        return MidRad(mid, rad)

    def sectors(self) -> Problem:
        """Without the rectifier's own lines."""
        keep, rows = self.place < self.groups, np.concatenate([[True], self.place < self.groups])[self.owner]
        owner = np.concatenate([[0], np.cumsum(keep)])[self.owner[rows]]
        return replace(
            self, phi=self.phi[rows], entry=self.entry[rows], left=self.left[rows], right=self.right[rows], uncertain=self.uncertain[rows], owner=owner, place=self.place[keep]
        )


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of the z entries of one point: ends of z0 (entries,), which are rectifiers, and the entries of each block."""

    z: tuple[np.ndarray, np.ndarray]
    relu: np.ndarray
    sizes: list[int]


def problem(chain: Chain, alive: tuple[np.ndarray, ...], facts: Facts, margin: float) -> Problem:
    """The rows of one point. chain: reduced, its last matrix the one row Y; alive: what `reduced` returned (the groups that stay, per block of the whole chain)."""
    size = 1 + chain.input_size + sum(layer.inject.shape[1] for layer in chain.layers)
    eye = np.eye(size)
    state, at = MidRad(eye[1 : 1 + chain.input_size]), 1 + chain.input_size
    table, layers, entry, group = _Table(sum(len(a) for a in alive)), iter(chain.layers), 0, 0
    for live, entries in zip(alive, facts.sizes, strict=True):
        if live.any():
            layer = next(layers)
            z, own = layer.weight.dense() @ state, eye[at : at + layer.inject.shape[1]]
            if layer.inside is None or layer.outside is None:
                table.scalar(layer, z, at, facts, entry + np.flatnonzero(live), group + np.flatnonzero(live))
            else:
                table.groups(layer, z, at, group + np.flatnonzero(live))
            new = layer.inject.dense() @ MidRad(own)
            state = new if layer.keep is None else layer.keep.dense() @ state + new
            at += len(own)
        entry, group = entry + entries, group + len(live)
    y = chain.last.dense() @ state
    y.mid[:, 0] += margin
    return table.done(chain.input_size, MidRad(y.mid, y.radius() + 2 * U * abs(margin) * eye[:1] + TINY))


class _Table:
    """Collects the rows."""

    def __init__(self, groups: int):
        self.in_all, self.seen = groups, 0
        self.zs: list[MidRad] = []
        self.columns: list[tuple[np.ndarray, ...]] = []
        self.places: list[int] = []

    def add(self, kind: int, groups: np.ndarray, phi: np.ndarray, entry: np.ndarray, left: tuple, right: tuple, uncertain=0.0, owner: np.ndarray | None = None) -> None:
        count, one = len(phi), np.ones(len(phi))
        own = 1 + len(self.places) + (np.arange(len(groups)) if owner is None else owner)
        self.places += (kind * self.in_all + groups).tolist()
        a, b = (np.stack([np.broadcast_to(c, one.shape) for c in side], axis=1).astype(np.float64) for side in (left, right))
        self.columns.append((phi, entry, a, b, np.broadcast_to(uncertain, (count,)), own))

    def scalar(self, layer: Layer, z: MidRad, at: int, facts: Facts, entries: np.ndarray, groups: np.ndarray) -> None:
        i = np.arange(len(entries))
        self.add(SECTOR, groups, at + i, self.seen + i, (0.0, 1.0, -layer.lo), (0.0, 1.0, -layer.hi))
        i = np.flatnonzero(facts.relu[entries])
        low, high = facts.z[0][entries[i]], facts.z[1][entries[i]]
        middle = 0.5 * low + 0.5 * high
        off = up(np.maximum(high - middle, middle - low))  # max(., 0) moves no more than its argument
        value, excess = (np.maximum(middle, 0.0), 1.0, 0.0), (np.maximum(-middle, 0.0), 1.0, -1.0)
        phi, entry = at + i, self.seen + i
        self.add(PRODUCT, groups[i], phi, entry, value, excess, off)
        self.add(VALUE, groups[i], phi, entry, (-1.0, 0.0, 0.0), value, off)
        self.add(EXCESS, groups[i], phi, entry, (-1.0, 0.0, 0.0), excess, off)
        self.seen += len(entries)
        self.zs.append(z)

    def groups(self, layer: Layer, z: MidRad, at: int, groups: np.ndarray) -> None:
        if layer.inside is None or layer.outside is None:
            raise ValueError("a layer of groups without groups")
        p, n = len(layer.outside), len(layer.inside)
        phi, entry = np.concatenate([at + np.arange(p), np.full(n, at)]), np.concatenate([np.full(p, self.seen), self.seen + np.arange(n)])
        b, c = np.concatenate([np.ones(p), np.zeros(n)]), np.concatenate([np.zeros(p), layer.half])
        self.add(SECTOR, groups, phi, entry, (0.0, b, -c), (0.0, b, c), owner=np.concatenate([layer.outside, layer.inside]))
        self.seen += n
        self.zs.append(z)

    def done(self, inputs: int, margin: MidRad) -> Problem:
        z = MidRad(np.vstack([z.mid for z in self.zs]), np.vstack([z.radius() for z in self.zs]))
        phi, entry, left, right, uncertain, owner = (np.concatenate(c) for c in zip(*self.columns, strict=True))
        return Problem(inputs, z, phi, entry, left, right, uncertain, owner, np.array(self.places, np.int64), self.in_all, margin)


def holds(p: Problem, theta: np.ndarray, radius: float) -> bool:
    """Whether M > 0 is proved for rho >= radius^2 and the multipliers theta (1 + multipliers,), the margin's first. False: no statement."""
    if not (np.isfinite(theta).all() and (theta >= 0).all() and np.isfinite(radius)):
        return False
    constant = np.all(p.left[:, 1:] == 0.0, axis=1)  # a left side -1 is exact
    left, right = p.rows(p.left, np.where(constant, 0.0, p.uncertain)), p.rows(p.right, p.uncertain)
    first = MidRad(np.eye(p.size)[:, :1]) @ p.margin.rows(theta[:1])
    product = left.T @ right.rows(theta[p.owner]) + first
    mid = 0.5 * (product.mid + product.mid.T)
    rad = product.radius()
    rad = up(np.maximum(rad, rad.T) + 2 * U * np.abs(mid)) + TINY
    corner, place = np.zeros(p.size), np.arange(p.size)
    corner[0], corner[1 : 1 + p.inputs] = -up(radius * radius), 1.0
    mid[place, place] += corner
    rad[place, place] = up(rad[place, place] + 2 * U * np.abs(mid[place, place]))
    return verified_pd(mid, rad)
