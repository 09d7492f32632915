"""What really happens between runs of a network, tensor by tensor of its parts: the truth that chains, inequalities and metrics are held against."""

from __future__ import annotations

import numpy as np

from certify.constants.sdp.chain import Chain, Layer, chain_of
from certify.constants.sdp.primitives import Block, Linear, Parts, parts_of
from certify.core.errors import HypothesisError, UnsupportedLayerError
from certify.core.fold import fold_affine
from certify.core.graph import Graph
from certify.core.midrad import full


class Truth:
    """Increments (count, size) of every tensor between `count` pairs of inputs, and the rounding to expect in them."""

    def __init__(self, graph: Graph, first: np.ndarray, second: np.ndarray):
        self.graph = fold_affine(graph).pruned()
        self.parts: Parts = parts_of(graph)
        a, b = self._values(first), self._values(second)
        self.d = {name: b[name] - a[name] for name in a}
        self.room = 1e-11 * (1.0 + max(max(np.abs(v).max(initial=0.0) for v in values.values()) for values in (a, b)))
        self.inputs = np.linalg.norm(self.d[self.parts.input], axis=1)

    def _values(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Of the graph's own tensors by its own evaluation; what only the rewriting knows follows from those."""
        found = {node.name: Graph(self.graph.nodes, node.name)(x).reshape(len(x), -1) for node in self.graph.nodes}
        for name, part in self.parts.parts.items():
            if name in found:
                continue
            if isinstance(part, Linear):
                found[name] = sum((found[t] @ full(m.mid).T for t, m in part.terms), np.zeros((len(x), part.size)))
            elif name.endswith("/abs"):
                found[name] = np.abs(found[part.before])
            else:  # NAME/rest: the sorted entries, less the mean of their group
                whole = name.removesuffix("/rest")
                source, mean = self.parts.parts[whole].terms[0]
                found[name] = found[whole] - found[source] @ full(mean.mid).T
        return found

    def stacked(self, names) -> np.ndarray:
        return np.concatenate([self.d[name] for name in names], axis=1)


def pairs(graph: Graph, rng: np.random.Generator, count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Inputs near and far from each other."""
    a = rng.normal(size=(count, *graph.input_shape)) * 10.0 ** rng.uniform(-1, 0.7, size=(count,) + (1,) * len(graph.input_shape))
    return a, a + rng.normal(size=a.shape) * 10.0 ** rng.uniform(-3, 0.7, size=(count,) + (1,) * (a.ndim - 1))


def truth_of(graph: Graph, seed: int, count: int = 24) -> Truth:
    return Truth(graph, *pairs(graph, np.random.default_rng(seed), count))


def chain_or_none(graph: Graph) -> Chain | None:
    """None where there is no chain: an affine network, an operator without constant."""
    try:
        return chain_of(graph)
    except (HypothesisError, UnsupportedLayerError):
        return None


def times(a, rows: np.ndarray) -> np.ndarray:
    return rows @ full(a.mid).T


def block_excess(layer: Layer, z: np.ndarray, phi: np.ndarray) -> float:
    """The largest |(dphi - m dz)_g| - |(r dz)_g|, which the layer says is at most 0."""
    if layer.inside is None:
        return float((np.abs(phi - layer.middle * z) - layer.half * np.abs(z)).max(initial=-np.inf))
    inner, outer = np.zeros((len(z), layer.groups)), np.zeros((len(z), layer.groups))
    for row, (a, b) in enumerate(zip(np.square(layer.half * z), np.square(phi))):
        np.add.at(inner[row], layer.inside, a)
        np.add.at(outer[row], layer.outside, b)
    return float((np.sqrt(outer) - np.sqrt(inner)).max(initial=-np.inf))


def walked(chain: Chain, start: np.ndarray, blocks: list[np.ndarray]) -> np.ndarray:
    """The output increments of s' = H s + G dphi, C s."""
    s = start
    for layer, phi in zip(chain.layers, blocks, strict=True):
        s = times(layer.inject, phi) + (0.0 if layer.keep is None else times(layer.keep, s))
    return times(chain.last, s)


def block_name(parts: Parts, name: str) -> Block:
    part = parts.parts[name]
    assert isinstance(part, Block)
    return part
