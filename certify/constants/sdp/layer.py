"""One block of a chain, and the chain: increments of a network from its input to its output."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...core.midrad import MidRad, full
from ...core.rounding import exact_difference, up


@dataclass(frozen=True, eq=False)
class Layer:
    """One block: matrices W (n_z, n_state), G (n_next, n_phi), H (n_next, n_state) or None for 0; slopes lo, hi per entry of z.

    inside, outside: group of every entry of z and of phi; None: entry i of both is group i (scalar slopes). node: the activation node, "" if rewritten.
    """

    weight: MidRad
    inject: MidRad
    keep: MidRad | None
    lo: np.ndarray
    hi: np.ndarray
    inside: np.ndarray | None = None
    outside: np.ndarray | None = None
    node: str = ""

    @property
    def middle(self) -> np.ndarray:
        """m as a float; `half` is taken around this very float."""
        return 0.5 * self.lo + 0.5 * self.hi if self.inside is None else np.zeros(len(self.lo))

    @property
    def half(self) -> np.ndarray:
        """r: upper ends of |slope - m|; exactly 0 where lo = hi."""
        m = self.middle
        exact = exact_difference(self.hi, m) & exact_difference(m, self.lo)
        return np.where(exact, np.maximum(self.hi - m, m - self.lo), up(np.maximum(self.hi - m, m - self.lo)))

    @property
    def groups(self) -> int:
        return len(self.lo) if self.inside is None else int(self.inside.max(initial=-1)) + 1

    def spread(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The multipliers u (groups,) on the entries of z and on those of phi."""
        return (u, u) if self.inside is None or self.outside is None else (u[self.inside], u[self.outside])

    def through(self) -> MidRad:
        """K = H + G diag(m) W, for scalar slopes; H where m = 0."""
        m = self.middle
        if m.any():
            path = self.inject @ self.weight.rows(m)
            return path if self.keep is None else self.keep + path
        return MidRad(np.zeros((self.inject.shape[0], self.weight.shape[1]))) if self.keep is None else self.keep

    def live(self, moving: np.ndarray | None = None) -> np.ndarray:
        """Which groups have something to search, given which state entries can move at all (None: all)."""
        moves = _reached(self.weight, moving) & (self.half > 0)
        return moves if self.inside is None else np.bincount(self.inside, moves, self.groups) > 0

    def moved(self, moving: np.ndarray, live: np.ndarray) -> np.ndarray:
        """Which entries of the next state can move."""
        phi = self.spread(live)[1]
        if self.inside is None:
            phi = phi | (_reached(self.weight, moving) & (self.middle != 0))
        after = _reached(self.inject, phi)
        return after if self.keep is None else after | _reached(self.keep, moving)

    def fixed(self, live: np.ndarray) -> Layer:
        """The layer with the groups `live` alone; the others follow their slope m, or do not move. Without live groups H is the whole map."""
        if live.all():
            return self
        z, phi = self.spread(live)
        m = np.where(z, 0.0, self.middle)
        keep = self.keep
        if self.inside is None and m.any():
            path = self.inject @ self.weight.rows(m)
            keep = path if keep is None else keep + path
        if keep is None and not live.any():
            keep = MidRad(np.zeros((self.inject.shape[0], self.weight.shape[1])))
        names = np.cumsum(live) - 1
        groups = (None, None) if self.inside is None or self.outside is None else (names[self.inside[z]], names[self.outside[phi]])
        return replace(self, weight=_part(self.weight, z), inject=_part(self.inject.T, phi).T, keep=keep, lo=self.lo[z], hi=self.hi[z], inside=groups[0], outside=groups[1])

    def with_slopes(self, lo: np.ndarray, hi: np.ndarray) -> Layer:
        return replace(self, lo=lo, hi=hi)


@dataclass(frozen=True, eq=False)
class Chain:
    """Layers and the last matrix: output difference = last @ state. blocks: the name of each layer's block; states: the tensors stacked after each layer."""

    input_size: int
    layers: tuple[Layer, ...]
    last: MidRad
    blocks: tuple[str, ...] = ()
    states: tuple[tuple[str, ...], ...] = ()

    @property
    def neurons(self) -> int:
        return sum(len(layer.lo) for layer in self.layers)

    @property
    def widest(self) -> int:
        """Rows of the largest block of the proof."""
        return max([self.input_size, *(layer.weight.shape[0] + layer.inject.shape[0] for layer in self.layers)])

    def reduced(self) -> tuple[Chain, tuple[np.ndarray, ...]]:
        """The chain without neurons that leave nothing to search: known slopes (r = 0) become part of the linear maps, and a neuron whose z never
        changes (a row of exact zeros in W) is dropped. Also the groups that stay, per layer of this chain. Layers without live neurons disappear."""
        layers, alive, before, moving = [], [], None, np.ones(self.input_size, bool)  # before: a linear map that follows the last kept layer
        for layer in self.layers:
            weight = layer.weight if before is None else layer.weight @ before
            live = layer.live(moving)
            moving = layer.moved(moving, live)
            alive.append(live)
            part = replace(layer, weight=weight, keep=layer.keep if before is None or layer.keep is None else layer.keep @ before)
            kept = part.fixed(live)
            if live.any():
                layers.append(kept)
                before = None
            else:
                before = kept.keep
        last = self.last if before is None else self.last @ before
        names = tuple(name for name, live in zip(self.blocks, alive) if live.any())
        return replace(self, layers=tuple(layers), last=last, blocks=names, states=()), tuple(alive)

    def towards(self, rows: np.ndarray) -> Chain:
        """The chain of rows @ output, for exact float rows (k, outputs)."""
        return replace(self, last=MidRad(np.asarray(rows, dtype=np.float64)) @ self.last)


def _reached(a: MidRad, columns: np.ndarray | None) -> np.ndarray:
    """Which rows have a possibly nonzero entry in one of the columns (None: any)."""
    mid, rad = np.abs(full(a.mid)), a.radius()
    used = slice(None) if columns is None else columns
    return (mid[:, used].max(axis=1, initial=0.0) > 0) | (rad[:, used].max(axis=1, initial=0.0) > 0)


def _part(a: MidRad, rows: np.ndarray) -> MidRad:
    """Some rows."""
    return MidRad(a.mid[np.flatnonzero(rows)], None if a.rad is None else a.rad[np.flatnonzero(rows)])
