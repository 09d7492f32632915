"""The semidefinite bound of a graph: what it would cost, the proved constant of the whole output, and constants of pairs of outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import HypothesisError, UnsupportedLayerError
from ..core.fold import fold_affine
from ..core.graph import Graph

if TYPE_CHECKING:
    from .sdp.solve import Inequality, Layered

Progress = Callable[[int, int, str], None]

AUTO = {"fast": 0.0, "balanced": 5.0, "tight": 600.0}  # seconds that method "auto" spends on a constant without being asked
PAIRS = {"fast": 0.0, "balanced": 20.0, "tight": 1200.0}  # seconds for all pairs of classes together
ASKED = 5.0  # seconds for pairs that were asked for by name, whatever the effort
_BLOCKS = frozenset("activation group_sort maximum minimum max_pool softmax log_softmax logsumexp layer_norm".split())


@dataclass(frozen=True)
class Cost:
    """Known before anything is assembled: rows of the matrix inequality, seconds of one interior point run, of one gradient run, bytes of a metric."""

    rows: int
    interior: float
    gradient: float
    bytes: int

    @property
    def least(self) -> float:
        """Seconds of the cheaper search that applies."""
        from .sdp.solve import LARGEST_INEQUALITY

        return min(self.interior if self.rows <= LARGEST_INEQUALITY else math.inf, self.gradient)


def cost_of(graph: Graph) -> Cost:
    """The cost of a semidefinite bound of this graph, from the sizes of its tensors alone."""
    graph = fold_affine(graph).pruned()
    sizes = {node.name: math.prod(node.shape) for node in graph.nodes}
    blocks = [node for node in graph.nodes if node.op in _BLOCKS or (node.op == "reduce" and node.attrs["kind"] in ("max", "min"))]
    neurons = sum(max(sizes[node.inputs[0]], sizes[node.name]) for node in blocks)
    rows = sizes[graph.input_node.name] + neurons
    widest = max(sizes.values())
    cubes = sum(float(sizes[node.inputs[0]] + sizes[node.name]) ** 3 for node in blocks)
    return Cost(rows, 15 * (5.5e-10 * float(rows) ** 3 + 4e-3), 60 * (7e-10 * cubes + 1e-3 * len(blocks)), 10 * 8 * (2 * widest) ** 2)


def semidefinite(graph: Graph, effort: str = "balanced", progress: Progress | None = None) -> Inequality | Layered:
    """A proved upper end of the l2 constant of the graph (LipSDP-Neuron quality, or the best that the budget allows).

    Claim: |f(x) - f(y)|_2 <= result.bound |x - y|_2 for all x, y, in exact real arithmetic; verified by positive definiteness, no solver is believed.

    Args:
        graph: any graph whose operators have a finite l2 constant. effort: 2, 30 or 600 seconds for the search.
    Raises:
        HypothesisError: the network is affine, or it is too large (memory is estimated first). UnsupportedLayerError: no finite constant.
    Cost: `cost_of(graph)`. Source: Fazlyab et al. 2019 (LipSDP); Xu and Sivaranjani 2024 (ECLipsE, the layer-wise recursion); methods/network_lipschitz.md 5 to 7.
    """
    from .sdp.chain import chain_of
    from .sdp.solve import solve

    return solve(chain_of(_affordable(graph)), effort, progress=progress)


def describe(proof: Inequality | Layered) -> dict:
    """JSON data about a proof: how it was found and proved, and what the search believed before verification."""
    facts = {"by": "sdp", "proof": proof.kind, "steps": proof.steps, "before_verification": proof.value, "seconds": proof.seconds, "notes": list(proof.notes)}
    from .sdp.solve import Inequality

    return {**facts, "gap": float(proof.gap)} if isinstance(proof, Inequality) else {**facts, "delta": max(proof.proved.deltas, default=0.0)}


def _affordable(graph: Graph) -> Graph:
    from .sdp.solve import MEMORY

    cost = cost_of(graph)
    if cost.bytes > MEMORY:
        raise HypothesisError(
            "the semidefinite bound does not fit into memory",
            where=f"{cost.rows} inputs and neurons",
            found=f"about {cost.bytes / 2**30:.1f} GiB for one metric",
            expected=f"at most {MEMORY / 2**30:.0f} GiB",
            hint="method='product' has no such limit",
        )
    return graph


def worth_it(graph: Graph, seconds: float) -> bool:
    """Whether a semidefinite bound is within reach in that time and in memory; nothing is assembled."""
    from .sdp.solve import MEMORY

    if seconds <= 0 or not any(node.op in _BLOCKS for node in graph.nodes):
        return False
    cost = cost_of(graph)
    return cost.bytes <= MEMORY and cost.least <= seconds


@dataclass(frozen=True, eq=False)
class PairBounds:
    """Upper ends (k, k) of the l2 constants of z_i - z_j, inf where nothing was proved, 0 on the diagonal; proofs: (pair or None for the whole, proof, its table)."""

    constants: np.ndarray
    proofs: tuple[tuple[tuple[int, int] | None, Inequality | Layered, np.ndarray | None], ...]
    notes: tuple[str, ...] = field(default=())


def pair_bounds(graph: Graph, classes: int, wanted: Iterable[int], effort: str, progress: Progress | None = None, strict: bool = False) -> PairBounds | None:
    """Constants of the differences z_i - z_j with i in `wanted`, within the budget PAIRS[effort]: one program per pair, else one metric for all; None if neither fits,
    or (unless `strict`, which raises) where the network has no semidefinite description.

    Claim: |d(z_i - z_j)| <= constants[i, j] |dx|_2 for any two inputs.
    """
    budget, cost = max(PAIRS[effort], ASKED if strict else 0.0), cost_of(graph)
    if not worth_it(graph, budget):
        return None
    from .sdp import layers
    from .sdp.chain import chain_of
    from .sdp.solve import LARGEST_INEQUALITY, ROOM_FOR_CHECK, Layered

    asked = set(wanted)
    pairs = [(i, j) for i, j in combinations(range(classes), 2) if i in asked or j in asked]
    try:
        chain = chain_of(graph)
        own = cost.rows <= LARGEST_INEQUALITY and len(pairs) * cost.interior <= budget
        found = _each(chain, classes, pairs, effort, progress) if own else _shared(chain, effort, progress)
    except (HypothesisError, UnsupportedLayerError):
        if strict:
            raise
        return None
    constants, proofs = np.full((classes, classes), np.inf), []
    for pair, proof in found:
        table = None
        if isinstance(proof, Layered):
            table = layers.pair_table(proof.metric, chain.last, ROOM_FOR_CHECK)
            constants = np.minimum(constants, table)
        elif pair is not None:
            constants[pair] = constants[pair[::-1]] = min(constants[pair], proof.bound)
        proofs.append((pair, proof, table))
    np.fill_diagonal(constants, 0.0)
    return PairBounds(constants, tuple(proofs))


def _each(chain, classes: int, pairs, effort: str, progress: Progress | None):
    from .sdp.solve import solve

    found = []
    for done, (i, j) in enumerate(pairs):
        if progress is not None:
            progress(done, len(pairs), "semidefinite bounds of pairs of classes")
        row = np.zeros((1, classes))
        row[0, i], row[0, j] = 1.0, -1.0
        found.append(((i, j), solve(chain.towards(row), effort)))
    return found


def _shared(chain, effort: str, progress: Progress | None):
    from .sdp.solve import layered

    return [(None, layered(chain, effort, progress=progress))]
