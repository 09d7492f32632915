"""What really happens between two runs of a network, tensor by tensor: the truth that readings, inequalities and metrics are held against."""

from __future__ import annotations

import numpy as np

from certify.core.graph import Graph
from certify.core.midrad import full
from certify.proof.parts import Linear, Reading


def values(graph: Graph, reading: Reading, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """(n, size) of every tensor of the reading of a folded graph; those that the graph does not have from the reading's own linear maps of true values."""
    n = len(inputs)
    found = {node.name: Graph(graph.nodes, node.name)(inputs).reshape(n, -1) for node in graph.nodes}
    for name, part in reading.parts.items():
        if name in found:
            continue
        if isinstance(part, Linear):
            found[name] = sum((found[t] @ full(m.mid).T for t, m in part.terms), np.zeros((n, part.size)))
        elif name.endswith("/abs"):
            found[name] = np.abs(found[part.before])
        else:  # NAME/rest: the sorted entries minus their group's mean
            (x, mean), _ = reading.parts[name.removesuffix("/rest")].terms
            found[name] = found[name.removesuffix("/rest")] - found[x] @ full(mean.mid).T
    return found


def pairs(graph: Graph, rng: np.random.Generator, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Inputs near and far from each other."""
    a = rng.normal(size=(count, *graph.input_shape)) * 1.5
    return a, a + rng.normal(size=a.shape) * 10.0 ** rng.uniform(-3, 0.7, size=(count,) + (1,) * (a.ndim - 1))


def increments(graph: Graph, reading: Reading, rng: np.random.Generator, count: int = 60) -> dict[str, np.ndarray]:
    a, b = pairs(graph, rng, count)
    first, second = values(graph, reading, a), values(graph, reading, b)
    return {name: second[name] - first[name] for name in first}


def linear_part_holds(graph: Graph, reading: Reading, d: dict[str, np.ndarray], tolerance: float = 1e-11) -> bool:
    """Every linear tensor moves as its terms say (biases drop out)."""
    for name, part in reading.parts.items():
        if isinstance(part, Linear):
            own = sum((d[t] @ full(m.mid).T for t, m in part.terms), np.zeros((len(d[reading.input]), part.size)))
            if not (np.abs(own - d[name]) <= tolerance * (1 + np.abs(d[name]))).all():
                return False
    return True


def blocks_hold(reading: Reading, d: dict[str, np.ndarray], tolerance: float = 1e-10) -> bool:
    """lo <= dphi/dz <= hi entry by entry, or |dphi_g| <= |r dz_g| group by group."""
    for name, block in reading.blocks:
        z, phi = d[block.before], d[name]
        if block.inside is None or block.outside is None:
            if not ((phi - block.lo * z) * (phi - block.hi * z) <= tolerance * (1 + z * z)).all():
                return False
            continue
        for group in range(block.groups):
            inner, outer = (block.hi * z)[:, block.inside == group], phi[:, block.outside == group]
            if not (np.linalg.norm(outer, axis=1) <= np.linalg.norm(inner, axis=1) + tolerance).all():
                return False
    return True


def inequality_holds(inequality, reading: Reading, d: dict[str, np.ndarray], tau: np.ndarray, tolerance: float = 1e-9) -> bool:
    """d'M d + |Y d|^2 = sum of tau (..)(..) <= 0 for what really happens."""
    m = inequality.matrix(tau)
    vector = np.zeros((len(d[reading.input]), inequality.size))
    vector[:, : reading.input_size] = d[reading.input]
    for _, block, _, phi, own, _, _ in inequality.inner:
        name = next(n for n, b in reading.blocks if b is block)
        vector[:, own] = d[name][:, phi]
    form = np.einsum("ni,ij,nj->n", vector, m.mid, vector) + np.square(d[reading.output]).sum(axis=1)
    return bool((form <= tolerance * tau.max() * (1 + np.square(vector).sum(axis=1))).all())


def metric_holds(matrix: np.ndarray, exponent: int, d: np.ndarray, inputs: np.ndarray, tolerance: float = 1e-9) -> bool:
    """dy lies in the ellipsoid of the metric: dy' P^-1 dy <= |dx_0|^2, on the range of P."""
    values, vectors = np.linalg.eigh(np.ldexp(matrix, 2 * exponent))
    keep = values > 1e-9 * values.max()
    inside = (np.square(d @ vectors[:, keep]) / values[keep]).sum(axis=1)
    outside = np.square(d @ vectors[:, ~keep]).sum(axis=1)
    return bool((inside <= np.square(inputs).sum(axis=1) * (1 + tolerance)).all() and (outside <= 1e-8 * (1 + np.square(d).sum(axis=1))).all())
