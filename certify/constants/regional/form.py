"""A chain prepared for regions: dense matrices, and every activation with one kink at 0 rewritten through the rectifier.

Claim: with h = max(z, 0), an activation phi(z) = a z for z <= 0 and b z for z >= 0 (ReLU, leaky ReLU, PReLU, absolute value) is a z + (b - a) h, so
    s' = H s + G dphi = (H + G diag(a) W) s + G diag(b - a) dh,   dz = W s,
the same chain with another H and G whose block is the rectifier. The other blocks stay: "slopes" (one slope range per entry) and "groups".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...core.activation import Activation, activation_of
from ...core.graph import Graph
from ...core.midrad import MidRad
from ...core.rounding import U
from ..sdp.chain import Chain, Layer

LARGEST = 1 << 20  # entries of a state or a block: the rounding arguments of `boxes` count on it


@dataclass(frozen=True, eq=False)
class Step:
    """One block: dz = W s, s' = H s + G dphi (H None: zero). kind "relu": dphi = max(z, 0) - max(z0, 0) entry by entry; "slopes": phi is
    `activation`; "groups": |dphi_g|_2 <= |(reach o dz)_g|_2."""

    kind: str
    weight: MidRad
    inject: MidRad
    keep: MidRad | None
    layer: Layer
    activation: Activation | None = None

    @property
    def size(self) -> int:
        """Entries of z."""
        return self.weight.shape[0]

    def as_layer(self, lo: np.ndarray, hi: np.ndarray) -> Layer:
        """The layer of a chain with other slopes (groups keep theirs)."""
        if self.kind == "groups":
            lo, hi = self.layer.lo, self.layer.hi
        return Layer(self.weight, self.inject, self.keep, lo, hi, self.layer.inside, self.layer.outside, self.layer.node)


@dataclass(frozen=True, eq=False)
class Form:
    """The steps, the last matrix, and where the z entries of each step lie in one row of boxes."""

    input_size: int
    steps: tuple[Step, ...]
    last: MidRad
    blocks: tuple[str, ...]

    @property
    def places(self) -> list[slice]:
        ends = np.cumsum([0, *(step.size for step in self.steps)]).tolist()
        return [slice(a, b) for a, b in zip(ends, ends[1:])]

    @property
    def entries(self) -> int:
        return sum(step.size for step in self.steps)

    def chain(self, lo: np.ndarray, hi: np.ndarray) -> Chain:
        """The chain with the slopes lo, hi (entries,) of one point."""
        layers = tuple(step.as_layer(lo[p], hi[p]) for step, p in zip(self.steps, self.places))
        return Chain(self.input_size, layers, self.last, self.blocks)


def form_of(graph: Graph, chain: Chain) -> Form:
    """The prepared chain; `graph` is the folded graph whose chain it is (its nodes say which activation a block is)."""
    steps = tuple(_step(graph, layer) for layer in chain.layers)
    if max(max(*s.weight.shape, *s.inject.shape) for s in steps) > LARGEST:
        raise ValueError("a state of more than 2^20 entries")
    return Form(chain.input_size, steps, chain.last.dense(), chain.blocks)


def _step(graph: Graph, layer: Layer) -> Step:
    weight, inject = layer.weight.dense(), layer.inject.dense()
    keep = None if layer.keep is None else layer.keep.dense()
    if layer.inside is not None:
        return Step("groups", weight, inject, keep, layer)
    activation = activation_of(graph[layer.node]) if layer.node else None
    bent = _bend(activation, graph[layer.node].shape if layer.node else (len(layer.lo),))
    if bent is None:
        return Step("slopes", weight, inject, keep, layer, activation)
    below, above = bent
    if below.any():
        path = inject @ weight.rows(below)
        keep = path if keep is None else keep + path
    change = above - below
    if not (change == 1.0).all():
        plain = np.isin(below, (-1.0, 0.0, 1.0)).all() and (above == 1.0).all()
        inject = inject @ MidRad(np.diag(change), None if plain else np.diag(2 * U * np.abs(change)))
    return Step("relu", weight, inject, keep, layer)


def _bend(activation: Activation | None, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """Slopes left and right of 0, per entry, of an activation that is linear on both sides; None for another one."""
    ones = np.ones(math.prod(shape))
    if activation is None or activation.kind == "abs":  # a rewritten block is an absolute value
        return -ones, ones
    if activation.kind == "relu":
        return 0.0 * ones, ones
    if activation.kind == "leaky_relu":
        return float(getattr(activation, "alpha")) * ones, ones  # noqa: B009
    if activation.kind == "prelu":
        return np.broadcast_to(getattr(activation, "slope"), shape).astype(np.float64).ravel(), ones  # noqa: B009
    return None
